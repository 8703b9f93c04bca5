"""Regions and their features by torchvision's Faster R-CNN (Ren et al. 2015; ResNet-50 with a feature pyramid, COCO).

As Anderson et al. (2018) chose their "bottom-up" regions: of each proposal the class with the highest probability,
overlapping boxes of a class suppressed, then the best 36. (Theirs has 2048 numbers a region and 1600 classes.)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d, batched_nms, clip_boxes_to_image
from torchvision.transforms.functional import pil_to_tensor

from i2s.features.image import Extractor, ImageFeatures
from i2s.features.weights import fill, find_weights, load_state
from i2s.files import sha256

REGIONS = 36
PROPOSALS = 300  # looked at for each image
OVERLAP = 0.5  # boxes of a class that share more than this part (intersection over union) count as one
CLASSES = 91


class FasterRcnnExtractor(Extractor):
    """Up to 36 regions an image, best first: vectors (36, 1024), regions (36, 6) with COCO's class ids."""

    def __init__(self, weights: Path):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = FasterRCNN(
            resnet_fpn_backbone(backbone_name="resnet50", weights=None), CLASSES, rpn_post_nms_top_n_test=PROPOSALS
        )
        fill(network, load_state(weights), weights, "fasterrcnn")
        for module in network.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0  # as these weights were trained
        self.network = network.eval().to(self.device)
        dim = int(network.roi_heads.box_predictor.cls_score.in_features)
        self.manifest = {
            "kind": "fasterrcnn",
            "grid": None,
            "dim": dim,
            "weights": sha256(weights),
            "file": weights.name,
            "regions": {"max": REGIONS, "classes": "COCO, torchvision's ids"},
        }

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """float32 (3, H, W) in 0..1; the network scales it by itself."""
        return pil_to_tensor(image).float() / 255

    @torch.inference_mode()
    def features(self, prepared: list[torch.Tensor]) -> list[ImageFeatures]:
        return [self._regions(image.to(self.device)) for image in prepared]

    def _regions(self, image: torch.Tensor) -> ImageFeatures:
        images, _ = self.network.transform([image])
        height, width = images.image_sizes[0]
        maps = self.network.backbone(images.tensors)
        proposals, _ = self.network.rpn(images, maps)
        heads = self.network.roi_heads
        vectors = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
        logits, offsets = heads.box_predictor(vectors)

        scores, classes = logits.softmax(-1)[:, 1:].max(-1)  # (class 0 is the background)
        classes = classes + 1
        boxes = heads.box_coder.decode(offsets, proposals)[torch.arange(len(classes)), classes]
        boxes = clip_boxes_to_image(boxes, (height, width))
        best = batched_nms(boxes, scores, classes, OVERLAP)[:REGIONS]

        corners = boxes[best] / torch.tensor([width, height, width, height], device=self.device)
        regions = torch.cat([corners, classes[best, None].float(), scores[best, None]], dim=1)
        return ImageFeatures(_numpy(vectors[best]), _numpy(regions))


def faster_rcnn(weights: Path | None) -> FasterRcnnExtractor:
    """With torchvision's COCO_V1 weights, or those given."""
    official = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    return FasterRcnnExtractor(find_weights("fasterrcnn", weights, ["fasterrcnn_resnet50_fpn_coco*.pth"], official))


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.float().cpu().numpy()
