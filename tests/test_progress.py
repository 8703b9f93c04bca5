"""Work in threads: results in order; after an error nothing more is begun."""

from __future__ import annotations

import threading
import time

import pytest

from i2s.errors import UserError
from i2s.progress import in_threads


def test_results_are_in_order_whatever_finishes_first() -> None:
    last = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert last.wait(10)  # done when all others are
        if item == 5:
            last.set()
        return item * item

    assert in_threads(slow_first, range(6), "squares", "number", workers=2) == [0, 1, 4, 9, 16, 25]


def test_after_an_error_nothing_more_is_begun() -> None:
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)
        if item == 3:
            raise UserError("item 3 is bad")

    with pytest.raises(UserError, match="item 3 is bad"):
        in_threads(fail, range(1000), "items", "item", workers=2)
    assert len(begun) < 100
