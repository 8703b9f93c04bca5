"""A trained image-to-unit model in its folder: image features in, units out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from i2s.config import load_config
from i2s.errors import UserError
from i2s.i2u import IMAGE_TO_UNIT
from i2s.i2u.base import ImageToUnitModel
from i2s.i2u.data import pad_features
from i2s.i2u.search import Found, SearchConfig, search
from i2s.modeldir import load_manifest
from i2s.train.fit import load_weights
from i2s.units.bpe import UnitBpe


@dataclass(frozen=True)
class Hypothesis:
    """What a model says of an image.

    units: run-length collapsed. score: what hypotheses are ranked by (see SearchConfig). log_prob: natural log of the
    probability of its pieces. attention: float32 (len(units), L), each row with sum 1. finished: it ended by itself.
    """

    units: list[int]
    score: float
    log_prob: float
    attention: np.ndarray
    finished: bool


class ImageToUnits:
    """Loads a finished model folder. Raises UserError if there is none, or its parts do not fit together."""

    def __init__(self, folder: str | Path, device: str | torch.device | None = None):
        folder = Path(folder)
        self.manifest = load_manifest(folder, "i2u")
        part = IMAGE_TO_UNIT.get(self.manifest["model"])
        self.config = load_config(part.config_class, folder / "config.yaml")
        units = self.manifest["units"]
        self.bpe = UnitBpe.load(folder / "bpe.model", units["size"]) if units["bpe_size"] else None
        if self.config.pieces != (self.bpe.size if self.bpe else units["size"]):
            raise UserError(f"{folder}: config.yaml and the units of manifest.json disagree; train the model again")
        self.model: ImageToUnitModel = part(self.config)
        load_weights(self.model, folder / self.manifest["checkpoint"])
        self.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def generate(self, features: Sequence[np.ndarray], config: SearchConfig) -> list[list[Hypothesis]]:
        """Hypotheses of each image's features (L, D), ordered as by `search`; at least one an image.

        Samples depend on `config.seed` and the image's features alone, not on the other images.
        Raises UserError for features of another shape than those the model was trained on.
        """
        if not config.max_length:
            config = replace(config, max_length=max(config.min_length, self.config.longest * 3 // 2))
        for matrix in features:
            if matrix.ndim != 2 or matrix.shape[1] != self.config.feature_dim or not len(matrix):
                raise UserError(
                    f"image features have shape {matrix.shape}, but the model was trained on {self.config.feature_dim} "
                    "columns; extract features of the same kind"
                )
        out = []
        for at in range(0, len(features), config.batch_size):
            arrays = [np.array(f, np.float32, order="C") for f in features[at : at + config.batch_size]]
            batch, mask = pad_features([torch.from_numpy(a) for a in arrays])
            seeds = [zlib.crc32(a.tobytes(), config.seed) for a in arrays]
            device = self.model.device
            found = search(self.model, batch.to(device), None if mask is None else mask.to(device), config, seeds)
            out += [[self._hypothesis(f) for f in hypotheses] for hypotheses in found]
        return out

    def _hypothesis(self, found: Found) -> Hypothesis:
        """Pieces to units. A unit that ends one piece and begins the next is one run: it is said once."""
        parts = [self.bpe.decode([p]) if self.bpe else [p] for p in found.pieces]
        units = np.array([u for part in parts for u in part], np.int64)
        rows = np.repeat(found.attention, [len(part) for part in parts], axis=0)
        starts = np.flatnonzero(np.diff(units, prepend=-1))
        counts = np.diff(starts, append=len(units))
        attention = np.add.reduceat(rows, starts, axis=0) / counts[:, None]
        return Hypothesis(
            units[starts].tolist(), found.score, found.log_prob, attention.astype(np.float32), found.finished
        )
