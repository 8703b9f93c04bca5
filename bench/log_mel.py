"""Log-mel extraction against librosa: the same real speech, one thread each, equal output.

    python bench/log_mel.py

Speaks a few sentences with hibari, then prints the time of both sides a second of speech, and their ratio.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import time
from collections.abc import Callable

import librosa
import numpy as np
import soxr
import torch

from i2s.features.speech import SpeechFeatureConfig, log_mel
from i2s.tts import load

SENTENCES = (
    "Two brown dogs run over the green grass.",
    "A man in a blue shirt is standing in front of a crowd.",
    "A child jumps into a swimming pool.",
    "Several people with bicycles wait at the side of a busy road in the evening.",
    "A woman climbs a steep rock face above the sea.",
    "Three red birds are flying over a small house, and the sun is shining.",
)
ROUNDS = 20
REPEATS = 5  # of all sentences in a round, so that each side has the caches to itself


def main() -> None:
    torch.set_num_threads(1)
    config = SpeechFeatureConfig()
    voice = load("hibari")
    wavs = [soxr.resample(voice.speak(s), voice.sample_rate, config.sample_rate) for s in SENTENCES]
    difference = max(float(np.abs(by_librosa(w, config) - log_mel(w, config)).max()) for w in wavs)
    # The rounds alternate, so that what else runs on the machine hits both alike.
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(seconds(by_librosa, wavs, config))
        ours.append(seconds(log_mel, wavs, config))
    a, b = min(theirs), min(ours)
    spoken = sum(map(len, wavs)) / config.sample_rate
    print(f"{len(wavs)} utterances of {spoken / len(wavs):.1f} s, one thread, best of {ROUNDS} rounds")
    print(f"librosa  {1e3 * a / len(wavs):7.3f} ms an utterance  {spoken / a:8.0f} x real time")
    print(f"i2s      {1e3 * b / len(wavs):7.3f} ms an utterance  {spoken / b:8.0f} x real time")
    print(f"ratio    {a / b:7.2f}")
    print(f"largest difference of any value: {difference:.1e}")


def by_librosa(wav: np.ndarray, config: SpeechFeatureConfig) -> np.ndarray:
    """The same features by librosa.feature.melspectrogram: float32 (T, n_mels)."""
    mel = librosa.feature.melspectrogram(
        y=np.pad(wav, (config.n_fft - config.hop_length) // 2, mode="reflect"),
        sr=config.sample_rate,
        n_fft=config.n_fft,
        win_length=config.win_length,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
        center=False,
        power=1.0,
    )
    return np.log(np.maximum(1e-5, mel)).T


def seconds(
    extract: Callable[[np.ndarray, SpeechFeatureConfig], np.ndarray],
    wavs: list[np.ndarray],
    config: SpeechFeatureConfig,
) -> float:
    start = time.perf_counter()
    for _ in range(REPEATS):
        for wav in wavs:
            extract(wav, config)
    return (time.perf_counter() - start) / REPEATS


if __name__ == "__main__":
    main()
