"""WaveNet, sample by sample: what the layers have seen is kept, so that a sample costs one step of each layer.

Weights come from this project's own training, steps/train_vocoder.sh; the network is in `i2s.vocoder.wavenet_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from i2s.config import load_config
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import load_manifest
from i2s.progress import track
from i2s.train.fit import load_weights
from i2s.vocoder.base import check_mels, similar_batches
from i2s.vocoder.logistics import draw
from i2s.vocoder.wavenet_model import Layer, Network, WaveNet, WaveNetConfig, frames_around

BATCH_FRAMES = 4096  # padded frames spoken together: their conditioning at the sample rate is held in memory
NOISE = 1024  # samples that noise is drawn for at a time
MEL_KEYS = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "fmin", "fmax")  # MFCC do not matter here


class WaveNetVocoder:
    """See the module's description; the interface is `i2s.vocoder.base.Vocoder`.

    In double precision: in single, the rounding of another batch size would now and then tip a sample, and all that
    follow with it.
    """

    def __init__(self, features: SpeechFeatureConfig, weights: Path | None = None):
        """`weights`: a folder that steps/train_vocoder.sh made, or one of the checkpoints in it.

        Raises UserError if it is missing, or was trained on other spectrograms than those of `features`.
        """
        if weights is None or not weights.exists():
            given = "no folder given" if weights is None else f"{weights}: no such folder"
            raise UserError(
                f"vocoder wavenet: {given}; train one, steps/train_vocoder.sh, and name it: --vocoder-weights"
            )
        folder = weights.parent.parent if weights.is_file() else weights
        manifest = load_manifest(folder, "vocoder")
        for key in MEL_KEYS:
            if (theirs := manifest["features"].get(key)) != (ours := getattr(features, key)):
                raise UserError(
                    f"{weights}: was trained on spectrograms with {key} {theirs}, but these have {ours} "
                    f"(conf/features.yaml: {key}); use griffinlim, or train on these: steps/train_vocoder.sh"
                )
        self.features = features
        self.config = load_config(WaveNetConfig, folder / "config.yaml")
        self.model = WaveNet(self.config)
        load_weights(self.model, weights if weights.is_file() else folder / manifest["checkpoint"])
        self.model.to("cuda" if torch.cuda.is_available() else "cpu", torch.float64)

    @torch.inference_mode()
    def __call__(self, mels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-mel spectrograms (T, n_mels) to float32 waveforms (T * hop_length,). Bad ones raise UserError."""
        check_mels(mels, self.features.n_mels)
        wavs: dict[int, np.ndarray] = {}
        for batch in similar_batches([len(m) for m in mels], BATCH_FRAMES):
            spoken = generate(self.model.averaged, [self.condition(mels[i]) for i in batch], self.config.noise_seed)
            wavs.update(zip(batch, spoken, strict=True))
        return [wavs[i] for i in range(len(mels))]

    def condition(self, mel: np.ndarray) -> Tensor:
        """A spectrogram (T, n_mels) as conditioning (T * hop_length, condition_channels)."""
        around = torch.from_numpy(frames_around(mel, 0, len(mel))).to(self.model.mel_mean)
        return self.model.condition(self.model.averaged, around[None])[0].T.float()


@torch.inference_mode()
def generate(network: Network, conditions: Sequence[Tensor], seed: int) -> list[np.ndarray]:
    """Speak a batch, longest first: conditioning (N, condition_channels) of each to its waveform, float32 (N,).

    The noise that samples are drawn with is the same for every item, so that none depends on the others.
    """
    lengths = [len(c) for c in conditions]
    cache = Cache(network, pad_sequence(list(conditions)))
    generator = torch.Generator().manual_seed(seed)
    components = network.last.out_channels // 3
    wavs = network.last.weight.new_zeros(lengths[0], len(lengths))
    now = wavs[0]  # before the first sample there is silence
    for t in track(range(lengths[0]), "wavenet", unit="sample", delay=10):
        if lengths[len(now) - 1] <= t:
            now = now[: sum(n > t for n in lengths)]
            cache.keep(len(now))
        if t % NOISE == 0:
            noise = torch.rand(NOISE, components + 1, dtype=torch.float64, generator=generator).clamp_(1e-12, 1 - 1e-12)
            noise = noise.to(wavs)
        now = draw(cache.step(now), noise[t % NOISE])
        wavs[t, : len(now)] = now
    return [wavs[:n, i].float().cpu().numpy() for i, n in enumerate(lengths)]


