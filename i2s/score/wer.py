"""Error rates from edit distances: of words, and of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from i2s.score.bootstrap import Measure, ratio
from i2s.score.captions import References
from i2s.score.sequences import Sequences, Vocabulary, edits

# Reference lengths, in words, that word error is told for: up to 5, 6 to 10, ...
LENGTHS = (5, 10, 15, 20)


@dataclass(frozen=True)
class Edits:
    """How hypotheses differ from references of `length` tokens in all."""

    substitutions: int
    insertions: int
    deletions: int
    length: int

    @classmethod
    def of(cls, rows: np.ndarray) -> Edits:
        """The sum of rows as `error_rate` returns them."""
        return cls(*(int(total) for total in rows.sum(0)))


def error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[Measure, np.ndarray]:
    """Token error rate in percent (it can exceed 100) against one reference each.

    Returns it with the edits behind it: substitutions, insertions, deletions, reference length, int64 (N, 4).
    """
    vocabulary = Vocabulary()
    said, wanted = Sequences.of(hypotheses, vocabulary), Sequences.of(references, vocabulary)
    counts = edits(said, wanted, np.repeat(np.arange(len(hypotheses))[:, None], 2, axis=1))
    return ratio(counts[:, :3].sum(1), counts[:, 3]), counts


def by_length(counts: np.ndarray) -> list[dict[str, float]]:
    """Error rates, with shares of the edits, of references of similar lengths; `counts` as `error_rate` returns them.

    Each entry: from, to (the last has none), utterances, and percent of the reference tokens.
    """
    group = np.searchsorted(LENGTHS, counts[:, 3])
    kinds = ("substitutions", "insertions", "deletions")
    out: list[dict[str, float]] = []
    for g in np.unique(group):
        some = counts[group == g]
        rates = 100 * some.sum(0) / max(1, some[:, 3].sum())
        out.append(
            {
                "from": LENGTHS[g - 1] + 1 if g else 0,
                **({"to": LENGTHS[g]} if g < len(LENGTHS) else {}),
                "utterances": len(some),
                "error": round(float(rates[:3].sum()), 4),
                **{kind: round(float(rate), 4) for kind, rate in zip(kinds, rates[:3], strict=True)},
            }
        )
    return out


def error_rates(
    hypotheses: Sequence[str], references: References | Sequence[Sequence[str]]
) -> tuple[Measure, Measure, np.ndarray]:
    """Token error rates in percent against several references an image.

    Returns (against the reference with the lowest rate, against all of them in turn, the edits of the former); both
    are sums of edits over sums of reference lengths.
    """
    references = References.of(references)
    image, first = references.image, references.first
    said = references.number(hypotheses)
    counts = edits(said.sequences, references.sequences, np.stack([image, np.arange(len(image))], axis=1))
    errors, lengths = counts[:, :3].sum(1), counts[:, 3]
    rates = errors / np.maximum(1, lengths)
    ordered = np.lexsort((rates, image))  # within each image, the lowest first; images stay in place
    nearest = counts[ordered[first]]
    number = np.bincount(image)
    mean_errors, mean_lengths = (np.bincount(image, column) / number for column in (errors, lengths))
    return ratio(nearest[:, :3].sum(1), nearest[:, 3]), ratio(mean_errors, mean_lengths), nearest
