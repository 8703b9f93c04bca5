"""Make noise of speech: for each wav of a `wav.scp` one of the same length, loudness and long-term spectrum. No word is
left in it, because the phases of the spectrum are random: what a recogniser hears there comes from itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from i2s.audio import read_wav, write_wav
from i2s.bin.speak import utterance_seed
from i2s.cli import parser, run
from i2s.corpus.tables import evenly, read_table, write_table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--number", type=int, default=100, metavar="N", help="of at most N wavs, evenly spaced (100)")
    options.add_argument("wav_scp", type=Path, metavar="WAV_SCP")
    options.add_argument("out", type=Path, metavar="OUT_DIR", help="gets wav.scp and wav/")
    args = options.parse_args()
    speech, wavs = read_table(args.wav_scp), {}
    for key in evenly(speech, args.number):
        wav, rate = read_wav(speech[key])
        wavs[key] = args.out / "wav" / f"{key}.wav"
        write_wav(wavs[key], noise_like(wav, utterance_seed(key, args.seed)), rate)
    write_table(args.out / "wav.scp", wavs)


def noise_like(wav: np.ndarray, seed: int) -> np.ndarray:
    """Noise with the length and, bin by bin, the power spectrum of `wav` (N,): hence as loud."""
    spectrum = np.fft.rfft(wav)
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(spectrum))
    phases[[0, -1]] = 0.0  # these two are real
    return np.fft.irfft(np.abs(spectrum) * np.exp(1j * phases), len(wav)).astype(np.float32)


if __name__ == "__main__":
    run(main)
