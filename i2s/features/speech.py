"""Log-mel spectrograms, as HiFi-GAN defines them, and MFCC on the very same frames.

Both are several times faster than librosa's (bench/log_mel.py): frames are windowed straight from an overlapping view,
many go through one call of MKL's single-precision real FFT, and the mel filters, which are zero nearly everywhere, are
multiplied a few at a time over just the bins they cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from i2s.errors import UserError

BLOCK = 256  # frames transformed together: what is in between stays in the cache
FILTERS = 8  # mel filters multiplied together: fewer means fewer zeros multiplied, more means fewer calls
FLOOR = 1e-5  # of the magnitude mel, before the logarithm
DELTA_WIDTH = 9  # frames a delta looks at


@dataclass(frozen=True)
class SpeechFeatureConfig:
    """The defaults are those of HiFi-GAN's LJSpeech models. Lengths in samples, frequencies in Hz."""

    sample_rate: int = 22050
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    fmin: float = 0.0
    fmax: float = 8000.0
    n_mfcc: int = 13
    deltas: int = 2

    def __post_init__(self) -> None:
        faults = {
            "hop_length must be at least 1 and at most n_fft": 1 <= self.hop_length <= self.n_fft,
            "win_length must be at least 1 and at most n_fft": 1 <= self.win_length <= self.n_fft,
            "0 <= fmin < fmax <= sample_rate / 2 must hold": 0 <= self.fmin < self.fmax <= self.sample_rate / 2,
            "n_mels must be at least 1": self.n_mels >= 1,
            "n_mfcc must be at least 1 and at most n_mels": 1 <= self.n_mfcc <= self.n_mels,
            "deltas must be 0, 1 or 2": self.deltas in (0, 1, 2),
        }
        for fault, holds in faults.items():
            if not holds:
                raise UserError(f"speech features: {fault}; got {self}")

    @property
    def frame_shift(self) -> float:
        """Seconds."""
        return self.hop_length / self.sample_rate


