"""Token sequences as arrays: n-gram tables and alignments of many pairs at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_CELLS = 1 << 14  # of one block of alignment rows: they stay in the processor's cache


class Vocabulary(dict[str, int]):
    """Token -> number, in the order in which tokens are first seen."""

    def __missing__(self, token: str) -> int:
        self[token] = len(self)
        return self[token]


@dataclass(frozen=True)
class Sequences:
    """Sequences of token numbers, one after the other: `tokens` int64 (T,), `ends` int64 (S,)."""

    tokens: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str], vocabulary: Vocabulary) -> Sequences:
        """Number the space-separated tokens of `texts`; new ones join the vocabulary."""
        tokens: list[int] = []
        ends: list[int] = []
        for text in texts:
            tokens += [vocabulary[token] for token in text.split()]
            ends.append(len(tokens))
        return cls(np.array(tokens, np.int64), np.array(ends, np.int64))

    @cached_property
    def starts(self) -> np.ndarray:
        """(S,)"""
        return np.concatenate([[0], self.ends[:-1]])

    @cached_property
    def lengths(self) -> np.ndarray:
        """(S,)"""
        return self.ends - self.starts

    @cached_property
    def owners(self) -> np.ndarray:
        """The sequence of each token: (T,)."""
        return np.repeat(np.arange(len(self.ends)), self.lengths)

    def padded(self, chosen: np.ndarray, fill: int) -> np.ndarray:
        """The sequences `chosen` (B,) as rows (B, longest), filled up with `fill`."""
        width = int(self.lengths[chosen].max(initial=0))
        columns = np.arange(width)
        inside = columns < self.lengths[chosen, None]
        rows = np.full((len(chosen), width), fill, np.int64)
        rows[inside] = self.tokens[(self.starts[chosen, None] + columns)[inside]]
        return rows


@dataclass(frozen=True)
class Grams:
    """The distinct n-grams of one order in each sequence: `owner`, `gram` and `count`, int64 (P,), sorted by both.

    An n-gram is numbered by its place in `keys` (sorted), and a key is (number of its first n - 1 tokens, last token).
    """

    keys: np.ndarray
    owner: np.ndarray
    gram: np.ndarray
    count: np.ndarray


def grams(sequences: Sequences, order: int, vocabulary: int) -> list[Grams]:
    """The n-grams of 1 ... `order` tokens; all tokens are below `vocabulary`."""
    found = []
    starts = np.arange(len(sequences.tokens))
    numbers = np.zeros(len(starts), np.int64)  # of the n-gram that begins at each of `starts`
    for n in range(order):
        inside = starts + n < sequences.ends[sequences.owners[starts]]
        starts, numbers = starts[inside], numbers[inside]
        keys, numbers = np.unique(numbers * vocabulary + sequences.tokens[starts + n], return_inverse=True)
        pairs, count = np.unique(sequences.owners[starts] * max(1, len(keys)) + numbers, return_counts=True)
        found.append(Grams(keys, *np.divmod(pairs, max(1, len(keys))), count))
    return found


def matching(here: list[Grams], there: list[Grams], vocabulary: int) -> list[np.ndarray]:
    """For each n-gram number of `here` the number of the same n-gram in `there`, or -1."""
    found = []
    before = np.zeros(1, np.int64)  # the one n-gram of no tokens
    for a, b in zip(here, there, strict=True):
        prefix, token = np.divmod(a.keys, vocabulary)
        before = find(b.keys, np.where(before[prefix] < 0, -1, before[prefix] * vocabulary + token))
        found.append(before)
    return found


def find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each of `wanted` in the sorted `keys`, or -1."""
    if not len(keys):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


