"""Run-length code: frames of units to (unit, duration) pairs and back, without loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from i2s.errors import UserError


def collapse(frames: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The unit of each frame (T,) to the units of its runs (N,) and their durations in frames (N,), sum T.

    No two neighbours in the result are equal; every duration is at least 1.
    """
    frames = np.asarray(frames, np.int64)
    starts = np.flatnonzero(np.diff(frames, prepend=frames[:1] - 1))
    return frames[starts], np.diff(starts, append=len(frames))


def expand(units: Sequence[int] | np.ndarray, durations: Sequence[int] | np.ndarray) -> np.ndarray:
    """The inverse of `collapse`: units (N,) and durations in frames (N,) to the unit of each frame (T,).

    Raises UserError for units and durations that do not belong together, and for a duration below 1.
    """
    units, durations = np.asarray(units, np.int64), np.asarray(durations, np.int64)
    if units.shape != durations.shape:
        raise UserError(f"{len(units)} units but {len(durations)} durations; encode the speech again")
    if (durations < 1).any():
        raise UserError(f"a unit lasts {durations.min()} frames; every duration must be at least 1")
    return np.repeat(units, durations)


def round_durations(durations: np.ndarray) -> list[int]:
    """Round positive durations to whole frames, at least one each, carrying the error along.

    Each unit ends where the exact durations so far end, rounded, so that the sum is right.
    """
    out, at, exact = [], 0, 0.0
    for duration in durations:
        exact += float(duration)
        end = max(at + 1, int(np.floor(exact + 0.5)))
        out.append(end - at)
        at = end
    return out
