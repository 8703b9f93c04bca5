"""Measures of speech itself: length, endings, predicted quality, and distance from a recording of the same words."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import soxr

from i2s.corpus.tables import iter_table
from i2s.errors import UserError

FRAME = 10.0  # ms; with 5, WORLD's own, analysis and alignment take two to three times as long
CEPSTRA = 24  # mel-cepstral coefficients that are compared; c0, the loudness, is not
MELS = 128  # points of the mel axis
RANGE = 80  # dB between the loudest and the softest that is compared


@dataclass(frozen=True)
class SpeechStats:
    """Of one utterance; NaN or 0 where there is nothing to measure. Sums are over the frames of an alignment.

    `seconds`; `cut_off`: 1 if it ends while it is loud; `mos`: predicted overall quality, 1 ... 5; over `frames`
    aligned frames the sum `distortion` (dB) and the number of different `voicing` decisions; over `voiced` frames,
    voiced on both sides, the sum `f0` of squared differences in cents.
    """

    seconds: float
    cut_off: float
    mos: float = float("nan")
    frames: float = 0.0
    distortion: float = 0.0
    voicing: float = 0.0
    voiced: float = 0.0
    f0: float = 0.0


def speech_stats(wav: np.ndarray, rate: int, recording: np.ndarray | None = None) -> SpeechStats:
    """Measure `wav`, float32 (N,) in [-1, 1], `rate` Hz, and its distance from a `recording` of the same rate."""
    distance = _distance(wav, recording, rate) if recording is not None else {}
    return SpeechStats(len(wav) / rate, float(cut_off(wav, rate)), _mos(wav, rate), **distance)


def cut_off(wav: np.ndarray, rate: int) -> bool:
    """Whether the last 20 ms are within 12 dB of the whole: speech fades, or ends in silence, unless it is cut."""
    power = wav.astype(np.float64) ** 2
    return bool(power[-max(1, rate // 50) :].mean() > 10**-1.2 * power.mean() > 0)


def _distance(wav: np.ndarray, recording: np.ndarray, rate: int) -> dict[str, float]:
    """Mel-cepstral distortion (Kubichek 1993), F0 and voicing along the best alignment (DTW) of the cepstra.

    The distortion of a frame is the root mean square difference, in dB, of two spectral envelopes on the mel axis, each
    smoothed to CEPSTRA coefficients. Envelopes and F0 are WORLD's (Morise et al. 2016).
    """
    from librosa.sequence import dtw

    (cepstra, f0), (wanted, wanted_f0) = _analyse(wav, rate), _analyse(recording, rate)
    _, path = dtw(cepstra.T, wanted.T, metric="euclidean")
    ours, theirs = path.T
    a, b = f0[ours], wanted_f0[theirs]
    voiced = (a > 0) & (b > 0)
    cents = 1200 * np.log2(a[voiced] / b[voiced])
    return {
        "frames": len(path),
        "distortion": float(np.linalg.norm(cepstra[ours] - wanted[theirs], axis=1).sum()),
        "voicing": int(((a > 0) != (b > 0)).sum()),
        "voiced": int(voiced.sum()),
        "f0": float((cents**2).sum()),
    }


def _analyse(wav: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mel-cepstra in dB (T, CEPSTRA) without c0, and F0 in Hz (T,), 0 where there is no voice."""
    import pyworld

    samples = np.ascontiguousarray(wav, np.float64)
    f0, times = pyworld.dio(samples, rate, frame_period=FRAME, speed=4)  # on a quarter of the rate, then
    f0 = pyworld.stonemask(samples, f0, times, rate)  # made exact on all of it
    envelope = pyworld.cheaptrick(samples, f0, times, rate)
    # Below that, nothing is heard, and digital silence would be infinitely far from any other.
    decibel = 10 * np.log10(np.maximum(envelope, max(1e-16, 10 ** (-RANGE / 10) * envelope.max())))
    return decibel @ _mel_cepstrum(rate, envelope.shape[1]), f0


@cache
def _mel_cepstrum(rate: int, bins: int) -> np.ndarray:
    """From a spectrum in dB (bins,) to mel-cepstra (bins, CEPSTRA), scaled so that their differences are dB, too."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, MELS) / 2595) - 1)
    warp = np.stack([np.interp(hertz, np.linspace(0, rate / 2, bins), row) for row in np.eye(bins)])
    return scipy.fft.dct(warp, axis=1, norm="ortho")[:, 1 : CEPSTRA + 1] / np.sqrt(MELS)


def has_mos() -> bool:
    """Whether `speechmos`, which brings DNSMOS, is installed."""
    return _dnsmos() is not None


def _mos(wav: np.ndarray, rate: int) -> float:
    """DNSMOS P.835's overall quality (Reddy et al. 2022)."""
    dnsmos = _dnsmos()
    if dnsmos is None:
        return float("nan")
    return float(dnsmos.run(np.clip(soxr.resample(wav, rate, 16000), -1, 1), 16000)["ovrl_mos"])


@cache
def _dnsmos() -> Any:
    try:
        from speechmos import dnsmos
    except ImportError:
        return None
    return dnsmos


def to_row(stats: SpeechStats) -> str:
    """As a line of a table."""
    return " ".join(f"{value:.6g}" for value in astuple(stats))


def read_stats(path: Path) -> dict[str, SpeechStats]:
    """Read a table that holds `to_row` of each utterance. Raises UserError for anything else."""
    out = {}
    for key, value in iter_table(path):
        try:
            out[key] = SpeechStats(*map(float, value.split()))
        except (ValueError, TypeError) as e:
            raise UserError(f"{path}: {key}: expected {len(fields(SpeechStats))} numbers: {value[:40]!r}") from e
    return out


def repeats(text: str) -> bool:
    """Whether a token comes three times in a row, or two tokens or more are followed at once by themselves."""
    tokens = text.split()
    if any(a == b == c for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False)):
        return True
    return any(
        tokens[i : i + n] == tokens[i + n : i + 2 * n]
        for n in range(2, len(tokens) // 2 + 1)
        for i in range(len(tokens) - 2 * n + 1)
    )
