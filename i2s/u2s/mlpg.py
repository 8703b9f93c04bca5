"""Maximum-likelihood parameter generation: the smooth trajectory that fits means of values and of their changes.

Tokuda, Yoshimura, Masuko, Kobayashi and Kitamura 2000, "Speech parameter generation algorithms for HMM-based speech
synthesis". With W the matrix that makes of a trajectory c its values and deltas, and Gaussians of mean m and diagonal
covariance V for these, the likeliest c solves W' V^-1 W c = W' V^-1 m. A window sees one frame to each side, so the
matrix has five diagonals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import solveh_banded

WINDOWS = ((0.0, 1.0, 0.0), (-0.5, 0.0, 0.5), (1.0, -2.0, 1.0))  # value, delta, delta-delta: of the frames t-1, t, t+1


def with_deltas(
    values: np.ndarray, lengths: Sequence[int] | np.ndarray, frames: np.ndarray | None = None
) -> np.ndarray:
    """Values (T, D) of utterances one after another, `lengths` frames each, to float32 (T, 3 D): W of the above.

    Or these rows of it alone, the numbers of which are in `frames`. Beyond the ends of an utterance its first and last
    frame go on.
    """
    frames = np.arange(len(values)) if frames is None else frames
    ends = np.cumsum(lengths)
    utterance = np.searchsorted(ends, frames, side="right")
    before = values[np.maximum(frames - 1, (ends - lengths)[utterance])]
    after = values[np.minimum(frames + 1, ends[utterance] - 1)]
    here = values[frames]
    return np.hstack([a * before + b * here + c * after for a, b, c in WINDOWS]).astype(np.float32)


def generate(mean: np.ndarray, variance: np.ndarray, lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The likeliest trajectories (T, D) of utterances one after another, `lengths` frames each.

    mean, variance (> 0): (T, 3 D) as of `with_deltas`. All utterances and dimensions are solved as one system, of which
    each is a block of its own.
    """
    frames, width = len(mean), mean.shape[1] // 3
    diagonals = np.zeros((3, width, frames))  # of the matrix: [k, d, t] is what joins t - k and t
    right = np.zeros((width, frames))
    for window, (a, b, c) in enumerate(_coefficients(lengths)):
        columns = slice(window * width, (window + 1) * width)
        precision = 1 / variance[:, columns].T.astype(np.float64)
        weighted = precision * mean[:, columns].T
        diagonals[0] += b * b * precision
        diagonals[0, :, :-1] += (a * a * precision)[:, 1:]
        diagonals[0, :, 1:] += (c * c * precision)[:, :-1]
        diagonals[1, :, 1:] += (a * b * precision)[:, 1:] + (b * c * precision)[:, :-1]
        diagonals[2, :, 2:] += (a * c * precision)[:, 1:-1]
        right += b * weighted
        right[:, :-1] += (a * weighted)[:, 1:]
        right[:, 1:] += (c * weighted)[:, :-1]
    banded = diagonals[::-1].reshape(3, -1)  # as LAPACK wants it: the main diagonal last
    return solveh_banded(banded, right.ravel(), check_finite=False).reshape(width, frames).T


def _coefficients(lengths: Sequence[int] | np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each window, what it gives the frames t-1, t and t+1: three arrays (T,), zero where there is no such frame."""
    ends = np.cumsum(lengths)
    first, last = np.zeros((2, int(ends[-1])), bool)
    first[ends - lengths] = last[ends - 1] = True
    for a, b, c in WINDOWS:
        yield np.where(first, 0, a), b + a * first + c * last, np.where(last, 0, c)
