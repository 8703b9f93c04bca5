"""k-means for unit discovery: ours (faiss) against scikit-learn, on the same frames of real speech.

Speaks captions of its own with hibari until there are enough frames, computes MFCC with deltas, standardises them, and
clusters them once with each: K centroids, one start, the same number of threads. scikit-learn runs with its defaults
(k-means++ start, Lloyd's iterations until its tolerance is met). The inertia is measured in the same way for both, over
all frames. Run it from the repository's root:

    python bench/kmeans.py [--frames N] [--units K] [--threads T]
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable
from typing import TypeVar

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--frames", type=int, default=250_000)
parser.add_argument("--units", type=int, default=200)
parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
args = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(args.threads)  # before the libraries start

import numpy as np  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

from i2s.features.speech import SpeechFeatureConfig, mfcc  # noqa: E402
from i2s.units.kmeans import KMeansConfig, cluster  # noqa: E402

T = TypeVar("T")


def speech_frames(count: int) -> np.ndarray:
    """Standardised MFCC with deltas (count, 39) of spoken captions."""
    from hibari import Hibari

    voice, config = Hibari(), SpeechFeatureConfig(sample_rate=24000)
    # Enough for 250,000 frames and some more.
    who = ("a man", "two girls", "the brown dog", "a child in a red coat", "an old woman", "three people")
    does = ("runs across", "is sitting on", "jumps over", "walks towards", "looks at", "plays near")
    what = (
        "a wooden bench",
        "the beach",
        "a busy street",
        "green grass",
        "the frozen lake",
        "a tall building",
        "rocks",
    )
    then = ("", "at night", "while others watch", "in front of a white house")
    captions = [" ".join(words).strip() for words in itertools.product(who, does, what, then)]
    np.random.default_rng(0).shuffle(captions)
    chunks: list[np.ndarray] = []
    for caption in captions:
        chunks.append(mfcc(np.asarray(voice(caption, seed=0), np.float32), config))
        if sum(map(len, chunks)) >= count:
            break
    frames = np.concatenate(chunks)[:count]
    np.random.default_rng(0).shuffle(frames)
    return ((frames - frames.mean(0)) / frames.std(0)).astype(np.float32)


def inertia(frames: np.ndarray, centroids: np.ndarray) -> float:
    """Sum of squared distances of frames (N, D) to their nearest centroids (K, D)."""
    norms = (centroids.astype(np.float64) ** 2).sum(1)
    total = 0.0
    for block in np.array_split(frames.astype(np.float64), 1 + len(frames) // 8192):
        total += ((block**2).sum(1) + (norms - 2 * block @ centroids.T).min(1)).sum()
    return total


frames = speech_frames(args.frames)
print(f"{len(frames)} frames of {frames.shape[1]} dimensions, {args.units} units, {args.threads} threads")
cluster(frames[:5000], 10, 2, 0)  # so that loading the library is not timed


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """The result of `work`, its wall time and its processor time (which other programs do not disturb), in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


(ours, _), ours_wall, ours_cpu = timed(lambda: cluster(frames, args.units, KMeansConfig.iterations, seed=0))
theirs, theirs_wall, theirs_cpu = timed(lambda: KMeans(args.units, n_init=1, random_state=0).fit(frames))

ours_inertia, theirs_inertia = inertia(frames, ours), inertia(frames, theirs.cluster_centers_)
for name, wall, cpu, value in (
    ("i2s (faiss)", ours_wall, ours_cpu, ours_inertia),
    ("scikit-learn", theirs_wall, theirs_cpu, theirs_inertia),
):
    print(f"{name:<13} {wall:8.2f} s wall {cpu:8.2f} s processor   inertia {value:.6g}")
print(
    f"ratio: {theirs_wall / ours_wall:.1f} times faster (processor time: {theirs_cpu / ours_cpu:.1f}), "
    f"inertia {100 * (ours_inertia / theirs_inertia - 1):+.2f} %"
)
