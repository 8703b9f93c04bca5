"""The options that every way of unit discovery has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from i2s.errors import UserError


@dataclass(frozen=True)
class UnitConfig:
    """How large an inventory is. Each method adds its own options."""

    num_units: int = 200
    bpe_size: int = 0  # pieces of the BPE over units, at least num_units; 0: none
    seed: int = 0

    def __post_init__(self) -> None:
        self.check_least({"num_units": 1})
        if self.bpe_size and self.bpe_size < self.num_units:
            raise UserError(
                f"unit options: bpe_size is {self.bpe_size}; it must be 0 (no BPE) or at least num_units "
                f"({self.num_units}), since every unit is a piece"
            )

    def check_least(self, least: Mapping[str, float]) -> None:
        """Raises UserError for a field that is below its least value, or no number."""
        for name, low in least.items():
            if not getattr(self, name) >= low:  # written so that NaN is refused too
                raise UserError(f"unit options: {name} is {getattr(self, name)}; it must be at least {low}")
