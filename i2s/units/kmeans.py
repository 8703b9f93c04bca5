"""k-means over frames of speech features: the classical unit discovery, here in a learned linear projection."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.progress import track
from i2s.units.config import UnitConfig
from i2s.units.project import Projection, discriminant, standardise
from i2s.units.runs import collapse
from i2s.units.smooth import segment

LDA_FRAMES = 100_000  # frames that the projection is learned from: its few thousand numbers need no more
LDA_CLASSES = 400  # whatever the number of units; fewer where frames are few
LDA_PENALTY, LDA_MIN_RUN = 1.0, 3  # smooth classes until they last about as long as sounds do


@dataclass(frozen=True)
class KMeansConfig(UnitConfig):
    """How units are learned from speech features, and how speech is then written in them."""

    smoothing: float = 1.0  # cost of a change of unit, in mean squared distances of a frame to its centroid
    min_run: int = 3  # frames that a unit lasts at least
    lda_dim: int = 40  # dimensions of the learned projection of the features; 0: none, features are standardised
    lda_rounds: int = 2  # times that the projection is learned
    context: int = 3  # the projection sees the frames at -context, 0 and +context
    iterations: int = 20  # of k-means (see `cluster`)
    sample_frames: int = 250_000  # frames that k-means sees: whole utterances in random order, held in memory

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least({"smoothing": 0, "min_run": 1, "lda_dim": 0, "lda_rounds": 0, "context": 0})
        self.check_least({"iterations": 1, "sample_frames": 1})


class KMeans:
    """Centroids in a projected feature space. A unit is the index of the nearest centroid, smoothed over time.

    codebook: (K, D') centroids; projection: features (T, D) to (T, D'); spread: the mean squared distance of a training
    frame to its nearest centroid, by which costs are divided, so that a penalty means the same for every inventory.
    """

    Config = KMeansConfig
    WEIGHTS = "codebook.npy"

    def __init__(self, codebook: np.ndarray, projection: Projection, spread: float, config: KMeansConfig):
        self.codebook, self.projection, self.spread, self.config = codebook, projection, spread, config
        self._square_norms = (codebook**2).sum(1)

    @property
    def size(self) -> int:
        """The number of units."""
        return len(self.codebook)

    @property
    def dim(self) -> int:
        """The number of columns of the features."""
        return self.projection.dim_in

    @classmethod
    def train(cls, feats: Mapping[str, np.ndarray], config: KMeansConfig) -> KMeans:
        """Learn from a table of (T, D) matrices. Memory: that of `sample_frames` frames, however large the table.

        Standardised features are clustered; the clusters, smoothed over time, are the classes of a linear discriminant
        analysis of the features with their context; that is repeated `lda_rounds` times, then all is clustered again.
        Raises UserError for fewer frames than units and for matrices of different widths.
        """
        utterances = sample(feats, config.sample_frames, config.seed)
        few, count = [], 0
        for matrix in utterances:
            if count < LDA_FRAMES:
                few.append(matrix)
                count += len(matrix)
        total = sum(map(len, utterances))
        if total < config.num_units:
            raise UserError(f"only {total} frames of speech for {config.num_units} units; lower --num-units")
        projection = standardise(utterances)
        classes = max(2, min(LDA_CLASSES, count // 50))
        for _ in range(config.lda_rounds if config.lda_dim else 0):
            coarse = cls._cluster(few, projection, classes, config)
            labels = [segment(coarse.costs(x), LDA_PENALTY, LDA_MIN_RUN) for x in track(few, "classes", unit="utt")]
            offsets = (-config.context, 0, config.context) if config.context else (0,)
            projection = discriminant(few, labels, offsets, config.lda_dim)
        return cls._cluster(utterances, projection, config.num_units, config)

    @classmethod
    def _cluster(
        cls, utterances: list[np.ndarray], projection: Projection, num_units: int, config: KMeansConfig
    ) -> KMeans:
        frames = np.concatenate([projection(matrix) for matrix in utterances])
        np.random.default_rng(config.seed).shuffle(frames)
        codebook, spread = cluster(frames, num_units, config.iterations, config.seed)
        return cls(codebook, projection, spread, config)

    def save(self, folder: Path) -> None:
        """Write projection.npz and codebook.npy."""
        p = self.projection
        with atomic_path(folder / "projection.npz") as tmp:
            np.savez(tmp, offsets=p.offsets, mean=p.mean, matrix=p.matrix, spread=np.float64(self.spread))
        with atomic_path(folder / "codebook.npy") as tmp:
            np.save(tmp, self.codebook)

    @classmethod
    def load(cls, folder: Path, config: KMeansConfig) -> KMeans:
        """Read what `save` wrote. Raises UserError if it is missing or damaged."""
        try:
            codebook = np.load(folder / "codebook.npy", allow_pickle=False)
            with np.load(folder / "projection.npz", allow_pickle=False) as saved:
                projection = Projection(saved["offsets"], saved["mean"], saved["matrix"])
                return cls(codebook, projection, float(saved["spread"]), config)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as e:
            raise UserError(f"{folder}: units cannot be read: {e}; run the unit stage again") from e

    def costs(self, feats: np.ndarray) -> np.ndarray:
        """Frames (T, D) to the squared distance from each centroid (T, K), in mean training distances."""
        frames = self.projection(feats)
        squares = (frames**2).sum(1, keepdims=True) - 2 * frames @ self.codebook.T + self._square_norms
        return np.maximum(squares, 0) / max(self.spread, 1e-12)

    def encode(self, utterances: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each utterance (T, D) collapsed units (N,) and their durations in frames (N,), sum T."""
        c = self.config
        return [collapse(segment(self.costs(feats), c.smoothing, c.min_run)) for feats in utterances]

    def manifest(self) -> dict[str, Any]:
        """How runs are found: part of what the units are."""
        return {"smoothing": self.config.smoothing, "min_run": self.config.min_run}


