"""Linear projections of speech features, learned without labels, in which clusters follow sounds more closely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg


@dataclass(frozen=True)
class Projection:
    """Frames with their context, shifted and multiplied: y[t] = (stack of x[t + o] for o in offsets, - mean) @ matrix.

    offsets: (C,) frames, first and last frame are repeated outwards; mean: (C * D,); matrix: (C * D, D').
    """

    offsets: np.ndarray
    mean: np.ndarray
    matrix: np.ndarray

    @property
    def dim_in(self) -> int:
        return len(self.mean) // len(self.offsets)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) to (T, D'), float32."""
        return (with_context(frames, self.offsets) - self.mean) @ self.matrix


def with_context(frames: np.ndarray, offsets: Sequence[int] | np.ndarray) -> np.ndarray:
    """(T, D) to (T, C * D): at each frame, the frames at `offsets` (C,) from it."""
    at = np.clip(np.arange(len(frames))[:, None] + np.asarray(offsets), 0, len(frames) - 1)
    return frames[at].reshape(len(frames), -1)


def standardise(utterances: Sequence[np.ndarray]) -> Projection:
    """To zero mean and unit variance in each column; a constant column becomes zero."""
    mean, covariance = moments(utterances)
    deviation = np.sqrt(np.diag(covariance))
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    return Projection(np.zeros(1, np.int64), mean.astype(np.float32), np.diag(scale).astype(np.float32))


def discriminant(
    utterances: Sequence[np.ndarray], labels: Sequence[np.ndarray], offsets: Sequence[int], dim: int
) -> Projection:
    """The `dim` directions of frames with context in which the classes of `labels` (T,) differ most: Fisher's LDA.

    With clusters as classes, no labels by people are needed: Heck, Sakti and Nakamura 2016, "Unsupervised linear
    discriminant analysis for supporting DPGMM clustering in the zero resource scenario". Each direction has unit
    variance within classes, times the share of its variance that lies between classes.
    """
    mean, total = moments(with_context(x, offsets) for x in utterances)
    width = len(mean)
    sums = np.zeros((1 + max(int(y.max()) for y in labels), width))
    counts = np.zeros(len(sums))
    for x, y in zip(utterances, labels, strict=True):
        frames = with_context(x, offsets)
        # Labels come in runs: add up each run in one go.
        starts = np.flatnonzero(np.diff(y, prepend=y[0] - 1))
        np.add.at(sums, y[starts], np.add.reduceat(frames, starts, axis=0, dtype=np.float64))
        counts += np.bincount(y, minlength=len(sums))
    seen = counts > 0
    means = sums[seen] / counts[seen, None] - mean
    between = (means * counts[seen, None]).T @ means / counts.sum()
    within = total - between
    within += 1e-4 * np.trace(total) / width * np.eye(width)  # constant columns and rounding
    ratio, directions = scipy.linalg.eigh(between, within, subset_by_index=(max(0, width - dim), width - 1))
    ratio = np.maximum(ratio, 0)
    matrix = directions * np.sqrt(ratio / (1 + ratio))
    # An eigenvector's sign is arbitrary: fix it, so that machines agree.
    matrix *= np.sign(matrix[np.abs(matrix).argmax(0), np.arange(matrix.shape[1])])
    return Projection(np.asarray(offsets), mean.astype(np.float32), matrix[:, ::-1].astype(np.float32))


def moments(utterances: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of all frames, in double precision, one matrix (T, D) at a time."""
    count, first, second = 0, np.zeros(()), np.zeros(())
    origin: np.ndarray | None = None
    for matrix in utterances:
        if origin is None:
            origin = matrix.mean(0, dtype=np.float64)  # near the mean, so that nothing is lost to cancellation
        frames = matrix - origin
        count += len(frames)
        first = first + frames.sum(0)
        second = second + frames.T @ frames
    assert origin is not None
    shift = first / count
    return origin + shift, second / count - np.outer(shift, shift)
