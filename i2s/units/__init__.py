"""Speech to discrete units: ways to discover them, run-length collapse, and BPE over units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.registry import Part, Registry

if TYPE_CHECKING:
    from i2s.units.inventory import UnitInventory

UNIT_METHODS = Registry(
    "units",
    {
        "kmeans": Part("i2s.units.kmeans:KMeans", "k-means over frames of speech features (faiss)"),
        "pseudo-phones": Part(
            "i2s.units.pseudo_phones:PseudoPhones", "units of a Bayesian phone-loop HMM (Ondel et al. 2016)"
        ),
    },
)


def load(folder: str | Path) -> UnitInventory:
    """Load a finished unit inventory. Raises UserError if `folder` holds none, or a damaged one."""
    from i2s.units.inventory import UnitInventory

    return UnitInventory(folder)