def sample(feats: Mapping[str, np.ndarray], frames: int, seed: int) -> list[np.ndarray]:
    """Whole utterances (T, D) of a table, in random order, until there are `frames` frames; the last may be cut.

    One matrix is read at a time and no more than `frames` frames are kept. Empty matrices are left out.
    """
    keys = list(feats)
    chosen: list[np.ndarray] = []
    left = frames
    for i in np.random.default_rng(seed).permutation(len(keys)):
        matrix = feats[keys[i]]
        if matrix.ndim != 2 or (chosen and matrix.shape[1] != chosen[0].shape[1]):
            others = f", others {chosen[0].shape[1]} columns" if chosen else ""
            raise UserError(f"{keys[i]}: features have shape {matrix.shape}{others}; extract them again")
        if not np.isfinite(matrix).all():
            raise UserError(f"{keys[i]}: features hold NaN or infinite values; look at its recording")
        if len(matrix):
            chosen.append(matrix[:left].astype(np.float32))  # a copy: frees the rest of a long recording
            left -= len(chosen[-1])
        if left <= 0:
            break
    if not chosen:
        raise UserError("no frames of speech to learn units from; is the training set empty?")
    return chosen


def cluster(frames: np.ndarray, num_units: int, iterations: int, seed: int) -> tuple[np.ndarray, float]:
    """k-means of frames (N, D), in random order: centroids (K, D), mean squared distance of a frame to its centroid.

    Starts from greedy k-means++ on the first 100 frames a unit; then `iterations` of Lloyd's over the first 256 a unit,
    which settle most at a fraction of the cost, and half as many over all frames.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells what it tries, at every import
    import faiss

    def lloyd(part: np.ndarray, rounds: int, start: np.ndarray) -> faiss.Kmeans:
        kmeans = faiss.Kmeans(
            frames.shape[1], num_units, niter=rounds, seed=seed + 1,
            min_points_per_centroid=1, max_points_per_centroid=len(part),  # use every frame, and no warnings
        )  # fmt: skip
        kmeans.train(part, init_centroids=start)
        return kmeans

    frames = np.ascontiguousarray(frames, np.float32)
    start = spread_out(frames[: 100 * num_units], num_units, seed)
    few = lloyd(frames[: 256 * num_units], iterations, start)
    final = lloyd(frames, max(1, iterations // 2), np.asarray(few.centroids))
    distances, _ = final.index.search(frames, 1)
    return np.asarray(final.centroids), float(distances.mean(dtype=np.float64))


def spread_out(frames: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007): `count` of the frames (N, D) that lie far apart.

    Each is the best of a few drawn with a chance proportional to the squared distance from those chosen before.
    """
    rng = np.random.default_rng(seed)
    norms = (frames**2).sum(1)

    def squares(of: np.ndarray) -> np.ndarray:
        return np.maximum(norms[of, None] - 2 * frames[of] @ frames.T + norms, 0)

    chosen = [int(rng.integers(len(frames)))]
    nearest = squares(np.array(chosen))[0]
    for _ in range(count - 1):
        steps = np.cumsum(nearest, dtype=np.float64)
        drawn = np.searchsorted(steps, rng.random(2 + int(np.log(count))) * steps[-1]).clip(max=len(frames) - 1)
        candidates = np.minimum(squares(drawn), nearest)
        best = candidates.sum(1).argmin()
        chosen.append(int(drawn[best]))
        nearest = candidates[best]
    return frames[chosen]
