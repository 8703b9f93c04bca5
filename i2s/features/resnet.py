"""ResNet-50 and -101 (He et al. 2016): the output of layer4, 7 x 7 x 2048."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.models as models
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck

from i2s.errors import UserError
from i2s.features.image import IMAGENET_MEAN, IMAGENET_STD, GridExtractor
from i2s.features.weights import fill, find_weights, load_state
from i2s.files import sha256


def resnet50(weights: Path | None) -> GridExtractor:
    """torchvision's network; its IMAGENET1K_V1 weights, as papers used them."""
    path = find_weights("resnet50", weights, ["resnet50*.pth"], models.ResNet50_Weights.IMAGENET1K_V1)
    if path.stem.lower().startswith(("resnet50_v1", "resnet50-v1")):
        raise UserError(f"{path}: by its name, weights of the first ResNet-50; pass --image-feats resnet50-v1")
    return _extractor("resnet50", models.resnet50(), path)


def resnet101(weights: Path | None) -> GridExtractor:
    """torchvision's network and weights (IMAGENET1K_V1)."""
    path = find_weights("resnet101", weights, ["resnet101*.pth"], models.ResNet101_Weights.IMAGENET1K_V1)
    return _extractor("resnet101", models.resnet101(), path)


def resnet50_v1(weights: Path | None) -> GridExtractor:
    """The network as first published, which Caffe and Keras have: in a block that halves the map, the first
    convolution (1x1) has the stride, where torchvision's ("v1.5") has it in the second (3x3)."""
    path = find_weights("resnet50-v1", weights, ["resnet50[-_]v1*.pth", "resnet50*.pth"], None)
    network = models.resnet50()
    for layer in (network.layer2, network.layer3, network.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    return _extractor("resnet50-v1", network, path)


def _extractor(kind: str, network: models.ResNet, path: Path) -> GridExtractor:
    fill(network, load_state(path), path, kind)
    fold_batch_norms(network)
    maps = torch.nn.Sequential(*list(network.children())[:-2])  # all but the pooling and the classifier
    manifest = {"kind": kind, "weights": sha256(path), "file": path.name}
    return GridExtractor(maps, 224, IMAGENET_MEAN, IMAGENET_STD, manifest, bf16=True)


def fold_batch_norms(network: models.ResNet) -> None:
    """Fold each batch normalisation into the convolution before it: the same function, a third faster, and closer to
    fp32 when it runs in bf16."""
    network.eval()
    groups = [(network, "conv1", "bn1")]
    for block in network.modules():
        if isinstance(block, Bottleneck):
            groups += [(block, f"conv{i}", f"bn{i}") for i in (1, 2, 3)]
            if block.downsample is not None:
                groups.append((block.downsample, "0", "1"))
    for module, convolution, norm in groups:
        fused = fuse_conv_bn_eval(module.get_submodule(convolution), module.get_submodule(norm))
        setattr(module, convolution, fused)
        setattr(module, norm, torch.nn.Identity())
