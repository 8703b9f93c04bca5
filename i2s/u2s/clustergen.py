"""Clustergen: speech from units by regression forests, in minutes of training and without a GPU.

Black 2006, "CLUSTERGEN: A statistical parametric synthesizer using trajectory modeling". Every frame of the training
speech is an exemplar: a forest finds those that stood in contexts like a new frame's, and says the mean and variance of
their WORLD parameters and of the changes of these; the likeliest trajectory is what WORLD speaks. A second forest says
how long units last. Where Black's trees ask for a phone's features, these ask for the profiles of units: what they
sound like on average, so that units of any kind will do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from i2s.audio import read_wav
from i2s.corpus.tables import read_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig, log_mel
from i2s.features.world import World
from i2s.files import atomic_path
from i2s.progress import in_threads
from i2s.u2s.base import Speech, UnitToSpeech
from i2s.u2s.data import UnitSpeech
from i2s.u2s.forest import Forest
from i2s.u2s.mlpg import generate, with_deltas
from i2s.units.runs import round_durations

log = logging.getLogger(__name__)

LEAST_VARIANCE = 1e-3  # of a parameter in its training variances: a leaf of few exemplars may show less
VARIANCE_FRAMES = 100_000  # exemplars that these are measured on, spread evenly
GROWTH_ORDER = 13  # cepstral coefficients that trees are grown to predict
DEV_UTTERANCES = 100  # measured at the end of training
_BLOCK = 16384  # exemplars
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class ClustergenConfig:
    """How the forests are grown."""

    seed: int = 0
    max_frames: int = 300_000  # of exemplars, which are held in memory: whole utterances in random order
    max_units: int = 2_000_000  # whose durations are learned: utterances in the same order
    order: int = 40  # coefficients of the mel-cepstrum
    context: int = 3  # units to each side that a frame is told from
    profile: int = 8  # numbers that tell what a unit sounds like
    trees: int = 20
    min_leaf: int = 3  # exemplars
    max_features: float = 0.3  # part of the features that a split chooses from; of durations, from all
    duration_trees: int = 20
    duration_min_leaf: int = 5
    sharpness: float = 1.0  # 1: the generated trajectories vary as much as natural ones; 0: as they are, smoothed
    workers: int = 0  # threads; 0: as many as there are cores

    def __post_init__(self) -> None:
        least = dict.fromkeys(("max_frames", "max_units", "profile", "trees", "min_leaf"), 1)
        least |= dict.fromkeys(("duration_trees", "duration_min_leaf"), 1)
        least |= {"seed": 0, "order": 2, "context": 0, "sharpness": 0, "workers": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:  # (not <, so that NaN is refused, too)
                raise UserError(f"{name}={getattr(self, name)}: must be at least {low}")
        if not 0 < self.max_features <= 1:
            raise UserError(f"max_features={self.max_features}: must be over 0 and at most 1")


@dataclass(frozen=True)
class Weights:
    """What training learns; the file of the model's weights holds it.

    exemplars: float32 (N, width), WORLD's frames (i2s.features.world) of the utterances that were chosen, `lengths`
    frames each. profiles: float32 (units, profile). scale: float32 (width - 1,), how much more each parameter varies
    in natural speech than in generated.
    """

    exemplars: np.ndarray
    lengths: np.ndarray
    profiles: np.ndarray
    scale: np.ndarray
    frames: Forest
    durations: Forest
    run_lengths: np.ndarray  # float32 (runs,): the exemplars of `durations`

    def save(self, path: Path) -> Path:
        """Write the file, whole or not at all."""
        names = ("exemplars", "lengths", "profiles", "scale", "run_lengths")
        arrays: dict[str, Any] = {name: getattr(self, name) for name in names}
        with atomic_path(path) as tmp:
            np.savez(tmp, **arrays | self.frames.arrays("frames") | self.durations.arrays("durations"))
        return path


class Clustergen(UnitToSpeech):
    """See the module's description."""

    Config = ClustergenConfig

    def __init__(self, config: ClustergenConfig, size: int, features: SpeechFeatureConfig, weights: Weights):
        self.config, self.size, self.features, self.weights = config, size, features, weights
        self.world = World(features.sample_rate, features.hop_length, config.order)
        self.mean = weights.exemplars[:, :-1].mean(0)
        some = np.linspace(0, len(weights.exemplars) - 1, VARIANCE_FRAMES).astype(int)
        self.least_variance = LEAST_VARIANCE * self.targets(some).var(0) + 1e-8

    @classmethod
    def learn(
        cls, config: ClustergenConfig, train: UnitSpeech, dev: UnitSpeech, features: SpeechFeatureConfig, folder: Path
    ) -> Path:
        """Analyse speech, grow the forests, measure the model on dev. A run that was stopped begins anew."""
        world = World(features.sample_rate, features.hop_length, config.order)
        order = np.random.default_rng(config.seed).permutation(len(train))
        chosen = sorted(_first(order, train.lengths, config.max_frames))
        units, durations, analysed = _analyse(train, chosen, world, config.workers)
        exemplars = np.concatenate(analysed)
        of_frames = np.concatenate(units).repeat(np.concatenate(durations))
        profiles = _profiles(of_frames, exemplars[:, : config.order], train.size, config.profile)
        log.info("%s: growing forests on %d frames of %d utterances", folder, len(exemplars), len(units))
        frames = Forest.grow(
            frame_contexts(units, durations, profiles, config.context), _growth_targets(exemplars, config.order),
            config.trees, config.min_leaf, config.max_features, config.seed, config.workers,
        )  # fmt: skip
        # Durations need no analysis, and so are learned from more utterances.
        ids = [train.ids[i] for i in sorted(_first(order, [len(train.units[u]) for u in train.ids], config.max_units))]
        run_lengths = np.concatenate([train.durations[u] for u in ids]).astype(np.float32)
        runs = Forest.grow(
            unit_contexts([train.units[u] for u in ids], profiles, config.context), run_lengths,
            config.duration_trees, config.duration_min_leaf, 1.0, config.seed, config.workers,
        )  # fmt: skip
        lengths = np.array([len(x) for x in analysed], np.int32)
        scale = np.ones(world.width - 1, np.float32)
        weights = Weights(exemplars, lengths, profiles, scale, frames, runs, run_lengths)
        scale = cls(config, train.size, features, weights).measure(dev)
        return replace(weights, scale=scale).save(folder / "clustergen.npz")

    def measure(self, dev: UnitSpeech) -> np.ndarray:
        """Log what tells generated speech from that of `dev`, of true durations; returns `Weights.scale`."""
        chosen = np.unique(np.linspace(0, len(dev) - 1, min(DEV_UTTERANCES, len(dev))).astype(int)).tolist()
        units, durations, natural = _analyse(dev, chosen, self.world, self.config.workers)
        generated = [self.parameters([row], [runs]) for row, runs in zip(units, durations, strict=True)]
        ours, theirs = np.concatenate(generated), np.concatenate(natural)
        spoken = theirs[:, 0] > theirs[:, 0].mean()  # not the pauses
        difference = (ours - theirs)[spoken]
        # Over the mel scale, without loudness. (WORLD scales its cosines so that the sum of the squared coefficients is
        # the mean square of ln P, P the power spectrum: the usual factor of 2 is in them.)
        distortion = 10 / np.log(10) * np.sqrt((difference[:, 1 : self.config.order] ** 2).sum(1))
        voiced = (theirs[:, -1] > 0.5) & (ours[:, -1] > 0.5)
        predicted = np.concatenate(self.durations(units))
        log.info(
            "dev: mel-cepstral distortion %.2f dB, F0 off by %.1f %%, voicing wrong in %.1f %% of the frames, "
            "duration of a unit off by %.2f frames", distortion.mean(),
            100 * np.abs(ours - theirs)[voiced, -2].mean() if voiced.any() else np.nan,
            100 * ((theirs[:, -1] > 0.5) != (ours[:, -1] > 0.5)).mean(),
            np.abs(predicted - np.concatenate(durations)).mean(),
        )  # fmt: skip
        spread = [np.mean([x[:, :-1].var(0) for x in side], 0) for side in (natural, generated)]
        return np.sqrt((spread[0] + 1e-8) / (spread[1] + 1e-8)).astype(np.float32)

    @classmethod
    def load(cls, config: ClustergenConfig, size: int, features: SpeechFeatureConfig, weights: Path) -> Self:
        try:
            with np.load(weights, allow_pickle=False) as file:
                return cls(config, size, features, _weights(dict(file), config, size, features))
        except FileNotFoundError:
            raise UserError(f"{weights}: no such file; run stage 8 again") from None
        except Exception as e:  # (numpy raises whatever a damaged file leads to)
            raise UserError(f"{weights}: cannot be loaded: {e}; run stage 8 again") from e

    def synthesise(self, units: Rows, durations: Rows | None = None) -> list[Speech]:
        """Speak a batch, all utterances in one call of each forest. Errors: see UnitToSpeech."""
        self.check_units(units, durations)
        if durations is None:
            durations = [round_durations(row) for row in self.durations(units)]
        runs = [list(row) for row in durations]
        lengths = [sum(d) for d in runs]
        spoken = np.split(self.sharpen(self.parameters(units, runs), lengths), np.cumsum(lengths)[:-1])
        with ThreadPoolExecutor(self.config.workers or None) as pool:  # (WORLD runs outside of Python's lock)
            wavs = list(pool.map(self.world.synthesise, spoken))
        return [Speech(log_mel(wav, self.features), row, wav=wav) for wav, row in zip(wavs, runs, strict=True)]

    def durations(self, units: Rows) -> list[np.ndarray]:
        """The expected number of frames of each unit of each utterance."""
        contexts = unit_contexts(units, self.weights.profiles, self.config.context)
        expected = self.weights.durations.weights(contexts) @ self.weights.run_lengths
        return np.split(expected, np.cumsum([len(row) for row in units])[:-1])

    def parameters(self, units: Rows, durations: Rows) -> np.ndarray:
        """WORLD's frames (sum of all durations, width) of utterances one after another."""
        contexts = frame_contexts(units, durations, self.weights.profiles, self.config.context)
        mean, square, voicing = self.moments(self.weights.frames.weights(contexts))
        variance = np.maximum(square - mean**2, self.least_variance)
        moving = generate(mean, variance, [sum(row) for row in durations]) + self.mean
        return np.hstack([moving, voicing])

    def moments(self, weights: csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means under the weights (T, exemplars) of the targets, of their squares and of voicing: (T, D) each."""
        by_exemplar = weights.tocsc()
        used = np.flatnonzero(np.diff(by_exemplar.indptr))
        mean, square = np.zeros((2, weights.shape[0], 3 * len(self.mean)), np.float32)
        voicing = np.zeros((weights.shape[0], 1), np.float32)
        for at in range(0, len(used), _BLOCK):  # all at once would spend half of the time on asking for memory
            some = used[at : at + _BLOCK]
            part, targets = by_exemplar[:, some], self.targets(some)
            mean += part @ targets
            square += part @ targets**2
            voicing += part @ self.weights.exemplars[some, -1:]
        return mean, square, voicing

    def targets(self, exemplars: np.ndarray) -> np.ndarray:
        """What the forest is to predict, of these exemplars (N,): float32 (N, 3 * (width - 1)), see `with_deltas`."""
        targets = with_deltas(self.weights.exemplars[:, :-1], self.weights.lengths, exemplars)
        targets[:, : len(self.mean)] -= self.mean  # centred, for the sake of the squares
        return targets

    def sharpen(self, frames: np.ndarray, lengths: Sequence[int]) -> np.ndarray:
        """Frames of utterances, `lengths` each, with the variance of natural speech about each utterance's mean.

        Means of exemplars are smooth, which is heard as a muffled voice. Silen, Helander, Nurminen and Gabbouj 2012,
        "Ways to implement global variance in statistical speech synthesis".
        """
        frames = frames.copy()
        begin = np.cumsum([0, *lengths[:-1]])
        mean = np.repeat(np.add.reduceat(frames[:, :-1], begin) / np.asarray(lengths)[:, None], lengths, axis=0)
        frames[:, :-1] = mean + (frames[:, :-1] - mean) * self.weights.scale**self.config.sharpness
        return frames


def unit_contexts(units: Rows, profiles: np.ndarray, context: int) -> np.ndarray:
    """What tells the units of utterances, one after another, how they sound: float32 (N, features).

    The profiles of the unit and its `context` neighbours to each side (zeros beyond the ends), and how many units lie
    before and behind it in its phrase, which is the utterance.
    """
    columns = []
    before = np.concatenate([np.arange(len(row)) for row in units])
    behind = np.concatenate([np.arange(len(row))[::-1] for row in units])
    flat = np.concatenate(units).astype(np.int64)
    for offset in range(-context, context + 1):
        there = (before + offset >= 0) & (behind - offset >= 0)
        neighbour = flat[np.clip(np.arange(len(flat)) + offset, 0, len(flat) - 1)]
        columns.append(np.where(there[:, None], profiles[neighbour], 0))
    return np.column_stack([*columns, before, behind]).astype(np.float32)


def frame_contexts(units: Rows, durations: Rows, profiles: np.ndarray, context: int) -> np.ndarray:
    """What tells the frames of utterances, one after another, how they sound: float32 (T, features).

    The context of the frame's unit; the durations of the unit and its neighbours; where the frame lies in its unit, in
    frames from both ends and relative; where it lies in its phrase, relative.
    """
    runs = np.concatenate(durations).astype(np.int64)
    lengths = np.array([sum(row) for row in durations])
    of_unit = unit_contexts(units, profiles, context)
    before, behind = of_unit[:, -2], of_unit[:, -1]
    neighbours = [
        np.where((before + offset >= 0) & (behind - offset >= 0), np.roll(runs, -offset), 0)
        for offset in range(-min(context, 2), min(context, 2) + 1)
    ]
    place = np.arange(len(runs)).repeat(runs)
    start = np.arange(len(place)) - (np.cumsum(runs) - runs)[place]
    phrase = (np.arange(len(place)) - (np.cumsum(lengths) - lengths).repeat(lengths)) / lengths.repeat(lengths)
    inside = np.column_stack([start, runs[place] - 1 - start, (start + 0.5) / runs[place], phrase])
    around = np.column_stack(neighbours)
    return np.hstack([of_unit[place], around.astype(np.float32)[place], inside.astype(np.float32)])


def _first(order: np.ndarray, sizes: Sequence[int], enough: int) -> list[int]:
    """As many of `order`, from its begin, as hold `enough` together, or all."""
    return order[: int(np.searchsorted(np.cumsum(np.asarray(sizes)[order]), enough)) + 1].tolist()


def _analyse(
    split: UnitSpeech, chosen: list[int], world: World, workers: int
) -> tuple[list[list[int]], list[list[int]], list[np.ndarray]]:
    """Units, durations and WORLD's frames of the chosen utterances. Raises UserError where they do not fit together."""
    wavs = read_table(split.data / "wav.scp")

    def frames(index: int) -> np.ndarray:
        name, expected = split.ids[index], split.lengths[index]
        if name not in wavs:
            raise UserError(f"{split.data}/wav.scp: has no entry for {name}; run stage 3 again")
        found = world.analyse(read_wav(wavs[name], world.sample_rate)[0])
        if len(found) != expected:
            raise UserError(
                f"{wavs[name]}: {len(found)} frames, but the units of {name} last {expected}; run stages 4 and 6 again"
            )
        return found

    analysed = in_threads(frames, chosen, "WORLD analysis", "utterance", workers)
    ids = [split.ids[i] for i in chosen]
    return [split.units[u] for u in ids], [split.durations[u] for u in ids], analysed


def _profiles(units: np.ndarray, cepstra: np.ndarray, size: int, width: int) -> np.ndarray:
    """The principal components (size, width) of the units' mean cepstra; zeros for a unit that was not heard.

    units: (T,), of each frame; cepstra: (T, order).
    """
    counts = np.bincount(units, minlength=size)
    sums = np.stack([np.bincount(units, column, size) for column in cepstra.T], 1)
    means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None] - cepstra.mean(0), 0)
    _, _, axes = np.linalg.svd(means * np.sqrt(counts)[:, None], full_matrices=False)
    profiles = means @ axes[:width].T
    return np.pad(profiles, ((0, 0), (0, width - profiles.shape[1]))).astype(np.float32)