class Cache:
    """A network that goes one sample further at each step: what every layer needs of the past is kept in it.

    condition: (N, B, condition_channels) of the utterances to be spoken. `network.forward` gives the same.
    """

    def __init__(self, network: Network, condition: Tensor):
        batch, self.time = condition.shape[1], 0
        self.layers = [CachedLayer(layer, batch) for layer in cast(list[Layer], network.layers)]
        # (Blocks of the widest layer may reach beyond the end.)
        self.condition = F.pad(condition, (0, 0, 0, 0, 0, max(layer.dilation for layer in self.layers)))
        self.skip = torch.cat([layer.skip for layer in self.layers])  # all skip connections in one product
        self.first, self.hidden, self.last = map(affine, (network.first, network.hidden, network.last))

    def step(self, samples: Tensor) -> Tensor:
        """The samples (B,) before this one to the parameters (B, 3 * components) of this one."""
        x, gates = torch.addmm(self.first[0], samples[:, None], self.first[1]), []
        for layer in self.layers:
            x, gate = layer.step(x, self.time, self.condition)
            gates.append(gate)
        self.time += 1
        hidden = torch.addmm(self.hidden[0], (torch.cat(gates, 1) @ self.skip).relu_(), self.hidden[1])
        return torch.addmm(self.last[0], hidden.relu_(), self.last[1])

    def keep(self, count: int) -> None:
        """Go on with the first `count` utterances alone."""
        self.condition = self.condition[:, :count]
        for layer in self.layers:
            layer.keep(count)


class CachedLayer:
    """One layer and its inputs of late, in a ring of `kernel` blocks, each as long as the dilation.

    Within a block no output depends, through the past taps of the convolution, on an input of that same block: these
    products are made for a whole block at once, where they cost less than one by one.
    """

    def __init__(self, layer: Layer, batch: int):
        self.dilation, self.kernel = layer.dilation, layer.kernel
        self.bias, self.now = affine(layer.conv)
        self.taps = layer.conv.weight.detach().permute(2, 1, 0).contiguous()  # oldest first, each (in, out)
        self.condition = layer.condition.weight.detach()[:, :, 0].T.contiguous()
        self.residual, self.skip = (w.contiguous() for w in layer.out.weight.detach()[:, :, 0].T.split(layer.widths, 1))
        self.inputs = self.taps.new_zeros(self.kernel, self.dilation, batch, len(self.taps[0]))
        self.past = self.taps.new_zeros(self.dilation, batch, len(self.bias))

    def step(self, x: Tensor, time: int, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Input (B, residual) at a time to the next layer's input and the gated unit's output (B, gate)."""
        block, at = divmod(time, self.dilation)
        block %= self.kernel
        if at == 0:
            self._begin(block, condition[time : time + self.dilation])
        self.inputs[block, at] = x
        content, gate = torch.addmm(self.past[at], x, self.now).chunk(2, 1)
        gated = content.tanh() * gate.sigmoid()
        return torch.addmm(x, gated, self.residual), gated

    def _begin(self, block: int, condition: Tensor) -> None:
        past = torch.addmm(self.bias, condition.flatten(0, 1).to(self.bias), self.condition)
        for age in range(1, self.kernel):
            past.addmm_(self.inputs[(block - age) % self.kernel].flatten(0, 1), self.taps[-1 - age])
        self.past = past.view(self.past.shape)

    def keep(self, count: int) -> None:
        self.inputs, self.past = self.inputs[:, :, :count].contiguous(), self.past[:, :count].contiguous()


def affine(conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """Bias (out,) and last tap (in, out) of a convolution."""
    assert conv.bias is not None
    return conv.bias.detach(), conv.weight.detach()[:, :, -1].T.contiguous()
