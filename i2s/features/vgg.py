"""VGG-16 and -19 (Simonyan & Zisserman 2015): the last convolution's map, 14 x 14 x 512, before the last pooling.

conv5_3 of VGG-16 is what Hasegawa-Johnson et al. (2017) feed to their image-to-speech model.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.models as models

from i2s.errors import UserError
from i2s.features.image import IMAGENET_MEAN, IMAGENET_STD, GridExtractor
from i2s.features.weights import State, find_weights, load_state
from i2s.files import sha256


def vgg16(weights: Path | None) -> GridExtractor:
    path = find_weights("vgg16", weights, ["vgg16*.pth"], models.VGG16_Weights.IMAGENET1K_V1)
    return _extractor("vgg16", models.vgg16(init_weights=False), path)


def vgg19(weights: Path | None) -> GridExtractor:
    path = find_weights("vgg19", weights, ["vgg19*.pth"], models.VGG19_Weights.IMAGENET1K_V1)
    return _extractor("vgg19", models.vgg19(init_weights=False), path)


def _extractor(kind: str, network: models.VGG, path: Path) -> GridExtractor:
    layers = list(network.features)[:-1]  # without the last pooling
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    own_input = fill_in_order(convolutions, load_state(path), path, kind)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if own_input is not None:
        layers.insert(0, own_input)
        mean, std = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
    manifest = {"kind": kind, "weights": sha256(path), "file": path.name}
    return GridExtractor(torch.nn.Sequential(*layers), 224, mean, std, manifest, bf16=True)


def fill_in_order(convolutions: list[torch.nn.Conv2d], state: State, path: Path, kind: str) -> torch.nn.Conv2d | None:
    """Load the convolutions of a state dict, whatever their names are, one after the other.

    So torchvision's own files fit, files of the convolutions alone, and the "normalised" VGG-19 of style transfer
    (Gatys et al. 2016), which begins with a 1x1 convolution that takes RGB in 0..1 to its network's own input: that
    one is returned. Raises UserError if number or shapes differ.
    """
    names = [key.removesuffix(".weight") for key, v in state.items() if v.ndim == 4 and key.endswith(".weight")]
    own_input = None
    if names and state[f"{names[0]}.weight"].shape == (3, 3, 1, 1):
        own_input = torch.nn.Conv2d(3, 3, 1)
        convolutions = [own_input, *convolutions]
    shapes = [tuple(state[f"{name}.weight"].shape) for name in names]
    wanted = [tuple(c.weight.shape) for c in convolutions]
    if shapes != wanted or any(f"{name}.bias" not in state for name in names):
        raise UserError(f"{path}: no weights of {kind}: expected {len(wanted)} convolutions of its shapes and biases")
    with torch.no_grad():
        for convolution, name in zip(convolutions, names, strict=True):
            convolution.weight.copy_(state[f"{name}.weight"])
            assert convolution.bias is not None
            convolution.bias.copy_(state[f"{name}.bias"])
    return own_input
