"""Phone labels of frames, by forced alignment with pocketsphinx: English only, and only to judge units with."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pocketsphinx
from scipy.signal import resample_poly

from i2s.score.text import words

_RATE, _HOP = 16000, 0.01  # of pocketsphinx's English model


class PhoneAligner:
    """Aligns an utterance with its words. The dictionary is pocketsphinx's own."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL", backtrace=False)

    def align(self, wav: np.ndarray, sample_rate: int, text: str) -> list[tuple[str, float, float]] | None:
        """Phones (without stress) with their begin and end in seconds; silence is SIL.

        None where a word is not in the dictionary or no alignment is found.
        """
        spoken = words(text)
        if not spoken or any(self._decoder.lookup_word(word) is None for word in spoken):
            return None
        ratio = Fraction(_RATE, sample_rate)
        audio = resample_poly(wav, ratio.numerator, ratio.denominator)
        samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16).tobytes()
        self._decoder.set_align_text(" ".join(spoken))
        try:
            self._pass(samples)
            self._decoder.set_alignment()  # the second pass goes from words to phones
            self._pass(samples)
        except RuntimeError:
            return None
        alignment = self._decoder.get_alignment()
        if alignment is None:
            return None
        return [(p.name, p.start * _HOP, (p.start + p.duration) * _HOP) for p in alignment.phones()]

    def _pass(self, samples: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()


def frame_labels(phones: list[tuple[str, float, float]], frames: int, frame_shift: float) -> list[str]:
    """The phone at the middle of each frame; frames beyond the last phone get its name."""
    ends = np.array([end for _, _, end in phones])
    middles = (np.arange(frames) + 0.5) * frame_shift
    return [phones[i][0] for i in np.minimum(np.searchsorted(ends, middles, side="right"), len(phones) - 1)]
