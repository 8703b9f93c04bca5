"""Words as they are scored: the same treatment for references and for what a recogniser heard."""

from __future__ import annotations

import re
import unicodedata

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
