"""Captions as pieces with the features of their images, in batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from i2s.archive import Matrices
from i2s.corpus.tables import read_int_table, read_table
from i2s.errors import UserError
from i2s.i2u.base import Batch, ImageToUnitConfig
from i2s.progress import track
from i2s.train.samplers import LengthBatchSampler
from i2s.units.bpe import UnitBpe

log = logging.getLogger(__name__)


class Features:
    """Image features (L, D) of the named images: in memory as bfloat16 if they fit, else read at each access.

    `bytes_held`: about how much memory they take; 0 where they are read at each access.
    `others` holds those of changed copies of each image, one copy's (L, D) below the other's.
    """

    def __init__(self, matrices: Matrices, others: Matrices | None, names: Sequence[str], max_bytes: float):
        self.matrices, self.others, self.names = matrices, others, names
        positions, self.dim = self._read(matrices, names[0]).shape
        self.views = len(self._views(names[0]))
        self._held: list[Tensor] | None = None
        self.bytes_held = len(names) * self.views * positions * self.dim * 2
        if self.bytes_held <= max_bytes:
            self._held = [self._views(name) for name in track(names, "image features", unit="image")]
        else:
            self.bytes_held = 0
            log.info("%s: too large for what is left of cache_gb, read from disk in every epoch", matrices.scp)

    def get(self, index: int, view: int = 0) -> Tensor:
        """bfloat16 (L, D). View 0 is the image as it is."""
        if self._held is not None:
            return self._held[index][view]
        name = self.names[index]
        return self._views(name)[view] if view else self._read(self.matrices, name)

    def statistics(self, images: int = 500) -> tuple[Tensor, Tensor]:
        """Mean (D,) and the root mean square distance from it (), over positions of at most so many images."""
        mean, square, count = torch.zeros(self.dim, dtype=torch.float64), torch.zeros(self.dim, dtype=torch.float64), 0
        for index in range(0, len(self.names), -(-len(self.names) // images)):
            matrix = self.get(index).double()
            mean += matrix.sum(0)
            square += matrix.square().sum(0)
            count += len(matrix)
        mean /= count
        deviation = (square / count - mean.square()).mean().clamp(min=1e-12).sqrt()
        return mean.float(), deviation.float()

    def _views(self, name: str) -> Tensor:
        """bfloat16 (views, L, D)."""
        matrix = self._read(self.matrices, name)
        if self.others is None:
            return matrix[None]
        others = self._read(self.others, name)
        if others.shape[1] != self.dim or len(others) % len(matrix):
            raise UserError(
                f"{self.others.scp}: {name}: shape {tuple(others.shape)} does not fit {self.matrices.scp}'s "
                f"{tuple(matrix.shape)}; extract image features again"
            )
        return torch.cat([matrix[None], others.unflatten(0, (-1, len(matrix)))])

    def _read(self, matrices: Matrices, name: str) -> Tensor:
        matrix = matrices[name]
        if matrix.ndim != 2 or not matrix.size:
            raise UserError(f"{matrices.scp}: {name}: features have shape {matrix.shape}, expected (L, D)")
        if not np.isfinite(matrix).all():
            raise UserError(f"{matrices.scp}: {name}: features hold NaN or infinite values; extract them again")
        return torch.from_numpy(np.array(matrix, np.float32)).bfloat16()


class Captions(Dataset[tuple[int, int, list[int]]]):
    """The captions of one split: (index, row of the image, pieces). Those without image features are left out, counted.

    `augment`: show the images in all the views of image_views.scp, if it is there, not only as they are.
    Raises UserError for units outside the inventory, no caption at all, features of another width than others.
    """

    def __init__(
        self, data: Path, units: Path, size: int, bpe: UnitBpe | None, max_bytes: float, augment: bool = False
    ):
        self.pieces_total = bpe.size if bpe else size
        image_of = read_table(data / "utt2image")
        spoken = read_int_table(units / "units")
        matrices = Matrices(data / "image_feats.scp")
        names: dict[str, int] = {}
        self.rows: list[int] = []
        self.pieces: list[list[int]] = []
        missing = []
        for utterance, sequence in spoken.items():
            image = image_of.get(utterance)
            if image is None or image not in matrices:
                missing.append(utterance)
                continue
            if not all(0 <= unit < size for unit in sequence):
                raise UserError(f"{units}/units: {utterance}: a unit is outside 0 .. {size - 1}; run the unit stage")
            self.rows.append(names.setdefault(image, len(names)))
            self.pieces.append(bpe.encode(sequence) if bpe else sequence)
        if missing:
            log.warning("%s: %d of %d utterances have no image features and are left out, the first is %s",
                        data, len(missing), len(spoken), missing[0])  # fmt: skip
        if not self.rows:
            raise UserError(f"{data}: no utterance of {units}/units has an image with features")
        views = data / "image_views.scp"
        others = Matrices(views) if augment and views.is_file() else None
        self.features = Features(matrices, others, list(names), max_bytes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, int, list[int]]:
        return index, self.rows[index], self.pieces[index]

    @property
    def lengths(self) -> list[int]:
        """Pieces of each caption and its end symbol."""
        return [len(p) + 1 for p in self.pieces]

    def collate(self, items: Sequence[tuple[int, int, list[int]]]) -> Batch:
        """Pad captions, and hold each image once, in one of its views."""
        order: dict[int, int] = {}
        images = torch.tensor([order.setdefault(row, len(order)) for _, row, _ in items])
        # By whose company a caption is in, which changes from epoch to epoch: no state to restore after a kill.
        turn = sum(index for index, *_ in items)
        features, mask = pad_features([self.features.get(row, (turn + row) % self.features.views) for row in order])
        length = max(len(pieces) for *_, pieces in items) + 1
        inputs = torch.full((len(items), length), self.pieces_total)
        targets = torch.full((len(items), length), -1)
        for i, (*_, pieces) in enumerate(items):
            n = len(pieces)
            inputs[i, 1 : n + 1] = targets[i, :n] = torch.tensor(pieces, dtype=torch.long)
            targets[i, n] = self.pieces_total
        return Batch(features, mask, images, inputs, targets)

    def loader(self, config: ImageToUnitConfig, shuffle: bool) -> DataLoader:
        """Batches of captions of similar length, in another order in every epoch if `shuffle`."""
        sampler = LengthBatchSampler(self.lengths, config.batch_size, config.max_total, config.seed, shuffle)
        return DataLoader(
            self, batch_sampler=sampler, collate_fn=self.collate, num_workers=config.workers,
            persistent_workers=config.workers > 0, pin_memory=torch.cuda.is_available(),
        )  # fmt: skip


def pad_features(features: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Features (L_i, D) to (B, L, D) and a mask (B, L), False at padding, or None where all are of one length.

    Raises UserError if widths D differ.
    """
    if len({f.shape[1] for f in features}) > 1:
        raise UserError("images have features of different widths; extract all of them in the same way")
    longest = max(len(f) for f in features)
    if all(len(f) == longest for f in features):
        return torch.stack(list(features)), None
    mask = torch.arange(longest) < torch.tensor([len(f) for f in features])[:, None]
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), mask
