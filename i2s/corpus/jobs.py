"""Splitting a table over jobs: `--job J/N` takes the J-th of N contiguous parts."""

from __future__ import annotations

import re
from typing import TypeVar

from i2s.errors import UserError

T = TypeVar("T")


def parse_job(text: str) -> tuple[int, int]:
    """`J/N` as (J, N) with 1 <= J <= N. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--job {text}: expected J/N, two numbers with 1 <= J <= N")
    return int(match[1]), int(match[2])


def share(items: list[T], job: tuple[int, int]) -> list[T]:
    """The J-th of N contiguous parts of `items`; their sizes differ by at most one, small tables give empty parts."""
    j, n = job
    return items[len(items) * (j - 1) // n : len(items) * j // n]
