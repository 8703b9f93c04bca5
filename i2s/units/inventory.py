"""A trained unit inventory in a folder: what its method learned, BPE and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from i2s.config import load_config
from i2s.errors import UserError
from i2s.files import sha256
from i2s.modeldir import load_manifest, save_manifest
from i2s.units import UNIT_METHODS
from i2s.units.base import UnitMethod
from i2s.units.bpe import UnitBpe
from i2s.units.config import UnitConfig


class UnitEncoder:
    """Writes speech features as units. What `UnitInventory` does before its folder is finished."""

    def __init__(self, folder: str | Path, method: str):
        self.folder = Path(folder)
        part = UNIT_METHODS.get(method)
        self.config: UnitConfig = load_config(part.Config, self.folder / "config.yaml")
        self.method: UnitMethod = part.load(self.folder, self.config)

    @property
    def size(self) -> int:
        """The number of units."""
        return self.method.size

    def encode(self, utterances: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each utterance (T, D) collapsed units (N,) and their durations in frames (N,), which add up to T.

        Raises UserError for features of another width than those the units were learned from, for none, and for NaN.
        """
        for key, feats in utterances.items():
            if feats.ndim != 2 or feats.shape[1] != self.method.dim:
                raise UserError(
                    f"{key}: features have shape {feats.shape}, but the units of {self.folder} were learned from "
                    f"{self.method.dim} columns; extract features with the same configuration"
                )
            if not len(feats) or not np.isfinite(feats).all():
                raise UserError(f"{key}: features are empty, or hold NaN or infinite values; look at its recording")
        return dict(zip(utterances, self.method.encode(list(utterances.values())), strict=True))


class UnitInventory(UnitEncoder):
    """A finished inventory: also its manifest and, where trained, the BPE over its units."""

    def __init__(self, folder: str | Path):
        self.manifest = read_manifest(folder)
        super().__init__(folder, self.manifest["method"])
        self.bpe = UnitBpe.load(self.folder / "bpe.model", self.size) if self.manifest["bpe_size"] else None


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a finished inventory. Raises UserError if its weights are not those that the manifest names."""
    manifest = load_manifest(folder, "units")
    weights = Path(folder) / UNIT_METHODS.get(manifest["method"]).WEIGHTS
    if not weights.is_file() or sha256(weights) != manifest["inventory"]:
        raise UserError(f"{weights}: missing, or not the one of manifest.json; run the unit stage again")
    return manifest


def write_manifest(folder: Path, method: str, features: dict[str, Any]) -> None:
    """Write the manifest of a folder whose other files are all there: from then on it is a finished inventory.

    features: the fields of the SpeechFeatureConfig that the units were learned from.
    """
    encoder = UnitEncoder(folder, method)
    bpe = UnitBpe.load(folder / "bpe.model", encoder.size) if encoder.config.bpe_size else None
    manifest = {
        "kind": "units",
        "method": method,
        "inventory": sha256(folder / encoder.method.WEIGHTS),
        "size": encoder.size,
        "features": features,
        "frame_shift": features["hop_length"] / features["sample_rate"],
        "sample_rate": features["sample_rate"],
        "bpe_size": bpe.size if bpe else 0,
        **encoder.method.manifest(),
    }
    save_manifest(folder, manifest)
