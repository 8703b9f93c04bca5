"""Batches of utterances of similar length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch.distributed
from torch.utils.data import Sampler


class LengthBatchSampler(Sampler[list[int]]):
    """Yields lists of indices of similar length; their order depends on seed and epoch alone.

    A batch holds at most `batch_size` items and at most `max_total` padded length (longest item times items;
    0: no bound). In distributed training every rank takes its share of the same batches, all ranks the same number.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, max_total: int = 0, seed: int = 0, shuffle: bool = True
    ):
        self.lengths = np.asarray(lengths)
        self.batch_size, self.max_total, self.seed, self.shuffle = batch_size, max_total, seed, shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def _batches(self) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch]) if self.shuffle else None
        # Jitter lets items of nearly equal length meet different neighbours in every epoch.
        noise = rng.uniform(0.9, 1.1, len(self.lengths)) if rng is not None else 1.0
        batches: list[list[int]] = [[]]
        longest = 0
        for i in np.argsort(self.lengths * noise, kind="stable").tolist():
            longest = max(longest, int(self.lengths[i]))
            size = len(batches[-1]) + 1
            if batches[-1] and (size > self.batch_size or (self.max_total and longest * size > self.max_total)):
                batches.append([])
                longest = int(self.lengths[i])
            batches[-1].append(i)
        if rng is not None:
            rng.shuffle(batches)
        if torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
            batches += batches[: -len(batches) % world]
            return batches[rank::world]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())
