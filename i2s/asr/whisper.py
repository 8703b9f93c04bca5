"""Whisper through faster-whisper (CTranslate2): many languages, no language model of the captions."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s.asr import audible, resample
from i2s.errors import UserError
from i2s.score.text import normalise

RATE = 16000  # Hz, of every Whisper model
WHOLE = 30  # seconds that the encoder was trained on; longer speech is read in pieces of it


@dataclass
class Whisper:
    """`model` is a faster-whisper folder or the name of a published model, which is downloaded on first use.

    Speech shorter than `window` seconds is padded with silence to that, instead of to the 30 that Whisper was trained
    on: 15 hears the same words as 30 in a third of the time; below 10 it begins to err more.
    """

    model: str = "base"
    language: str = "en"
    beam: int = 1
    batch: int = 8
    compute_type: str = "default"  # int8, float16 ... as CTranslate2 names them; default: as the model is stored
    device: str = "auto"
    window: int = 15
    threads: int = 0  # 0: OMP_NUM_THREADS, else all cores
    _model: Any = field(init=False, repr=False)
    _tokens: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import ctranslate2
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.utils import available_models

        if not (Path(self.model) / "model.bin").is_file() and self.model not in available_models():
            raise UserError(
                f"--asr whisper: {self.model}: neither a faster-whisper folder (with model.bin) nor one of "
                + " ".join(available_models())
            )
        ctranslate2.set_log_level(logging.ERROR)  # it warns of float16 weights on every CPU
        threads = self.threads or int(os.environ.get("OMP_NUM_THREADS", "0"))
        if not 1 <= self.window <= WHOLE:
            raise UserError(f"--asr whisper: window={self.window}: expected 1 ... {WHOLE} seconds")
        try:
            self._model = WhisperModel(self.model, self.device, compute_type=self.compute_type, cpu_threads=threads)
            many = self._model.model.is_multilingual
            self._tokens = Tokenizer(self._model.hf_tokenizer, many, task="transcribe", language=self.language)
        except Exception as e:  # CTranslate2, tokenizer and hub have exceptions of their own
            raise UserError(f"--asr whisper: {self.model}: {e}") from e

    def transcribe(self, wavs: list[np.ndarray], sample_rate: int) -> list[str]:
        """See `i2s.asr.Recogniser`."""
        heard: list[dict[int, str]] = [{} for _ in wavs]
        pieces: dict[int, list[tuple[int, int, np.ndarray]]] = {self.window: [], WHOLE: []}
        for i, wav in enumerate(wavs):
            wav = resample(wav, sample_rate, RATE)
            for start in range(0, len(wav), WHOLE * RATE):
                piece = wav[start : start + WHOLE * RATE]
                if not audible(piece, RATE):
                    continue
                window = self.window if len(piece) <= (self.window - 1) * RATE else WHOLE
                pieces[window].append((i, start, piece))
        for window, some in pieces.items():
            for first in range(0, len(some), self.batch):
                part = some[first : first + self.batch]
                for (i, start, _), words in zip(part, self._batch([p for *_, p in part], window), strict=True):
                    heard[i][start] = words
        return [" ".join(words for _, words in sorted(parts.items()) if words) for parts in heard]

    def _batch(self, wavs: list[np.ndarray], window: int) -> list[str]:
        """The words of each of `wavs`, at RATE and no longer than `window` seconds."""
        import ctranslate2

        model = self._model
        padded = [np.pad(wav, (0, window * RATE - len(wav))) for wav in wavs]
        mels = np.stack([model.feature_extractor(wav, padding=0)[:, : 100 * window] for wav in padded])  # 100 a second
        results = model.model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(mels, np.float32)),
            [[*self._tokens.sot_sequence, self._tokens.no_timestamps]] * len(wavs),
            beam_size=self.beam,
            suppress_blank=True,
            suppress_tokens=[-1, *self._special_tokens()],
            max_length=224,
            return_scores=True,
            return_no_speech_prob=True,
        )
        # Whisper invents words for silence; it says so by its no-speech probability and a low score.
        silent = [r.no_speech_prob > 0.6 and r.scores[0] < -1.0 for r in results]
        texts = [self._tokens.decode(r.sequences_ids[0]) for r in results]
        return ["" if quiet else normalise(text) for quiet, text in zip(silent, texts, strict=True)]

    def _special_tokens(self) -> list[int]:
        t = self._tokens
        return [t.transcribe, t.translate, t.sot, t.sot_prev, t.sot_lm]
