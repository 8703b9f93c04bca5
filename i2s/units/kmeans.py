"""k-means over frames of speech features: the classical unit discovery."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.progress import track
from i2s.units.config import UnitConfig


class KMeans:
    """Centroids in a standardised feature space. A unit is the index of the nearest centroid.

    codebook: (K, D) centroids; mean, scale: (D,), a frame is (frame - mean) * scale; spread: the mean squared distance
    of a training frame to its nearest centroid, by which costs are divided so that penalties mean the same everywhere.
    """

    def __init__(self, codebook: np.ndarray, mean: np.ndarray, scale: np.ndarray, spread: float):
        self.codebook, self.mean, self.scale, self.spread = codebook, mean, scale, spread
        self._square_norms = (codebook**2).sum(1)

    @property
    def size(self) -> int:
        return len(self.codebook)

    @property
    def dim(self) -> int:
        return self.codebook.shape[1]

    @classmethod
    def train(cls, feats: Mapping[str, np.ndarray], config: UnitConfig) -> KMeans:
        """Learn from a table of (T, D) matrices. Memory: that of `sample_frames` alone, however large the table.

        Raises UserError for fewer frames than units and for matrices of different widths.
        """
        frames = sample_frames(feats, config.sample_frames, config.seed)
        if len(frames) < config.num_units:
            raise UserError(f"only {len(frames)} frames of speech for {config.num_units} units; lower --num-units")
        mean = frames.mean(0, dtype=np.float64).astype(np.float32)
        deviation = frames.std(0, dtype=np.float64).astype(np.float32)
        scale = np.where(deviation > 0, 1 / np.maximum(deviation, 1e-12), 0).astype(np.float32)
        frames -= mean
        frames *= scale
        codebook, spread = cluster(frames, config.num_units, config.iterations, config.seed)
        return cls(codebook, mean, scale, spread)

    def save(self, folder: Path) -> None:
        """Write codebook.npy and standardise.npz."""
        with atomic_path(folder / "standardise.npz") as tmp:
            np.savez(tmp, mean=self.mean, scale=self.scale, spread=np.float64(self.spread))
        with atomic_path(folder / "codebook.npy") as tmp:
            np.save(tmp, self.codebook)

    @classmethod
    def load(cls, folder: Path) -> KMeans:
        """Read what `save` wrote. Raises UserError if it is missing or damaged."""
        try:
            codebook = np.load(folder / "codebook.npy", allow_pickle=False)
            with np.load(folder / "standardise.npz", allow_pickle=False) as saved:
                return cls(codebook, saved["mean"], saved["scale"], float(saved["spread"]))
        except (OSError, ValueError, KeyError, EOFError) as e:
            raise UserError(f"{folder}: units cannot be read: {e}; run the unit stage again") from e

    def costs(self, feats: np.ndarray) -> np.ndarray:
        """Frames (T, D) to the squared distance from each centroid (T, K), in mean training distances."""
        frames = (feats - self.mean) * self.scale
        squares = (frames**2).sum(1, keepdims=True) - 2 * frames @ self.codebook.T + self._square_norms
        return np.maximum(squares, 0) / max(self.spread, 1e-12)


def sample_frames(feats: Mapping[str, np.ndarray], size: int, seed: int) -> np.ndarray:
    """A uniform random sample of at most `size` frames (N, D) of a table, without replacement.

    One pass in table order. Every frame draws a random number and those with the `size` smallest are kept, so at most
    2 * size frames and one matrix of the table are in memory at a time.
    """
    rng = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    draws: list[np.ndarray] = []
    count, limit, dim = 0, 1.0, 0
    for key in track(feats, "sampling frames", unit="utt"):
        matrix = feats[key]
        dim = dim or matrix.shape[1]
        if matrix.ndim != 2 or matrix.shape[1] != dim:
            raise UserError(f"{key}: features have shape {matrix.shape}, others {dim} columns; extract them again")
        if not np.isfinite(matrix).all():
            raise UserError(f"{key}: features hold NaN or infinite values; look at its recording")
        draw = rng.random(len(matrix))
        chosen = draw < limit
        kept.append(matrix[chosen].astype(np.float32))
        draws.append(draw[chosen])
        count += len(kept[-1])
        if count >= 2 * size:
            kept, draws, limit = _keep_smallest(kept, draws, size)
            count = size
    if not count:
        raise UserError("no frames of speech to learn units from; is the training set empty?")
    if count > size:
        kept, draws, limit = _keep_smallest(kept, draws, size)
    return np.concatenate(kept)


def _keep_smallest(
    kept: list[np.ndarray], draws: list[np.ndarray], size: int
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    draw = np.concatenate(draws)
    order = np.argpartition(draw, size - 1)[:size]
    order.sort()
    draw = draw[order]
    return [np.concatenate(kept)[order]], [draw], float(draw.max())


def cluster(frames: np.ndarray, num_units: int, iterations: int, seed: int) -> tuple[np.ndarray, float]:
    """k-means of frames (N, D): centroids (K, D) and the mean squared distance of a frame to its centroid."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells what it tries, at every import
    import faiss

    kmeans = faiss.Kmeans(
        frames.shape[1], num_units, niter=iterations, seed=seed + 1,  # faiss: a seed of 0 is allowed but special
        min_points_per_centroid=1, max_points_per_centroid=len(frames),  # use all frames, and no warnings
    )  # fmt: skip
    kmeans.train(np.ascontiguousarray(frames, np.float32))
    distances, _ = kmeans.index.search(frames, 1)
    return np.asarray(kmeans.centroids), float(distances.mean(dtype=np.float64))