def _growth_targets(exemplars: np.ndarray, order: int) -> np.ndarray:
    """What the trees are to tell apart, (N, width): the first cepstra, which hold nearly all of the variance, loudness
    at no more than that of the others together, and the rest at a tenth of it each.

    (Deltas of exemplars that sound alike in like contexts are alike, too: asked for, they would cost much and gain
    little.)
    """
    centred = exemplars - exemplars.mean(0)
    shape = centred[:, 1 : min(order, GROWTH_ORDER)]
    total = shape.var(0).sum()
    others = np.hstack([centred[:, :1], centred[:, order:]])
    weights = np.sqrt(total * np.array([1.0] + [0.1] * (others.shape[1] - 1)))
    return np.hstack([shape, others / (others.std(0) + 1e-4) * weights]).astype(np.float32)


def _weights(
    file: dict[str, np.ndarray], config: ClustergenConfig, size: int, features: SpeechFeatureConfig
) -> Weights:
    """The arrays of a weights file, checked: raises UserError, KeyError or ValueError where they do not fit."""
    width = World(features.sample_rate, features.hop_length, config.order).width
    exemplars, lengths, profiles, scale = (file[name] for name in ("exemplars", "lengths", "profiles", "scale"))
    run_lengths = file["run_lengths"]
    if profiles.shape != (size, config.profile):
        raise UserError(f"profiles of shape {profiles.shape}, expected {(size, config.profile)}")
    if exemplars.shape != (lengths.sum(), width) or scale.shape != (width - 1,) or lengths.min() < 1:
        raise UserError("its exemplars do not fit together")
    if not all(np.isfinite(a).all() for a in (exemplars, profiles, scale, run_lengths)):
        raise UserError("it holds NaN or infinite values")
    one = [[0]]
    frames = frame_contexts(one, [[1]], profiles, config.context).shape[1]
    runs = unit_contexts(one, profiles, config.context).shape[1]
    return Weights(
        exemplars, lengths, profiles, scale,
        Forest.from_arrays(file, "frames", frames, len(exemplars)),
        Forest.from_arrays(file, "durations", runs, len(run_lengths)), run_lengths,
    )  # fmt: skip
