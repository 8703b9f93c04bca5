"""Error rates from edit distances: of words, and of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import editdistance
import numpy as np

from i2s.score.bootstrap import Measure, ratio


@dataclass(frozen=True)
class Edits:
    """How a hypothesis differs from a reference of `length` tokens."""

    substitutions: int
    insertions: int
    deletions: int
    length: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.insertions + self.deletions

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.length + other.length,
        )


def align(hypothesis: Sequence[Any], reference: Sequence[Any]) -> Edits:
    """Count the edits of a minimum edit distance alignment; of equal ones, the one with the most substitutions.

    Insertions minus deletions is the difference in length, so that choice makes the counts unique.
    """
    # One row of the table at a time: (distance, gaps) up to each reference token. min() prefers fewer gaps.
    row = [(j, j) for j in range(len(reference) + 1)]
    for i, token in enumerate(hypothesis, 1):
        diagonal, row[0] = row[0], (i, i)
        for j, wanted in enumerate(reference, 1):
            above, left = row[j], row[j - 1]
            best = min(
                (diagonal[0] + (token != wanted), diagonal[1]),
                (above[0] + 1, above[1] + 1),
                (left[0] + 1, left[1] + 1),
            )
            diagonal, row[j] = above, best
    distance, gaps = row[-1]
    insertions = (gaps + len(hypothesis) - len(reference)) // 2
    return Edits(distance - gaps, insertions, gaps - insertions, len(reference))


def word_error(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[Measure, Edits]:
    """Word error rate in percent (it can exceed 100) and the edits behind it; texts are normalised already."""
    edits = [align(h.split(), r.split()) for h, r in zip(hypotheses, references, strict=True)]
    return ratio([e.errors for e in edits], [e.length for e in edits]), sum(edits, Edits(0, 0, 0, 0))


def unit_error(hypotheses: Sequence[Sequence[int | str]], references: Sequence[Sequence[int | str]]) -> Measure:
    """Unit error rate in percent against one reference each."""
    errors = [editdistance.eval(list(h), list(r)) for h, r in zip(hypotheses, references, strict=True)]
    return ratio(errors, [len(r) for r in references])


def unit_errors(
    hypotheses: Sequence[Sequence[int | str]], references: Sequence[Sequence[Sequence[int | str]]]
) -> tuple[Measure, Measure]:
    """Unit error rates in percent against several references an image.

    Returns (against the reference with the lowest rate, against all of them in turn); both are sums of edits over sums
    of reference lengths.
    """
    nearest, every = [], []
    for hypothesis, refs in zip(hypotheses, references, strict=True):
        pairs = [(editdistance.eval(list(hypothesis), list(r)), len(r)) for r in refs]
        nearest.append(min(pairs, key=lambda p: p[0] / max(1, p[1])))
        every.append(np.mean(pairs, axis=0))
    return ratio(*np.transpose(nearest)), ratio(*np.transpose(every))
