"""A trained unit inventory in a folder: quantiser, smoothing, BPE and manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from i2s.config import load_config
from i2s.errors import UserError
from i2s.files import sha256
from i2s.modeldir import load_manifest, save_manifest
from i2s.units import UNIT_METHODS
from i2s.units.bpe import UnitBpe
from i2s.units.config import UnitConfig
from i2s.units.runs import collapse
from i2s.units.smooth import segment


class UnitEncoder:
    """Writes speech features as units. What `UnitInventory` does before its folder is finished."""

    def __init__(self, folder: str | Path, method: str):
        self.folder = Path(folder)
        self.config = load_config(UnitConfig, self.folder / "config.yaml")
        self.quantiser = UNIT_METHODS.get(method).load(self.folder)

    @property
    def size(self) -> int:
        """The number of units."""
        return self.quantiser.size

    def encode(self, feats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (T, D) to collapsed units (N,) and their durations in frames (N,), which add up to T.

        Raises UserError for features of another width than those the units were learned from, and for NaN.
        """
        if feats.ndim != 2 or feats.shape[1] != self.quantiser.dim:
            raise UserError(
                f"{self.folder}: features have shape {feats.shape}, but these units were learned from "
                f"{self.quantiser.dim} columns; extract features with the same configuration"
            )
        if not np.isfinite(feats).all():
            raise UserError(f"{self.folder}: features hold NaN or infinite values; look at the recording")
        costs = self.quantiser.costs(feats)
        return collapse(segment(costs, self.config.smoothing, self.config.min_run))


class UnitInventory(UnitEncoder):
    """A finished inventory: also its manifest and, where trained, the BPE over its units."""

    def __init__(self, folder: str | Path):
        self.manifest = load_manifest(folder, "units")
        super().__init__(folder, self.manifest["method"])
        if sha256(self.folder / "codebook.npy") != self.manifest["inventory"]:
            raise UserError(f"{folder}: codebook.npy is not the one of manifest.json; run the unit stage again")
        self.bpe = UnitBpe.load(self.folder / "bpe.model", self.size) if self.manifest["bpe_size"] else None


def write_manifest(folder: Path, method: str, features: dict[str, Any]) -> None:
    """Write the manifest of a folder whose other files are all there: from then on it is a finished inventory.

    features: the fields of the SpeechFeatureConfig that the units were learned from.
    """
    encoder = UnitEncoder(folder, method)
    bpe = UnitBpe.load(folder / "bpe.model", encoder.size) if encoder.config.bpe_size else None
    manifest = {
        "kind": "units",
        "method": method,
        "inventory": sha256(folder / "codebook.npy"),
        "size": encoder.size,
        "features": features,
        "frame_shift": features["hop_length"] / features["sample_rate"],
        "sample_rate": features["sample_rate"],
        "smoothing": encoder.config.smoothing,
        "min_run": encoder.config.min_run,
        "bpe_size": bpe.size if bpe else 0,
    }
    save_manifest(folder, manifest)
