"""CMU PocketSphinx with the English model of its wheel and, where captions are given, a trigram model of them."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s.asr import audible, pcm16, resample
from i2s.corpus.tables import read_table
from i2s.errors import UserError
from i2s.score.text import normalise

log = logging.getLogger(__name__)
RATE = 16000  # Hz, of the acoustic model


@dataclass
class PocketSphinx:
    """`lm_text` is a table `id words` of training captions: the language model is made from them, and only their words
    can be recognised. Without it PocketSphinx uses its general model. Smaller beams are faster and err more."""

    lm_text: str = ""
    beam: float = 1e-48
    wbeam: float = 7e-29
    max_hmms: int = 30000  # active states a frame
    _decoder: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from pocketsphinx import Decoder, get_model_path

        dictionary = Path(get_model_path("en-us/cmudict-en-us.dict"))
        options = {"beam": self.beam, "wbeam": self.wbeam, "maxhmmpf": self.max_hmms, "loglevel": "FATAL"}
        if not self.lm_text:
            self._decoder = Decoder(dict=str(dictionary), **options)
            return
        captions = [normalise(words) for words in read_table(self.lm_text, allow_empty_value=True).values()]
        with tempfile.TemporaryDirectory() as folder:
            own, lm = Path(folder, "words.dict"), Path(folder, "captions.lm")
            sentences = _restrict(captions, dictionary, own)
            if not sentences:
                raise UserError(
                    f"{self.lm_text}: no caption with a word of the English dictionary; choose another --asr"
                )
            write_lm(sentences, lm)
            self._decoder = Decoder(dict=str(own), lm=str(lm), **options)

    def transcribe(self, wavs: list[np.ndarray], sample_rate: int) -> list[str]:
        """See `i2s.asr.Recogniser`."""
        return [self._one(resample(wav, sample_rate, RATE)) for wav in wavs]

    def _one(self, wav: np.ndarray) -> str:
        if not audible(wav, RATE):
            return ""
        decoder = self._decoder
        decoder.reinit_feat()  # else the noise estimate of earlier wavs changes what is heard in this one
        decoder.start_utt()
        decoder.process_raw(pcm16(wav), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return normalise(hypothesis.hypstr) if hypothesis else ""


def _restrict(captions: Iterable[str], dictionary: Path, own: Path) -> list[list[str]]:
    """The captions without the words that `dictionary` lacks; the entries of their other words go to `own`."""
    counts = Counter(word for caption in captions for word in caption.split())
    entries: dict[str, list[str]] = {}
    with dictionary.open(encoding="utf-8") as f:
        for line in f:
            word = line.split(" ", 1)[0].split("(", 1)[0]  # "read(2) R EH D" is another way to say "read"
            if word in counts:
                entries.setdefault(word, []).append(line)
    own.write_text("".join(line for word in sorted(entries) for line in entries[word]), encoding="utf-8")
    unknown = Counter({word: n for word, n in counts.items() if word not in entries})
    if unknown:
        share, total = unknown.total() / counts.total(), len(unknown)
        most = ", ".join(word for word, _ in unknown.most_common(10))
        log.info(
            "language model: %d words are not in the dictionary (%.1f %% of the text): %s", total, 100 * share, most
        )
    sentences = ([word for word in caption.split() if word in entries] for caption in captions)
    return [words for words in sentences if words]


def write_lm(sentences: list[list[str]], path: str | os.PathLike[str]) -> None:
    """Write a back-off trigram model of `sentences` in ARPA format."""
    from pocketsphinx.lm import ArpaBoLM

    text = "\n".join(" ".join(words) for words in sentences)
    model = ArpaBoLM(text=text, add_start=True)
    model.compute()
    with Path(path).open("w", encoding="utf-8") as f:
        model.write(f)
