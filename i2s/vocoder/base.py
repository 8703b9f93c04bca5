"""What every vocoder has in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig


class Vocoder(Protocol):
    """Spectrograms to waveforms, deterministic, and independent of what else is in the batch."""

    def __init__(self, features: SpeechFeatureConfig, weights: Path | None = None): ...

    def __call__(self, mels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-mel spectrograms (T, n_mels) to float32 waveforms (T * hop_length,) in [-1, 1]."""


def check_mels(mels: Sequence[np.ndarray], n_mels: int) -> None:
    """Raise UserError unless every spectrogram is (T >= 1, n_mels) and finite."""
    for i, mel in enumerate(mels):
        if mel.ndim != 2 or mel.shape[1] != n_mels or not len(mel):
            raise UserError(f"spectrogram {i} of the batch has shape {mel.shape}; expected frames x {n_mels} channels")
        if not np.isfinite(mel).all():
            raise UserError(f"spectrogram {i} of the batch holds NaN or infinite values")


def similar_batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices grouped by similar length, longest first: at most `most` padded frames a group, or one item."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