def common(a: Sequences, b: Sequences, pairs: np.ndarray) -> np.ndarray:
    """Lengths of the longest common subsequences of the pairs (a, b), int64 (P, 2): int64 (P,)."""
    out = np.zeros(len(pairs), np.int64)
    for block in _blocks(a, b, pairs):
        x, y = a.padded(pairs[block, 0], -1), b.padded(pairs[block, 1], -2)
        row = np.zeros((len(block), y.shape[1] + 1), np.int64)
        for column in x.T:
            diagonal = row[:, :-1] + (column[:, None] == y)
            row[:, 1:] = np.maximum.accumulate(np.maximum(row[:, 1:], diagonal), axis=1)
        out[block] = row[:, -1]
    return out


def edits(a: Sequences, b: Sequences, pairs: np.ndarray) -> np.ndarray:
    """Substitutions, insertions and deletions that turn b into a, and b's length: int64 (P, 4), for pairs (P, 2).

    Of the alignments of the smallest edit distance the one with the most substitutions counts. Insertions minus
    deletions is the difference in length, so that choice makes the counts unique.
    """
    out = np.zeros((len(pairs), 4), np.int64)
    edit = 1 << 32  # an edit costs that, a gap one more: the cheapest path has the fewest edits, then the fewest gaps
    for block in _blocks(a, b, pairs):
        x, y = a.padded(pairs[block, 0], -1), b.padded(pairs[block, 1], -2)
        gaps = (edit + 1) * np.arange(y.shape[1] + 1)
        row = np.repeat(gaps[None], len(block), axis=0)
        longer = a.lengths[pairs[block, 0]]
        for i, column in enumerate(x.T):
            new = row + (edit + 1)
            np.minimum(new[:, 1:], row[:, :-1] + edit * (column[:, None] != y), out=new[:, 1:])
            new = np.minimum.accumulate(new - gaps, axis=1) + gaps
            row = np.where((i < longer)[:, None], new, row)
        length = b.lengths[pairs[block, 1]]
        distance, gapped = np.divmod(row[np.arange(len(block)), length], edit)
        insertions = (gapped + longer - length) // 2
        out[block] = np.stack([distance - gapped, insertions, gapped - insertions, length], axis=1)
    return out


def warped(a: Sequences, b: Sequences, pairs: np.ndarray) -> np.ndarray:
    """Distances of the pairs (a, b), int64 (P, 2), by dynamic time warping: float64 (P,). No sequence may be empty.

    The share of steps that meet unlike tokens, on the path that meets the fewest of them and, of such, is the shortest.
    """
    out = np.zeros(len(pairs))
    unlike = 1 << 32  # costs that, and any step one more
    for block in _blocks(a, b, pairs):
        x, y = a.padded(pairs[block, 0], -1), b.padded(pairs[block, 1], -2)
        rows, columns = a.lengths[pairs[block, 0]], b.lengths[pairs[block, 1]]
        row = np.full((len(block), y.shape[1] + 1), 1 << 62)
        row[:, 0] = 0
        for i, column in enumerate(x.T, 1):
            steps = 1 + unlike * (column[:, None] != y)
            sums = steps.cumsum(axis=1)
            entered = np.minimum(row[:, 1:], row[:, :-1]) + steps
            row[:, 1:] = np.minimum.accumulate(entered - sums, axis=1) + sums
            row[:, 0] = 1 << 62
            ended = np.flatnonzero(rows == i)
            met, length = np.divmod(row[ended, columns[ended]], unlike)
            out[block[ended]] = met / length
    return out


def _blocks(a: Sequences, b: Sequences, pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of like lengths, so many that their rows stay below _CELLS."""
    x, y = a.lengths[pairs[:, 0]], b.lengths[pairs[:, 1]]
    ordered = np.lexsort((y, x))
    first = 0
    while first < len(ordered):
        widest = np.maximum.accumulate(np.maximum(x, y)[ordered[first : first + _CELLS]] + 1)
        size = max(1, int(np.searchsorted(widest * np.arange(1, len(widest) + 1), _CELLS)))
        yield ordered[first : first + size]
        first += size
