"""WaveNet's network and its training (van den Oord et al. 2016; Parallel WaveNet 2017; Tacotron 2, Shen et al. 2018).

Dilated causal convolutions with gated units see the samples so far and, upsampled to the sample rate, the log-mel
spectrogram; their skip connections tell the distribution of the next sample, a mixture of logistics.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2s.errors import UserError
from i2s.train.fit import Module, TrainConfig
from i2s.vocoder.logistics import log_likelihood

CONTEXT = 4  # frames before and behind a segment that its conditioning is computed from


@dataclass(frozen=True)
class WaveNetConfig(TrainConfig):
    """Options; the sizes are those of Parallel WaveNet's teacher. Training fills the first group in from the data."""

    n_mels: int = 80
    hop_length: int = 256

    lr: float = 4e-4
    warmup_steps: int = 1000
    weight_decay: float = 0.0
    precision: Literal["auto", "32", "bf16"] = "32"  # a sample has 16 bits, a number of bf16 but 8
    batch_size: int = 16
    epochs: int = 100

    stacks: int = 3
    layers: int = 10  # of each stack, with dilations 1, 2, 4, ...
    kernel: int = 3
    residual_channels: int = 512
    gate_channels: int = 256
    skip_channels: int = 256
    condition_channels: int = 80
    components: int = 10  # of the mixture

    segment: int = 32  # frames of an utterance that are trained on at a time
    ema: float = 0.9999  # decay of the moving average of the weights, which is what speaks; 0: no average
    noise_seed: int = 0  # of what is drawn in synthesis

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = ("stacks", "layers", "residual_channels", "gate_channels", "skip_channels", "condition_channels")
        for name in (*sizes, "components", "segment"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.kernel < 2:
            raise UserError(f"kernel={self.kernel}: must be at least 2, or no past sample is seen")
        if not 0 <= self.ema < 1:
            raise UserError(f"ema={self.ema}: must be at least 0 and below 1")

    @property
    def receptive_field(self) -> int:
        """Past samples that the distribution of the next one depends on."""
        return 1 + self.stacks * (self.kernel - 1) * (2**self.layers - 1)


class Batch(NamedTuple):
    """Segments of utterances. wavs: (B, segment * hop_length); mels: (B, segment + 2 * CONTEXT, n_mels)."""

    wavs: Tensor
    mels: Tensor


def frames_around(mel: np.ndarray, first: int, count: int) -> np.ndarray:
    """Of a spectrogram (T, n_mels), `count` frames from `first` on and CONTEXT on both sides; its ends are repeated."""
    return mel[np.arange(first - CONTEXT, first + count + CONTEXT).clip(0, len(mel) - 1)]


class Conditioner(nn.Module):
    """Spectrograms at the sample rate: a convolution over frames, then twice repetition and smoothing.

    No layer pads: what a segment gives is what the whole utterance gives there.
    """

    def __init__(self, config: WaveNetConfig):
        super().__init__()
        self.hop, width = config.hop_length, config.condition_channels
        self.frames = nn.Conv1d(config.n_mels, width, 5)
        self.scales = two_factors(config.hop_length)
        self.smooth = nn.ModuleList()
        for scale in self.scales:
            each = nn.Conv1d(width, width, 2 * scale + 1, groups=width, bias=False)
            nn.init.constant_(each.weight, 1 / (2 * scale + 1))
            self.smooth.append(each)

    def forward(self, mels: Tensor) -> Tensor:
        """(B, T + 2 * CONTEXT, n_mels) to (B, condition_channels, T * hop_length)."""
        x = self.frames(mels.transpose(1, 2))
        for scale, smooth in zip(self.scales, self.smooth, strict=True):
            x = smooth(x.repeat_interleave(scale, 2))
        wanted = (mels.shape[1] - 2 * CONTEXT) * self.hop
        cut = (x.shape[2] - wanted) // 2
        return x[:, :, cut : cut + wanted]


def two_factors(hop: int) -> tuple[int, int]:
    """Two numbers with product `hop`, as near each other as there are; the smaller first."""
    small = next(n for n in range(math.isqrt(hop), 0, -1) if hop % n == 0)
    return small, hop // small


class Layer(nn.Module):
    """A dilated causal convolution with a gated unit: gives the residual sum and its part of the skip sum."""

    def __init__(self, config: WaveNetConfig, dilation: int):
        super().__init__()
        self.dilation, self.kernel = dilation, config.kernel
        self.widths = [config.residual_channels, config.skip_channels]
        self.conv = nn.Conv1d(config.residual_channels, 2 * config.gate_channels, config.kernel, dilation=dilation)
        self.condition = nn.Conv1d(config.condition_channels, 2 * config.gate_channels, 1, bias=False)
        self.out = nn.Conv1d(config.gate_channels, sum(self.widths), 1, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        past = F.pad(x, ((self.kernel - 1) * self.dilation, 0))
        content, gate = (self.conv(past) + self.condition(condition)).chunk(2, 1)
        residual, skip = self.out(content.tanh() * gate.sigmoid()).split(self.widths, 1)
        return x + residual, skip


class Network(nn.Module):
    """What speaks: conditioner, layers, and the head that gives the mixture's parameters."""

    def __init__(self, config: WaveNetConfig):
        super().__init__()
        self.conditioner = Conditioner(config)
        self.first = nn.Conv1d(1, config.residual_channels, 1)
        self.layers = nn.ModuleList(Layer(config, 2**i) for _ in range(config.stacks) for i in range(config.layers))
        self.hidden = nn.Conv1d(config.skip_channels, config.skip_channels, 1)
        self.last = nn.Conv1d(config.skip_channels, 3 * config.components, 1)

    def forward(self, wavs: Tensor, condition: Tensor) -> Tensor:
        """Waveforms (B, N) and their conditioning (B, condition_channels, N) to parameters (B, N, 3 * components).

        Those of a sample depend on the samples before it alone; before the first one there is silence.
        """
        x = self.first(F.pad(wavs[:, :-1], (1, 0))[:, None])
        skips = x.new_zeros(())
        for layer in self.layers:
            x, skip = layer(x, condition)
            skips = skips + skip
        return self.last(F.relu(self.hidden(F.relu(skips)))).transpose(1, 2)


class WaveNet(Module):
    """See the module's description. `averaged` is the moving average of `network`: it is validated, and speaks.

    Training sets the buffers `mel_mean` and `mel_std` (n_mels,), which normalise spectrograms.
    """

    config: WaveNetConfig
    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self, config: WaveNetConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mel_mean", torch.zeros(config.n_mels))
        self.register_buffer("mel_std", torch.ones(config.n_mels))
        self.network = Network(config)
        self.averaged = deepcopy(self.network).requires_grad_(False)

    def condition(self, network: Network, mels: Tensor) -> Tensor:
        """What `network` makes of log-mel spectrograms with CONTEXT, as of `Conditioner.forward`."""
        return network.conditioner((mels - self.mel_mean) / self.mel_std)

    def bits(self, network: Network, batch: Batch) -> Tensor:
        """Mean negative log2-likelihood of a sample; 16 where nothing is known."""
        parameters = network(batch.wavs, self.condition(network, batch.mels))
        return -log_likelihood(parameters.float(), batch.wavs).mean() / math.log(2)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        bits = self.bits(self.network, batch)
        self.log("train/bits", bits, batch_size=len(batch.wavs))
        return bits

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # A young average forgets its random beginning fast.
        decay = min(self.config.ema, self.global_step / (10 + self.global_step)) if self.config.ema else 0.0
        for average, now in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            average.lerp_(now, 1 - decay)

    def validation_step(self, batch: Batch, _: int) -> None:
        bits = self.bits(self.averaged, batch)
        self.log("dev/score", bits, batch_size=len(batch.wavs), prog_bar=True, sync_dist=True)
