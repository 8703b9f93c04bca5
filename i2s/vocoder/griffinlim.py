"""Griffin-Lim: a waveform whose spectrogram comes near the one asked for. No weights.

Two steps. The linear magnitude spectrogram is the non-negative least-squares solution of mel = filters * magnitude.
Its phase is found by the fast Griffin-Lim algorithm: Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim
algorithm", WASPAA 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import librosa.filters
import numpy as np
import torch

from i2s.features.speech import SpeechFeatureConfig
from i2s.vocoder.base import check_mels, similar_batches

BATCH_FRAMES = 1024  # padded frames handled together: more would leave the processor's cache


class GriffinLim:
    """See the module's description; the interface is `i2s.vocoder.base.Vocoder`.

    `iterations` of Griffin-Lim with `momentum`, `nnls_iterations` of the mel inversion. `sharpen`: magnitudes are
    raised to this power beforehand, which makes up for spectrograms that a model has smoothed.
    """

    def __init__(
        self,
        features: SpeechFeatureConfig,
        weights: Path | None = None,
        iterations: int = 32,
        momentum: float = 0.99,
        nnls_iterations: int = 8,
    ):
        del weights  # there are none
        self.features, self.iterations, self.momentum = features, iterations, momentum
        self.nnls_iterations = nnls_iterations
        c = features
        filters = librosa.filters.mel(sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.n_mels, fmin=c.fmin, fmax=c.fmax)
        self.filters = torch.from_numpy(filters)  # (n_mels, bins)
        self.inverse = torch.linalg.pinv(self.filters)
        window = torch.zeros(c.n_fft)
        margin = (c.n_fft - c.win_length) // 2
        window[margin : margin + c.win_length] = torch.hann_window(c.win_length)
        self.window = window

    @torch.inference_mode()
    def __call__(self, mels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-mel spectrograms (T, n_mels) to float32 waveforms (T * hop_length,). Bad ones raise UserError."""
        check_mels(mels, self.features.n_mels)
        wavs: dict[int, np.ndarray] = {}
        for batch in similar_batches([len(m) for m in mels], BATCH_FRAMES):
            magnitudes = [self.magnitude(mels[i]) for i in batch]
            lengths = torch.tensor([len(m) for m in magnitudes])
            padded = torch.nn.utils.rnn.pad_sequence(magnitudes, batch_first=True)
            for i, wav, frames in zip(batch, self.invert(padded, lengths).numpy(), lengths.tolist(), strict=True):
                wavs[i] = np.clip(wav[: frames * self.features.hop_length], -1.0, 1.0)
        return [wavs[i] for i in range(len(mels))]

    def magnitude(self, mel: np.ndarray) -> torch.Tensor:
        """Log-mel (T, n_mels) to linear magnitude (T, bins), by the multiplicative updates of Lee and Seung (2001)."""
        target = torch.tensor(mel, dtype=torch.float32).exp()
        linear = (target @ self.inverse.T).clamp(min=1e-6)
        numerator = target @ self.filters
        gram = self.filters.T @ self.filters
        for _ in range(self.nnls_iterations):
            linear *= numerator / (linear @ gram).clamp(min=1e-12)
        return linear

    def invert(self, magnitude: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Magnitudes (B, T, bins), zero beyond `lengths` (B,) frames, to waveforms (B, T * hop_length)."""
        mask = (torch.arange(magnitude.shape[1]) < lengths[:, None])[..., None]
        # Where frames of no utterance overlap the sum is zero; nothing is heard there, so any divisor does.
        weight = self.overlap_add(mask * self.window.square()).clamp(min=1e-3)
        spectrum = torch.polar(magnitude, first_phase(magnitude.shape[1], magnitude.shape[2]).expand_as(magnitude))
        before = torch.zeros_like(spectrum)
        for _ in range(self.iterations):
            now = self.stft(self.istft(spectrum, weight))
            ahead = torch.view_as_real(now + self.momentum * (now - before))
            scale = magnitude * ahead.square().sum(-1).add_(1e-16).rsqrt_()
            spectrum = torch.view_as_complex(ahead * scale[..., None])
            before = now
        cut = (self.features.n_fft - self.features.hop_length) // 2
        wav = self.istft(spectrum, weight)
        return wav[:, cut : cut + magnitude.shape[1] * self.features.hop_length]

    def stft(self, wav: torch.Tensor) -> torch.Tensor:
        """Waveforms (B, N) to spectra (B, T, bins)."""
        return torch.fft.rfft(wav.unfold(1, self.features.n_fft, self.features.hop_length) * self.window)

    def istft(self, spectrum: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Spectra (B, T, bins) to the waveforms (B, N) whose spectra are nearest; `weight`: summed squared windows."""
        return self.overlap_add(torch.fft.irfft(spectrum, self.features.n_fft) * self.window) / weight

    def overlap_add(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames (B, T, n_fft) added up, each a hop later than the one before: (B, (T - 1) * hop_length + n_fft)."""
        hop, size = self.features.hop_length, self.features.n_fft
        batch, count, _ = frames.shape
        parts = -(-size // hop)
        frames = torch.nn.functional.pad(frames, (0, parts * hop - size)).view(batch, count, parts, hop)
        out = frames.new_zeros(batch, count + parts - 1, hop)
        for part in range(parts):
            out[:, part : part + count] += frames[:, :, part]
        return out.view(batch, -1)[:, : (count - 1) * hop + size]


def first_phase(frames: int, bins: int) -> torch.Tensor:
    """Random phases (frames, bins), always the same: frame t of any utterance begins alike."""
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 2 * np.pi, (frames, bins)).astype(np.float32))