def log_mel(wav: np.ndarray, config: SpeechFeatureConfig) -> np.ndarray:
    """Natural log of the magnitude mel spectrogram (Slaney filters), floored at 1e-5.

    `wav`: float32 (N,). Returns float32 (T, n_mels) with T = N // hop_length: the wav is reflected by
    (n_fft - hop_length) / 2 samples at both ends, so frame t is centred on its own hop.
    Raises UserError if `wav` is shorter than one hop.
    """
    plan = _plan(config)
    padded = torch.from_numpy(_reflect(wav, config))
    frames = padded.unfold(0, config.n_fft, config.hop_length)
    magnitude = np.empty((len(frames), config.n_fft // 2 + 1), np.float32)
    for start in range(0, len(frames), BLOCK):
        spectrum = torch.fft.rfft(frames[start : start + BLOCK] * plan.window)
        np.abs(spectrum.numpy(), out=magnitude[start : start + BLOCK])
    mel = np.empty((len(frames), config.n_mels), np.float32)
    for filters, bins, weights in plan.bands:
        np.matmul(magnitude[:, bins], weights, out=mel[:, filters])
    torch.from_numpy(mel).clamp_min_(FLOOR)  # (in place, and faster than numpy's)
    return np.log(mel, out=mel)


def mfcc(wav: np.ndarray, config: SpeechFeatureConfig) -> np.ndarray:
    """Mel-frequency cepstral coefficients with deltas: float32 (T, n_mfcc * (1 + deltas)), T as of `log_mel`."""
    return mfcc_of_log_mel(log_mel(wav, config), config)


def mfcc_of_log_mel(mel: np.ndarray, config: SpeechFeatureConfig) -> np.ndarray:
    """The MFCC of a log-mel spectrogram (T, n_mels): its orthonormal DCT-II, then deltas of each coefficient.

    A delta of order k is the k-th derivative, in frames, of the parabola (k = 2) or line (k = 1) that fits the nine
    frames around; the first and last frame are repeated outwards. (librosa.feature.delta, mode="nearest".)
    """
    plan = _plan(config)
    cepstrum = mel @ plan.dct
    around = np.pad(cepstrum, ((DELTA_WIDTH // 2, DELTA_WIDTH // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, DELTA_WIDTH, axis=0)  # (T, n_mfcc, width)
    return np.hstack([cepstrum, *(windows @ slope for slope in plan.slopes)])


def _reflect(wav: np.ndarray, config: SpeechFeatureConfig) -> np.ndarray:
    if wav.ndim != 1 or len(wav) < config.hop_length:
        raise UserError(f"speech of shape {wav.shape} is too short: at least {config.hop_length} samples are needed")
    # (An odd sum is made whole on the right, so that the number of frames is N // hop_length for every configuration.)
    total = config.n_fft - config.hop_length
    left, right = total // 2, total - total // 2
    if len(wav) <= right:
        return np.pad(wav, (left, right), mode="reflect").astype(np.float32)
    padded = np.empty(len(wav) + total, np.float32)
    padded[left : left + len(wav)] = wav
    padded[:left] = wav[left:0:-1]
    padded[left + len(wav) :] = wav[-2 : -right - 2 : -1]
    return padded


def mel_filters(config: SpeechFeatureConfig) -> np.ndarray:
    """Slaney's (1998) triangular filters, each of area one: float32 (n_mels, n_fft // 2 + 1), as librosa.filters.mel.

    (Computed here because importing librosa takes a job longer than the features of a thousand utterances.)
    """
    edges = _mel_to_hz(np.linspace(_hz_to_mel(config.fmin), _hz_to_mel(config.fmax), config.n_mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return (triangles * 2 / (high - low)).astype(np.float32)


# Slaney's mel scale: even steps of 200/3 Hz up to 1 kHz, then 27 steps for each factor of 6.4.
def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000) / np.log(6.4))


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@dataclass(frozen=True)
class _Plan:
    """What depends on the configuration alone."""

    window: torch.Tensor  # (n_fft,)
    bands: list[tuple[slice, slice, np.ndarray]]  # neighbouring filters, the bins they cover, weights (bins, filters)
    dct: np.ndarray  # (n_mels, n_mfcc)
    slopes: list[np.ndarray]  # one kernel (DELTA_WIDTH,) a delta


@lru_cache(maxsize=8)
def _plan(config: SpeechFeatureConfig) -> _Plan:
    window = torch.zeros(config.n_fft)
    margin = (config.n_fft - config.win_length) // 2
    window[margin : margin + config.win_length] = torch.hann_window(config.win_length, dtype=torch.float64)

    mel = mel_filters(config)
    bands = []
    for first in range(0, config.n_mels, FILTERS):
        filters = mel[first : first + FILTERS]
        covered = np.flatnonzero(filters.any(axis=0))
        # (Filters narrower than a bin can be empty; a band of none but empty filters still needs one bin.)
        bins = slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 1)
        bands.append((slice(first, first + len(filters)), bins, np.ascontiguousarray(filters[:, bins].T)))

    n = np.arange(config.n_mels)[:, None]
    k = np.arange(config.n_mfcc)[None, :]
    dct = np.cos(np.pi / config.n_mels * (n + 0.5) * k) * np.sqrt(2 / config.n_mels)
    dct[:, 0] /= np.sqrt(2)

    # Least squares over the window: row d of the pseudo-inverse gives the coefficient of x^d; its d-th derivative is d!
    x = np.arange(DELTA_WIDTH) - DELTA_WIDTH // 2
    slopes = [np.linalg.pinv(np.vander(x, d + 1, increasing=True))[d] * d for d in range(1, config.deltas + 1)]
    return _Plan(window, bands, dct.astype(np.float32), [s.astype(np.float32) for s in slopes])
