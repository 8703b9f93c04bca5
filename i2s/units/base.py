"""What kinds of units have to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np


class UnitKind(Protocol):
    """Units of any kind: an inventory that lies in a folder."""

    Config: ClassVar[type[Any]]  # a dataclass; of its fields `bpe_size` is used
    WEIGHTS: ClassVar[str]  # the file whose hash tells one inventory from another

    @property
    def size(self) -> int:
        """The number of units."""

    @classmethod
    def load(cls, folder: Path, config: Any) -> Self:
        """Read the inventory. Raises UserError if it is missing or damaged."""

    def manifest(self) -> dict[str, Any]:
        """What the kind adds to the manifest of its inventory."""


@runtime_checkable
class UnitMethod(UnitKind, Protocol):
    """Units that are learned from speech features, and that other speech can be written in."""

    @property
    def dim(self) -> int:
        """The number of columns of the features."""

    @classmethod
    def train(cls, feats: Mapping[str, np.ndarray], config: Any) -> Self:
        """Learn from a table of (T, D) matrices. Raises UserError for too few frames, and for what is no speech."""

    def save(self, folder: Path) -> None:
        """Write WEIGHTS and what else `load` needs."""

    def encode(self, utterances: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each utterance (T, D) collapsed units (N,) and their durations in frames (N,), which add up to T."""
