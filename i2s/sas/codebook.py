"""A codebook of spectrogram blocks, from which a Tacotron 2 decoder chooses what it draws.

Of one image people say many things. Where a description could go on in several ways, a decoder trained by squared error
draws their mean, hears that blur as what it said last, and is lost. With a codebook it must choose: its output layer
scores blocks of spectrogram (k-means centroids of those in training, `reduction_factor` frames each), draws the best,
and hears what it drew; the post-net then makes one smooth spectrogram of the blocks. The choices are a quantised latent
of the same network (as in van den Oord et al. 2017), which still goes from an image straight to a spectrogram.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from i2s.errors import UserError
from i2s.units.kmeans import cluster

ITERATIONS = 20  # of k-means


class Codebook(nn.Module):
    """In place of a decoder's output layer: states (B, dim) to blocks (B, n_mels * ratio), laid out as the decoder's.

    Training sets `blocks` (size, n_mels * ratio), as `blocks_of` tells them.
    """

    blocks: Tensor

    def __init__(self, dim: int, size: int, n_mels: int, ratio: int):
        super().__init__()
        self.n_mels, self.ratio = n_mels, ratio
        self.score = nn.Linear(dim, size)
        self.register_buffer("blocks", torch.zeros(size, n_mels * ratio))
        self._truth: Iterator[Tensor] | None = None
        self._states: list[Tensor] = []

    def forward(self, state: Tensor) -> Tensor:
        """The block that fits best; within `forced`, the true one."""
        if self._truth is None:
            return self.blocks[self.score(state).argmax(-1)]
        self._states.append(state)
        return self.blocks[next(self._truth)]

    @contextmanager
    def forced(self, codes: Tensor) -> Iterator[list[Tensor]]:
        """Within the block the decoder draws what codes (B, steps) say. Gives the list that its states (B, dim) of each
        step will be in, by which it would have chosen itself.
        """
        self._truth, self._states = iter(codes.unbind(1)), []
        try:
            yield self._states
        finally:
            self._truth = None

    def encode(self, mels: Tensor) -> Tensor:
        """Spectrograms (B, T, n_mels) to the codes (B, T // ratio) of the blocks nearest to theirs."""
        return torch.cdist(blocks_of(mels, self.ratio).float(), self.blocks[None]).argmin(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, steps) to spectrograms (B, steps * ratio, n_mels)."""
        batch, steps = codes.shape
        frames = self.blocks[codes].view(batch, steps, self.n_mels, self.ratio).transpose(2, 3)
        return frames.reshape(batch, steps * self.ratio, self.n_mels)


def blocks_of(mels: Tensor, ratio: int) -> Tensor:
    """Spectrograms (B, T, n_mels) to (B, T // ratio, n_mels * ratio), each block as ESPnet's output layer lays it out;
    frames that do not fill a block are left out.
    """
    batch, frames, n_mels = mels.shape
    steps = frames // ratio
    return mels[:, : steps * ratio].view(batch, steps, ratio, n_mels).transpose(2, 3).reshape(batch, steps, -1)


def learn_blocks(mels: list[Tensor], size: int, ratio: int, seed: int) -> Tensor:
    """k-means over the blocks of spectrograms (T, n_mels): (size, n_mels * ratio). Raises UserError for too few."""
    blocks = torch.cat([blocks_of(mel[None], ratio)[0] for mel in mels]).numpy()
    if len(blocks) < size:
        raise UserError(f"codes={size}: the training set has only {len(blocks)} blocks of {ratio} frames; lower it")
    np.random.default_rng(seed).shuffle(blocks)
    return torch.from_numpy(cluster(blocks, size, ITERATIONS, seed)[0])
