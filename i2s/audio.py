"""Wav files: read with checks, written whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.pipes import pipe_output


def read_wav(path: str | Path, sample_rate: int | None = None, allow_pipes: bool = False) -> tuple[np.ndarray, int]:
    """Read a mono wav as float32 in [-1, 1] and its sample rate in Hz.

    A `path` that ends in | is a command that writes a wav (Kaldi's pipes); it is run only if `allow_pipes`.
    Raises UserError for: missing, empty or truncated file, more than one channel, a rate other than
    `sample_rate` (where given), NaN or infinite samples, a pipe that is not allowed or fails.
    """
    source: str | io.BytesIO = str(path)
    if str(path).rstrip().endswith("|"):
        if not allow_pipes:
            raise UserError(f"{path!r} is a pipe, a command to run; if you trust the table, pass --allow-pipes")
        source = io.BytesIO(pipe_output(str(path)))
    try:
        wav, rate = soundfile.read(source, dtype="float32")
    except (soundfile.SoundFileError, OSError) as e:
        raise UserError(f"{path}: cannot read audio: {getattr(e, 'error_string', e)}") from e
    if wav.ndim != 1:
        raise UserError(f"{path}: has {wav.shape[1]} channels; make it mono (sox IN OUT remix -)")
    if not len(wav):
        raise UserError(f"{path}: holds no samples")
    if sample_rate is not None and rate != sample_rate:
        raise UserError(f"{path}: sample rate is {rate} Hz, expected {sample_rate} Hz (sox IN -r {sample_rate} OUT)")
    if not np.isfinite(wav).all():
        raise UserError(f"{path}: holds NaN or infinite samples")
    return wav, rate


def write_wav(path: str | Path, wav: np.ndarray, sample_rate: int) -> None:
    """Write float samples in [-1, 1] as 16-bit mono, whole or not at all; louder samples are clipped."""
    # In memory first: libsndfile does not say when the disk is full.
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wav, -1.0, 1.0), sample_rate, format="WAV", subtype="PCM_16")
    with atomic_path(path) as tmp:
        tmp.write_bytes(buffer.getvalue())
