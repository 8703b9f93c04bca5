"""Words and phones with their times, by pocketsphinx: aligned with a text, or recognised without one.

Its English models come with it; models of other languages are folders of the same kind.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pocketsphinx

from i2s.asr import audible, pcm16, resample
from i2s.corpus.ctm import SILENCE, Interval
from i2s.errors import UserError
from i2s.score.text import words

_RATE, _HOP = 16000, 0.01  # Hz, and seconds a frame, of pocketsphinx's models


class Unalignable(UserError):
    """An utterance cannot be aligned with its text."""


class Alignment(NamedTuple):
    """What was said when; silence is SIL in both, noises are silence, phones are without stress."""

    words: list[Interval]
    phones: list[Interval]


class Aligner:
    """Forced alignment. `lexicon`: see `read_lexicon`, default: pocketsphinx's English; `model`: the folder of an
    acoustic model for its phones. Raises UserError where one is missing, cannot be read, or does not fit the other."""

    def __init__(self, lexicon: str = "", model: str = ""):
        # Without a search for the best path through the words' lattice, which leaves words too few frames for their
        # phones: every fourth utterance would fail.
        options: dict[str, Any] = {"lm": None, "bestpath": False}
        if not lexicon:
            self._decoder = decoder(model, **options)
            return
        entries = read_lexicon(lexicon)
        with tempfile.TemporaryDirectory() as folder:
            spelt = Path(folder, "lexicon")
            spelt.write_text("".join(f"{word} {phones}\n" for word, phones in entries.items()), encoding="utf-8")
            self._decoder = decoder(model, lexicon, dict=str(spelt), **options)
        lost = [f"{word} {phones}" for word, phones in entries.items() if not self._decoder.lookup_word(word)]
        if lost:
            raise UserError(
                f"{lexicon}: {len(lost)} of {len(entries)} entries have phones that {model or 'the English model'} "
                f"does not know, such as: {lost[0]}"
            )

    def missing(self, text: str) -> list[str]:
        """The words of `text` that the lexicon lacks, in alphabetical order."""
        return sorted({word for word in words(text) if self._decoder.lookup_word(word) is None})

    def align(self, wav: np.ndarray, sample_rate: int, text: str) -> Alignment:
        """Align float32 (N,) with its words. Raises Unalignable for a word that the lexicon lacks, a text without any
        word, and where no alignment is found."""
        spoken = words(text)
        if missing := self.missing(text):
            raise Unalignable(f"not in the lexicon: {', '.join(missing)}")
        if not spoken:
            raise Unalignable("there is no word to align with")
        if not audible(wav, sample_rate):
            raise Unalignable("there is nothing to hear")
        audio = pcm16(resample(wav, sample_rate, _RATE))
        self._decoder.set_align_text(" ".join(spoken))
        try:
            run(self._decoder, audio)
            self._decoder.set_alignment()  # the second pass goes from words to phones
            run(self._decoder, audio)
            found = self._decoder.get_alignment()
        except RuntimeError:
            found = None
        if found is None:
            raise Unalignable(f"no alignment of {len(wav) / sample_rate:.2f} s with {len(spoken)} words was found")
        return Alignment(intervals(found.words()), intervals(found.phones()))


class PhoneRecogniser:
    """A recogniser of phones in any order, under a phone n-gram: it knows no words, and no text is read.

    `model`: the folder of an acoustic model, default: English; `phone_lm`: a language model of its phones.
    """

    def __init__(self, model: str = "", phone_lm: str = ""):
        phone_lm = phone_lm or pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin")
        # The beam between phones is the narrow one: as wide as the other, all is heard the same in 1.4 times the time.
        if not Path(phone_lm).exists():
            raise UserError(f"{phone_lm}: no such file")
        self._decoder = decoder(model, phone_lm, allphone=phone_lm, lw=2.0, beam=1e-20, pbeam=1e-10)

    def recognise(self, wav: np.ndarray, sample_rate: int) -> list[Interval]:
        """The phones of float32 (N,). Raises Unalignable where there is nothing to hear, or nothing is recognised."""
        if not audible(wav, sample_rate):
            raise Unalignable("there is nothing to hear")
        run(self._decoder, pcm16(resample(wav, sample_rate, _RATE)))
        heard = [(s.word, s.start_frame, s.end_frame + 1) for s in self._decoder.seg() or ()]
        if not heard:
            raise Unalignable(f"no phone was recognised in {len(wav) / sample_rate:.2f} s")
        return [Interval(symbol(name), begin * _HOP, end * _HOP) for name, begin, end in heard]


def decoder(model: str, named: str = "", **options: Any) -> pocketsphinx.Decoder:
    """`named`: what the user calls the other file that is read. Raises UserError where one cannot be."""
    if model and not Path(model).exists():
        raise UserError(f"{model}: no such folder")
    try:
        return pocketsphinx.Decoder(**({"hmm": model} if model else {}), **options, loglevel="FATAL")
    except (RuntimeError, ValueError) as e:
        files = f" with {named}" if named else ""
        raise UserError(f"pocketsphinx cannot read {model or 'its English model'}{files}: {e}") from e


def read_lexicon(path: str | Path) -> dict[str, str]:
    """Pronunciations, `word phone phone ...` a line, as CMUdict, Kaldi and the Montreal Forced Aligner have them.

    Words as `i2s.score.text.words` has those of texts, a word's second pronunciation as `word(2)`; phones without
    stress (AH0 as AH). Comments (;;;) and entries that are no word or several are left out. Raises UserError naming the
    line of a word without phones.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}; a lexicon is text in UTF-8") from e
    entries: dict[str, str] = {}
    known: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(";;;"):
            continue
        entry, *phones = line.split()
        if not phones:
            raise UserError(f"{path}:{number}: {entry}: expected 'word phone phone ...'")
        spoken = words(re.sub(r"\(\d+\)$", "", entry))
        if len(spoken) == 1:
            word = spoken[0]
            known[word] += 1
            unstressed = (re.sub(r"^([A-Z]+)[0-2]$", r"\1", phone) for phone in phones)
            entries[word if known[word] == 1 else f"{word}({known[word]})"] = " ".join(unstressed)
    if not entries:
        raise UserError(f"{path}: holds no pronunciation, 'word phone phone ...' a line")
    return entries


def run(decoder: pocketsphinx.Decoder, pcm: bytes) -> None:
    decoder.reinit_feat()  # else the noise estimate of earlier wavs changes what is heard in this one
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def intervals(entries: Any) -> list[Interval]:
    """Entries of a pocketsphinx alignment, but those without a duration: its marks of begin and end."""
    return [Interval(symbol(e.name), e.start * _HOP, (e.start + e.duration) * _HOP) for e in entries if e.duration > 1]


def symbol(name: str) -> str:
    """`read(2)` as `read`; `<sil>`, `<s>`, `[NOISE]`, `+SPN+` as SIL."""
    name = name.split("(", 1)[0] if not name.startswith("(") else name
    return SILENCE if name[:1] in "<[+" or name == SILENCE else name
