"""Symbols with their times, and Kaldi's table of them, CTM: one `utterance-id channel begin duration symbol` a line."""

from __future__ import annotations

import math
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2s.corpus.tables import iter_table
from i2s.errors import UserError
from i2s.files import write_text

SILENCE = "SIL"
# What aligners write, in whatever case, where nobody speaks, or nobody knows what is said.
_SILENT = {"", "sil", "sil_b", "sil_e", "sil_i", "sil_s", "sp", "spn", "spn_s", "<eps>", "<sil>", "<unk>"}
ROUNDING = 0.0011  # seconds by which neighbours may seem apart, or to overlap: times are written in milliseconds


class Interval(NamedTuple):
    """A word or phone and when it is said, in seconds."""

    symbol: str
    begin: float
    end: float


def labelled(label: str) -> str:
    """The symbol that a label of an alignment stands for: SIL, or the label, its words joined by `_`."""
    return SILENCE if label.strip().lower() in _SILENT else sys.intern("_".join(label.split()))


def read_ctm(path: str | Path, only: Container[str] | None = None) -> dict[str, list[Interval]]:
    """The intervals of each utterance, or of those in `only`, in order of time.

    What aligners write for silence becomes SIL; a sixth column (a confidence) is passed over.

    Raises UserError naming the file and the utterance for a line of another form, and for intervals that overlap.
    """
    out: dict[str, list[Interval]] = {}
    for utterance, value in iter_table(path, unique=False):
        if only is not None and utterance not in only:
            continue
        try:
            _, begin, duration, symbol = value.split()[:4]
            interval = Interval(labelled(symbol), float(begin), float(begin) + float(duration))
            if not (0 <= interval.begin <= interval.end and math.isfinite(interval.end)):
                raise ValueError("begin and duration must be at least 0")
        except ValueError as e:
            raise UserError(
                f"{path}: {utterance}: expected 'utterance-id channel begin duration symbol', got {value[:60]!r}"
            ) from e
        out.setdefault(utterance, []).append(interval)
    for utterance, intervals in out.items():
        intervals.sort(key=lambda i: (i.begin, i.end))
        check_order(intervals, f"{path}: {utterance}")
    return out


def check_order(intervals: Iterable[Interval], where: str, slack: float = ROUNDING) -> None:
    """Raise UserError where one interval begins before the last has ended (by more than rounding, in seconds)."""
    before = None
    for interval in intervals:
        if before and interval.begin < before.end - slack:
            raise UserError(
                f"{where}: {interval.symbol} begins at {interval.begin:.3f} s, before {before.symbol} ends "
                f"at {before.end:.3f} s"
            )
        before = interval


def write_ctm(path: str | Path, rows: Mapping[str, Iterable[Interval]]) -> None:
    """Write intervals, utterances sorted in C locale, whole or not at all."""
    lines = [
        f"{utterance} 1 {i.begin:.3f} {i.end - i.begin:.3f} {i.symbol}\n"
        for utterance in sorted(rows, key=str.encode)
        for i in rows[utterance]
    ]
    write_text(path, "".join(lines))


def frame_symbols(intervals: Sequence[Interval], frames: int, frame_shift: float) -> list[str]:
    """The symbol at the middle of each frame of `frame_shift` seconds; SIL in gaps, before the first, after the last.

    An interval too short to hold the middle of a frame is lost.
    """
    begins = np.array([i.begin for i in intervals])
    middles = (np.arange(frames) + 0.5) * frame_shift
    at = np.searchsorted(begins, middles, side="right") - 1
    return [
        intervals[i].symbol if i >= 0 and middle < intervals[i].end else SILENCE
        for i, middle in zip(at, middles, strict=True)
    ]
