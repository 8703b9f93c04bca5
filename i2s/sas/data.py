"""Training data of image-to-spectrogram models: spectrograms beside the features of their images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from i2s.archive import Matrices
from i2s.corpus.tables import evenly, read_table
from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.i2u.data import Features
from i2s.sas.model import Batch, images_batch
from i2s.u2s.data import Spectrograms

log = logging.getLogger(__name__)
Item = tuple[int, np.ndarray]


class SpokenImages(Spectrograms[Item]):
    """The utterances of one split whose image has features: (index, spectrogram). Others are left out, counted.

    `augment`: show the images in all the views of image_views.scp, if it is there, not only as they are.
    Raises UserError where there is no utterance left, and for features that cannot be read.
    """

    def __init__(self, data: Path, n_mels: int, max_bytes: float, augment: bool = False):
        image_of = read_table(data / "utt2image")
        self.mels, self.n_mels = Matrices(data / "feats.scp"), n_mels
        matrices = Matrices(data / "image_feats.scp")
        self.ids = [u for u, image in image_of.items() if u in self.mels and image in matrices]
        if not self.ids:
            raise UserError(f"{data}: no utterance has a spectrogram and an image with features; run stages 4 and 5")
        if missing := len(image_of) - len(self.ids):
            log.warning("%s: %d of %d utterances lack spectrogram or image features and are left out",
                        data, missing, len(image_of))  # fmt: skip
        self.lengths = [self.mels.rows(u) for u in self.ids]
        names: dict[str, int] = {}
        self.rows = [names.setdefault(image_of[u], len(names)) for u in self.ids]
        regions, views = data / "image_regions.scp", data / "image_views.scp"
        self.regions = read_regions(regions, list(names)) if regions.is_file() else None
        others = Matrices(views) if augment and views.is_file() else None
        if others is not None and self.regions is not None:
            raise UserError(f"{views}: changed copies of images with regions: their boxes are not known; use one view")
        self.features = Features(matrices, others, list(names), max_bytes)

    @property
    def classes(self) -> int:
        """One more than the greatest class id of a region; 0 without regions or classes."""
        return max((int(rows[:, 4].max()) + 1 for rows in self.regions or () if len(rows)), default=0)

    def images(self, count: int) -> dict[str, ImageFeatures]:
        """The features of at most so many images, evenly spaced, by the image's id."""
        row_of = {name: row for row, name in enumerate(self.features.names)}
        found = {}
        for name in evenly(row_of, count):
            regions = None if self.regions is None else self.regions[row_of[name]].numpy()
            found[name] = ImageFeatures(self.features.get(row_of[name]).float().numpy(), regions)
        return found

    def __getitem__(self, index: int) -> Item:
        return index, self.mel(index)

    def collate(self, items: Sequence[Item]) -> Batch:
        """Pad spectrograms, and hold each image once, in one of its views."""
        order: dict[int, int] = {}
        rows = torch.tensor([order.setdefault(self.rows[index], len(order)) for index, _ in items])
        # By whose company an utterance is in, which changes from epoch to epoch: no state to restore after a kill.
        turn = sum(index for index, _ in items)
        features = [self.features.get(row, (turn + row) % self.features.views) for row in order]
        regions = [self.regions[row] for row in order] if self.regions is not None else None
        mels = [torch.from_numpy(np.array(mel, np.float32)) for _, mel in items]
        lengths = torch.tensor([len(mel) for mel in mels])
        return Batch(images_batch(features, regions), rows, pad_sequence(mels, batch_first=True), lengths)


def read_regions(scp: Path, names: Sequence[str]) -> list[Tensor]:
    """The regions (L, 6) of images."""
    matrices = Matrices(scp)
    return [torch.from_numpy(np.array(matrices[name], np.float32)) for name in names]
