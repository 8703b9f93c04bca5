"""Measures that can be resampled: per-image statistics that add up, and how their sum becomes a score.

A corpus score such as BLEU is no mean of sentence scores, but it is a function of sums over images. Kept in that form,
the score of a bootstrap sample is one matrix product away (Efron 1979; for such measures: Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


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


def mean(scores: Sequence[float] | np.ndarray, scale: float = 100.0) -> Measure:
    """The mean of one score an image, times `scale`. NaN marks an image that does not count."""
    scores = np.asarray(scores, np.float64)
    counts = np.isfinite(scores)
    stats = np.stack([np.where(counts, scores, 0.0), counts], axis=1)
    return Measure(stats, lambda sums: scale * sums[:, 0] / np.maximum(sums[:, 1], 1e-12))


def ratio(parts: Sequence[float] | np.ndarray, wholes: Sequence[float] | np.ndarray, scale: float = 100.0) -> Measure:
    """The sum of `parts` over the sum of `wholes`, times `scale`: errors over reference length, say."""
    stats = np.stack([np.asarray(parts, np.float64), np.asarray(wholes, np.float64)], axis=1)
    return Measure(stats, lambda sums: scale * sums[:, 0] / np.maximum(sums[:, 1], 1e-12))


def pool(measures: Sequence[Measure]) -> Measure:
    """Several hypotheses an image (draws, annotators) as one measure: their statistics add up, image by image."""
    return Measure(np.sum([m.stats for m in measures], axis=0), measures[0].combine)


def resamples(images: int, count: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each of `count` bootstrap samples of `images` images takes each image: float64 (count, images)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1.0 / images), size=count).astype(np.float64)


def interval(scores: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap scores (R,)."""
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
