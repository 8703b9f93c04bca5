"""Praat's TextGrids, as the Montreal Forced Aligner and people write them."""

from __future__ import annotations

import re
from pathlib import Path

from praatio import textgrid
from praatio.utilities.errors import PraatioException

from i2s.corpus.ctm import SILENCE, Interval, check_order, labelled
from i2s.errors import UserError

# How many intervals a tier says it has, in Praat's long and short form.
_SIZE = re.compile(r'intervals: size = (\d+)|"IntervalTier"\s+"(?:[^"]|"")*"\s+\S+\s+\S+\s+(\d+)')


def read_textgrid(path: str | Path, tier: str) -> list[Interval]:
    """The intervals of the tier named `tier`, or, as of several speakers, `NAME - tier`; empty ones are SIL.

    Gaps stay gaps. Raises UserError naming the file for one that cannot be read, holds no such tier, ends
    before its last interval, or whose intervals overlap.
    """
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="rename")
    except FileNotFoundError:
        raise UserError(f"{path}: no such TextGrid") from None
    except (PraatioException, ValueError, IndexError, KeyError, UnicodeError) as e:
        raise UserError(f"{path}: not a TextGrid that can be read: {e}") from e
    for row, size in zip((t for t in grid.tiers if isinstance(t, textgrid.IntervalTier)), _sizes(path), strict=False):
        if len(row.entries) < size:  # praatio takes what there is of a file that was cut short
            raise UserError(f"{path}: cut short: tier {row.name} has {len(row.entries)} of its {size} intervals")
    tiers = [name for name in grid.tierNames if name == tier or name.endswith(f" - {tier}")]
    rows = [grid.getTier(name) for name in tiers]
    if not rows or not all(isinstance(row, textgrid.IntervalTier) for row in rows):
        raise UserError(f"{path}: no tier of intervals is named {tier}; there are: {', '.join(grid.tierNames)}")
    found = [Interval(labelled(label), float(begin), float(end)) for row in rows for begin, end, label in row.entries]
    if len(rows) > 1:  # where one speaks the others are silent
        found = [interval for interval in found if interval.symbol != SILENCE]
    found.sort(key=lambda i: (i.begin, i.end))
    check_order(found, f"{path}: tier {tier}")
    return found


def _sizes(path: str | Path) -> list[int]:
    raw = Path(path).read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")
    return [int(long or short) for long, short in _SIZE.findall(text)]
