"""HiFi-GAN (Kong et al. 2020), on ESPnet's generator.

Weights: the published files of the authors (`generator_LJSpeech.pth.tar`, `generator_universal.pth.tar`, with their
config.json beside them or not), or ESPnet's names, as ESPnet and ParallelWaveGAN save them. The sizes of the network
are read off the weights. A model only fits the spectrograms that it was trained on: 80 channels up to 8 kHz, hop 256,
22050 Hz for the published ones, which are this project's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.files import read_json
from i2s.precision import bf16_is_faster
from i2s.vocoder.base import check_mels

Weights = dict[str, torch.Tensor]

# The authors' names of layers and ESPnet's.
_RENAME = [
    (r"^conv_pre\.", "input_conv."),
    (r"^conv_post\.", "output_conv.1."),
    (r"^ups\.(\d+)\.", r"upsamples.\1.1."),
    (r"^resblocks\.(\d+)\.(convs[12])\.(\d+)\.", r"blocks.\1.\2.\3.1."),
]
# config.json's names of what must agree with the spectrograms, and ours.
_SAME = {"sampling_rate": "sample_rate", "hop_size": "hop_length", "win_size": "win_length", "n_fft": "n_fft",
         "num_mels": "n_mels", "fmin": "fmin", "fmax": "fmax"}  # fmt: skip


class HiFiGAN:
    """See the module's description; the interface is `i2s.vocoder.base.Vocoder`."""

    def __init__(self, features: SpeechFeatureConfig, weights: Path | None = None):
        """Raises UserError if `weights` is missing, is no HiFi-GAN, or was made for other spectrograms."""
        if weights is None or not weights.is_file():
            given = "no file given" if weights is None else f"{weights}: no such file"
            raise UserError(
                f"vocoder hifigan: {given}; name one, such as generator_universal.pth.tar: --vocoder-weights"
            )
        self.features = features
        self.bf16 = bf16_is_faster("cpu")  # the difference lies 26 dB below the speech
        config = _config(weights.with_name("config.json"))
        for theirs, ours in _SAME.items():
            if theirs in config and config[theirs] != getattr(features, ours):
                raise UserError(
                    f"{weights}: was trained on spectrograms with {theirs} {config[theirs]}, but these have "
                    f"{getattr(features, ours)} (conf/features.yaml: {ours}); use griffinlim, or extract such features"
                )
        tensors = read_weights(weights)
        self.generator = build(tensors, weights, config.get("resblock_dilation_sizes"))
        channels, hop = tensors["input_conv.weight"].shape[1], self.generator.upsample_factor
        if (channels, hop) != (features.n_mels, features.hop_length):
            raise UserError(
                f"{weights}: takes {channels} mel channels and hop {hop}, but the spectrograms have {features.n_mels} "
                f"and {features.hop_length}; use griffinlim, or extract such features"
            )

    @torch.inference_mode()
    def __call__(self, mels: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-mel spectrograms (T, n_mels) to float32 waveforms (T * hop_length,). Bad ones raise UserError.

        One by one: an utterance keeps all cores busy, and padding would be heard at its end.
        """
        check_mels(mels, self.features.n_mels)
        out = []
        for mel in mels:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                wav = self.generator(torch.tensor(mel, dtype=torch.float32).T[None])
            out.append(wav[0, 0].float().numpy())
        return out


def read_weights(path: Path) -> Weights:
    """The generator's weights under ESPnet's names, weight normalisation multiplied out."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:
        raise UserError(f"{path}: not a file of PyTorch weights: {str(e).splitlines()[0]}") from e
    while isinstance(content, dict) and not any(isinstance(v, torch.Tensor) for v in content.values()):
        inner = next((content[k] for k in ("generator", "model", "state_dict") if k in content), None)
        if not isinstance(inner, dict):
            raise UserError(f"{path}: holds no generator; is it HiFi-GAN's discriminator or optimiser file (do_...)?")
        content = inner
    named: Weights = {}
    for key, value in content.items():
        # ESPnet's whole text-to-wave models hold the vocoder beside other parts.
        key = re.sub(r"^(tts\.)?(generator\.)?(vocoder\.|decoder\.)?", "", key)
        for pattern, name in _RENAME:
            key = re.sub(pattern, name, key)
        if key.startswith(("input_conv.", "output_conv.", "upsamples.", "blocks.")):
            named[key] = value.float()
    return _without_weight_norm(named)


def build(weights: Weights, path: Path, dilations: list[list[int]] | None = None) -> torch.nn.Module:
    """ESPnet's HiFiGANGenerator of the sizes that `weights` have, with these weights, in evaluation mode."""
    from espnet2.gan_tts.hifigan import HiFiGANGenerator

    try:
        first = weights["input_conv.weight"]
        scales = [weights[f"upsamples.{i}.1.weight"].shape[2] for i in range(_count(weights, "upsamples"))]
        kinds = _count(weights, "blocks") // len(scales)
        kernels = [weights[f"blocks.{i}.convs1.0.1.weight"].shape[2] for i in range(kinds)]
        depth = 1 + max(int(k.split(".")[3]) for k in weights if k.startswith("blocks.0.convs1."))
        generator = HiFiGANGenerator(
            in_channels=first.shape[1],
            channels=first.shape[0],
            kernel_size=first.shape[2],
            upsample_scales=[kernel // 2 for kernel in scales],
            upsample_kernel_sizes=scales,
            resblock_kernel_sizes=kernels,
            resblock_dilations=dilations or [list(range(1, 2 * depth, 2))] * kinds,
            use_additional_convs=any(".convs2." in k for k in weights),
            use_weight_norm=False,
        )
        generator.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError, ZeroDivisionError, AssertionError) as e:
        raise UserError(f"{path}: not a HiFi-GAN generator: {str(e).splitlines()[0]}") from e
    return generator.eval().requires_grad_(False)


def _without_weight_norm(weights: Weights) -> Weights:
    """Multiply out weight = g * v / |v| (Salimans and Kingma 2016), |v| over all axes but the first."""
    # Newer torch saves (g, v) as parametrizations.weight.original0 and original1.
    plain = {
        re.sub(r"parametrizations\.weight\.original([01])$", lambda m: "weight_" + "gv"[int(m[1])], key): value
        for key, value in weights.items()
    }
    for key in [k for k in plain if k.endswith("weight_g")]:
        stem = key.removesuffix("_g")
        g, v = plain.pop(key), plain.pop(stem + "_v")
        plain[stem] = v * (g / v.flatten(1).norm(dim=1).view_as(g))
    return plain


def _count(weights: Weights, name: str) -> int:
    """How many layers there are in the list `name`."""
    return len({key.split(".")[1] for key in weights if key.startswith(name + ".")})


def _config(path: Path) -> dict[str, Any]:
    """The authors' config.json, or nothing."""
    return read_json(path, "download it again", missing_ok=True)
