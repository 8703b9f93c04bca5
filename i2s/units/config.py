"""The options of unit discovery."""

from __future__ import annotations

from dataclasses import dataclass

from i2s.errors import UserError


@dataclass(frozen=True)
class UnitConfig:
    """How units are learned from speech features, and how speech is then written in them."""

    num_units: int = 200
    bpe_size: int = 0  # pieces of the BPE over units, at least num_units; 0: none
    smoothing: float = 1.0  # cost of a change of unit, in mean squared distances of a frame to its centroid
    min_run: int = 3  # frames that a unit lasts at least
    seed: int = 0
    lda_dim: int = 40  # dimensions of the learned projection of the features; 0: none, features are standardised
    lda_rounds: int = 2  # times that the projection is learned
    context: int = 3  # the projection sees the frames at -context, 0 and +context
    iterations: int = 20  # of k-means (see i2s.units.kmeans.cluster)
    sample_frames: int = 250_000  # frames that k-means sees: whole utterances in random order, held in memory

    def __post_init__(self) -> None:
        least = {"num_units": 1, "smoothing": 0, "min_run": 1, "lda_dim": 0, "lda_rounds": 0, "context": 0}
        for name, low in {**least, "iterations": 1, "sample_frames": 1}.items():
            if not getattr(self, name) >= low:  # written so that NaN is refused too
                raise UserError(f"unit options: {name} is {getattr(self, name)}; it must be at least {low}")
        if self.bpe_size and self.bpe_size < self.num_units:
            raise UserError(
                f"unit options: bpe_size is {self.bpe_size}; it must be 0 (no BPE) or at least num_units "
                f"({self.num_units}), since every unit is a piece"
            )
