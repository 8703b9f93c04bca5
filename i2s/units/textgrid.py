"""Praat's TextGrids, as the Montreal Forced Aligner and people write them."""

from __future__ import annotations

from pathlib import Path

from praatio import textgrid
from praatio.utilities.errors import PraatioException

from i2s.corpus.ctm import SILENCE, Interval, check_order
from i2s.errors import UserError

# What aligners write where nobody speaks, or nobody knows what is said.
_SILENT = {"", "sil", "sp", "spn", "<eps>", "<sil>", "<unk>"}


def read_textgrid(path: str | Path, tier: str) -> list[Interval]:
    """The intervals of the tier named `tier`, or, as of several speakers, `NAME - tier`; empty ones are SIL.

    Gaps stay gaps. Raises UserError naming the file for one that cannot be read, holds no such tier, or whose
    intervals overlap.
    """
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="rename")
    except FileNotFoundError:
        raise UserError(f"{path}: no such TextGrid") from None
    except (PraatioException, ValueError, IndexError, KeyError, UnicodeError) as e:
        raise UserError(f"{path}: not a TextGrid that can be read: {e}") from e
    tiers = [name for name in grid.tierNames if name == tier or name.endswith(f" - {tier}")]
    rows = [grid.getTier(name) for name in tiers]
    if not rows or not all(isinstance(row, textgrid.IntervalTier) for row in rows):
        raise UserError(f"{path}: no tier of intervals is named {tier}; there are: {', '.join(grid.tierNames)}")
    found = [
        Interval(SILENCE if label.strip() in _SILENT else "_".join(label.split()), float(begin), float(end))
        for row in rows
        for begin, end, label in row.entries
    ]
    if len(rows) > 1:  # where one speaks the others are silent
        found = [interval for interval in found if interval.symbol != SILENCE]
    found.sort(key=lambda i: (i.begin, i.end))
    check_order(found, f"{path}: tier {tier}")
    return found
