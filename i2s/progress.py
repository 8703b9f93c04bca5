"""Progress bars: one line redrawn on a terminal, a line every ten seconds in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(
    items: Iterable[T] | None,
    what: str,
    total: int | None = None,
    unit: str = "it",
    initial: int = 0,
    delay: float = 0,
) -> tqdm[T]:
    """Iterate over `items`, showing count, rate and the time left on stderr.

    `initial` items were done by an earlier run and do not count for the rate. Without `items` the caller moves the
    bar on itself: `bar.update()`, and at the end `bar.close()`. What takes less than `delay` seconds shows none.
    """
    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        initial=initial,
        delay=delay,
        mininterval=0.1 if terminal else 10.0,
        dynamic_ncols=terminal,
        ascii=not terminal,
        file=sys.stderr if terminal else _Lines(),
    )


def batches(items: Sequence[T], size: int, what: str) -> Iterator[list[T]]:
    """At most `size` of the items at a time, with `track`."""
    for at in track(range(0, len(items), size), what, unit="batch"):
        yield list(items[at : at + size])


class _Lines:
    """A stream for tqdm that ends each update with a newline, so that log files stay readable."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
