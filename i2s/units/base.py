"""What a way of unit discovery has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from i2s.units.config import UnitConfig


class UnitMethod(Protocol):
    """Learned units of speech features."""

    Config: ClassVar[type[UnitConfig]]
    WEIGHTS: ClassVar[str]  # the file whose hash tells one inventory from another

    @property
    def size(self) -> int:
        """The number of units."""

    @property
    def dim(self) -> int:
        """The number of columns of the features."""

    @classmethod
    def train(cls, feats: Mapping[str, np.ndarray], config: Any) -> Self:
        """Learn from a table of (T, D) matrices. Raises UserError for too few frames, and for what is no speech."""

    def save(self, folder: Path) -> None:
        """Write WEIGHTS and what else `load` needs."""

    @classmethod
    def load(cls, folder: Path, config: Any) -> Self:
        """Read what `save` wrote. Raises UserError if it is missing or damaged."""

    def encode(self, utterances: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each utterance (T, D) collapsed units (N,) and their durations in frames (N,), which add up to T."""

    def manifest(self) -> dict[str, Any]:
        """What the method adds to the manifest of its inventory."""
