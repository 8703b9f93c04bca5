"""What all image-to-unit models share: options, the loss, and the small interface that search uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2s.errors import UserError
from i2s.train.fit import Module, TrainConfig


@dataclass(frozen=True)
class ImageToUnitConfig(TrainConfig):
    """Options of every image-to-unit model. Training fills the first group in from the data."""

    pieces: int = 0  # size of the vocabulary: units, or BPE pieces over units
    feature_dim: int = 0  # D of an image's (L, D) features
    grid: tuple[int, ...] = ()  # rows and columns of the L positions; empty: regions without an order
    longest: int = 0  # pieces of the longest training sequence
    inventory: str = ""  # hash of the unit inventory

    dropout: float = 0.1
    feature_dropout: float = 0.1  # dropout on image features
    label_smoothing: float = 0.1
    max_total: int = 0  # padded pieces in a batch at most; 0: batch_size alone counts
    cache_gb: float = 3.0  # image features up to this size are held in memory, as bfloat16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dropout", "feature_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")


class Batch(NamedTuple):
    """Captions of similar length. Images that several of them describe are held once.

    I images, B captions, T the longest caption's pieces + 1. V = `pieces` stands for both begin and end.
    """

    features: Tensor  # (I, L, D) bfloat16
    mask: Tensor | None  # (I, L) bool, False at padding; None: no padding
    images: Tensor  # (B,) the row of features of each caption
    inputs: Tensor  # (B, T) V, then the pieces
    targets: Tensor  # (B, T) the pieces, then V; -1 at padding


class Dropout(nn.Module):
    """Dropout with probabilities in 256ths: on a CPU one random number makes the mask of eight elements.

    Drawing one for each element, as torch's dropout does, takes a tenth of the time of a training step.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.dropped = round(256 * probability)  # of 256

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return x
        if x.is_cuda:
            return F.dropout(x, self.dropped / 256)
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(1 << 63), None)
        kept = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * (kept.to(x.dtype) * (256 / (256 - self.dropped)))


class Grid(nn.ParameterList):
    """Learned embeddings of the rows and columns of a grid, for the places of an image; none without a grid."""

    def __init__(self, grid: Sequence[int], width: int):
        super().__init__(nn.Parameter(0.02 * torch.randn(size, width)) for size in grid)

    def added_to(self, x: Tensor) -> Tensor:
        """Positions (B, L, width), row after row, with what tells their places. Raises UserError for another L."""
        if not len(self):
            return x
        rows, columns = self
        if len(rows) * len(columns) != x.shape[1]:
            raise UserError(
                f"image features have {x.shape[1]} positions, but the model was trained on a grid of "
                f"{len(rows)} x {len(columns)}"
            )
        return x + (rows[:, None] + columns).flatten(0, 1)


class ImageToUnitModel(Module):
    """Base of the models. Sub-classes give `forward` for training and `start`, `step`, `reorder` for search.

    In a search every one of B images has K beams; `State` is whatever the model needs from one step to the next.
    """

    config_class: ClassVar[type[ImageToUnitConfig]]
    config: ImageToUnitConfig
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: ImageToUnitConfig):
        super().__init__()
        self.config = config
        self.edge = config.pieces  # the symbol that begins and ends every sequence
        # One scale for all: each with its own would blow up those that hardly ever differ from 0.
        self.register_buffer("feature_mean", torch.zeros(config.feature_dim))
        self.register_buffer("feature_std", torch.ones(()))
        self._dev: list[Tensor] = []

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, V + 1) of the N targets that are not padding, in row order, and a penalty to add to the loss."""

    @abstractmethod
    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> Any:
        """The state before the first step, from features (B, L, D) and their mask (B, L)."""

    @abstractmethod
    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        """Tokens (B, K) just chosen (first: `edge`) to logits (B, K, V + 1), attention (B, K, L) and the next state."""

    @abstractmethod
    def reorder(self, state: Any, index: Tensor) -> Any:
        """The state whose beam (b, k) continues the old flat row index[b, k] = old b * K + old k.

        A row of index (B', K) stays within one image, images keep their order, and some may be left out.
        """

    def prepare(self, features: Tensor) -> Tensor:
        """Features (..., D) to mean 0 in each of the D, and variance 1 over all, as measured on training images."""
        return (features.float() - self.feature_mean) / self.feature_std

    def training_step(self, batch: Batch, index: int) -> Tensor:
        logits, penalty = self(batch)
        targets = batch.targets[batch.targets >= 0]
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing) + penalty
        self.log("train/loss", loss, batch_size=len(targets))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        logits, _ = self(batch)
        targets = batch.targets[batch.targets >= 0]
        nll = F.cross_entropy(logits.float(), targets, reduction="sum")
        right = (logits.argmax(-1) == targets).sum()
        self._dev.append(torch.stack([nll, right.float(), nll.new_tensor(len(targets))]).double().cpu())

    def on_validation_epoch_end(self) -> None:
        """Log dev/score, the cross-entropy in nats a piece over the whole dev set, and the share of right pieces."""
        if not self._dev:
            return
        mine = torch.stack(self._dev).sum(0).to(self.device, torch.float32)
        sums = cast(Tensor, self.all_gather(mine)).reshape(-1, 3).sum(0)  # over all processes
        self._dev.clear()
        self.log("dev/score", sums[0] / sums[2], sync_dist=True)
        self.log("dev/accuracy", sums[1] / sums[2], sync_dist=True)
