"""Batches of utterances of similar length, so that little is spent on padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch.distributed
from torch.utils.data import Sampler

_JITTER = 0.05


class LengthBatchSampler(Sampler[list[int]]):
    """Yields lists of indices of similar length; which ones and in which order depends on seed and epoch alone.

    A batch holds at most `batch_size` items and at most `max_total` padded length (longest item times items;
    0: no bound; an item longer than that is a batch of its own). Every epoch has the same number of batches, since
    learning-rate schedules count them. In distributed training every rank takes its share of the same batches, all
    ranks the same number.

    `i2s.train.fit` calls `set_epoch` before each epoch (Lightning itself does not do so for a batch sampler).
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, max_total: int = 0, seed: int = 0, shuffle: bool = True
    ):
        self.lengths = np.asarray(lengths, np.int64)
        self.seed, self.shuffle = seed, shuffle
        self.epoch = 0
        self._sizes = self._plan(batch_size, max_total)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches are yielded next."""
        self.epoch = epoch

    def _plan(self, batch_size: int, max_total: int) -> list[int]:
        """The number of items in each batch, from the shortest items to the longest; the same in every epoch."""
        bounds = np.sort(self.lengths)
        if self.shuffle and len(bounds):
            # Jitter moves an item by at most this factor in the order of lengths (see _batches).
            bounds = np.minimum(bounds * (1 + _JITTER) / (1 - _JITTER), bounds[-1])
        sizes: list[int] = []
        for bound in bounds:
            size = sizes[-1] + 1 if sizes else 1
            if not sizes or size > batch_size or (max_total and bound * size > max_total):
                sizes.append(1)
            else:
                sizes[-1] = size
        return sizes

    def _batches(self) -> list[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch]) if self.shuffle else None
        # Jitter lets items of nearly equal length meet different neighbours in every epoch.
        noise = rng.uniform(1 - _JITTER, 1 + _JITTER, len(self.lengths)) if rng is not None else 1.0
        order = np.argsort(self.lengths * noise, kind="stable")
        batches = [part.tolist() for part in np.split(order, np.cumsum(self._sizes)[:-1])] if len(order) else []
        if rng is not None:
            rng.shuffle(batches)
        rank, world = _rank_and_world()
        batches = [batches[i % len(batches)] for i in range(math.ceil(len(batches) / world) * world)]
        return batches[rank::world]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return math.ceil(len(self._sizes) / _rank_and_world()[1])


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
