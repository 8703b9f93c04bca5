"""Progress bars: one line redrawn on a terminal, a line every ten seconds in a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

S = TypeVar("S")
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


def in_threads(function: Callable[[S], T], items: Collection[S], what: str, unit: str, workers: int = 0) -> list[T]:
    """What `function` makes of each item, in their order, with `track`.

    workers: threads; 0: as many as there are cores. (It is for functions that spend their time outside of Python's
    lock.) After the first error, or Ctrl-C, nothing more is begun.
    """
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        try:
            return list(track(pool.map(function, items), what, len(items), unit))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Lines:
    """A stream for tqdm that ends each update with a newline, so that log files stay readable."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
