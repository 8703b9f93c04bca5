"""Measures that can be resampled: per-image statistics that add up, and how their sum becomes a score.

A corpus score such as BLEU is no mean of sentence scores, but it is a function of sums over images. Kept in that form,
the score of a bootstrap sample is one matrix product away (Efron 1979; for such measures: Koehn 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_CELLS = 1 << 22  # of one block of weights: bounds the memory
_MANY = 30  # segments, from which the normal approximation is fair


@dataclass(frozen=True)
class Measure:
    """One measure of one system: `stats` float64 (images, D); `combine` turns sums (R, D) into R scores."""

    stats: np.ndarray
    combine: Callable[[np.ndarray], np.ndarray]

    @property
    def value(self) -> float:
        """The score of the whole corpus."""
        return float(self.combine(self.stats.sum(0, keepdims=True))[0])

    def per_image(self) -> np.ndarray:
        """The score of each image alone, float64 (images,)."""
        return self.combine(self.stats)

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """The scores, float64 (R,), of corpora in which image i is taken weights[r, i] times; weights: (R, images)."""
        return self.combine(weights @ self.stats)


def quotient(sums: np.ndarray) -> np.ndarray:
    """Summed parts over summed wholes: (R, 2) to (R,)."""
    return sums[:, 0] / np.maximum(sums[:, 1], 1e-12)


def root(sums: np.ndarray) -> np.ndarray:
    """The square root of the quotient: a root mean square."""
    return np.sqrt(quotient(sums))


@dataclass(frozen=True)
class Bleu:
    """Sums of BLEU statistics (R, 2 * order + 2) to BLEU-n in percent (R,)."""

    n: int

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        n, order = self.n, sums.shape[1] // 2 - 1
        # The constants by which pycocoevalcap avoids 0/0.
        precisions = (sums[:, :n] + 1e-15) / (sums[:, order : order + n] + 1e-9)
        length = (sums[:, -2] + 1e-15) / (sums[:, -1] + 1e-9)
        brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / length))
        return 100.0 * np.exp(np.log(precisions).mean(1)) * brevity


def mean(scores: Sequence[float] | np.ndarray, scale: float = 100.0) -> Measure:
    """The mean of one score an image, times `scale`. NaN marks an image that does not count."""
    scores = np.asarray(scores, np.float64)
    counts = np.isfinite(scores)
    return Measure(np.stack([np.where(counts, scale * scores, 0.0), counts], axis=1), quotient)


def ratio(parts: Sequence[float] | np.ndarray, wholes: Sequence[float] | np.ndarray, scale: float = 100.0) -> Measure:
    """The sum of `parts` over the sum of `wholes`, times `scale`: errors over reference length, say."""
    return Measure(np.stack([scale * np.asarray(parts, np.float64), np.asarray(wholes, np.float64)], axis=1), quotient)


def blocks(images: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `count` bootstrap samples of `images` images takes each image: float64 (count, images) in all,
    in blocks of bounded size."""
    rng = np.random.default_rng(seed)
    size = max(1, _CELLS // images)
    for first in range(0, count, size):
        drawn = rng.integers(images, size=(min(size, count - first), images))
        yield np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.float64)


def resample(measures: Sequence[Measure], images: int, count: int, seed: int) -> np.ndarray:
    """The scores of all `measures` in the same bootstrap samples: float64 (count, measures)."""
    return np.concatenate([np.stack([m.resampled(w) for m in measures], 1) for w in blocks(images, count, seed)])


def interval(scores: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap scores (R,)."""
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def matched_pairs(a: Measure, b: Measure) -> float:
    """Two-sided p of the matched-pairs test of two error rates (Gillick and Cox 1989), the images being the segments.

    1 if no segment differs. NaN where the test says nothing: unless both count errors against the same tokens, below
    30 segments (it takes the mean difference to be normal), and where all segments differ by the same.
    """
    if not (a.combine is b.combine is quotient and np.array_equal(a.stats[:, 1], b.stats[:, 1])):
        return math.nan
    differences = (a.stats[:, 0] - b.stats[:, 0])[a.stats[:, 1] > 0]
    if len(differences) < _MANY:
        return math.nan
    if not differences.any():
        return 1.0
    if not np.ptp(differences):
        return math.nan
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return math.erfc(abs(float(differences.mean())) / error / math.sqrt(2))


def p_value(difference: float, sampled: np.ndarray) -> float:
    """Two-sided: how often bootstrap differences (R,), moved to a true difference of 0, are as large as `difference`.

    (Riezler and Maxwell 2005.) Never 0: the difference itself counts as one more sample.
    """
    extreme = np.abs(sampled - sampled.mean()) >= abs(difference) - 1e-12
    return float((extreme.sum() + 1) / (len(sampled) + 1))
