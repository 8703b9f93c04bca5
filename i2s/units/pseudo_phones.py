"""Acoustic unit discovery: pseudo-phones, the units of a Bayesian phone-loop HMM (see i2s.units.hmm)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.progress import batches, track
from i2s.units.config import UnitConfig
from i2s.units.hmm import Events, PhoneLoop, Prior, best_paths, lift
from i2s.units.kmeans import KMeans, KMeansConfig, cluster, sample
from i2s.units.project import Projection
from i2s.units.runs import collapse, expand

log = logging.getLogger(__name__)
CHUNK = 8000  # frames whose expectations are computed together: some 100 MB


@dataclass(frozen=True)
class PseudoPhonesConfig(UnitConfig):
    """`num_units` is the truncation: the units that speech does not need are left unused."""

    num_units: int = 100
    states: int = 3  # of a unit, from left to right; it lasts as many frames at least
    components: int = 2  # Gaussians of a state
    weight: float = 0.3  # of a frame's log likelihood beside transitions; lower: longer units, fewer bits a second
    concentration: float = 1.0  # prior count of a unit; near 0, fewer units are used
    epochs: int = 3
    batch_frames: int = 8000  # of a minibatch; 0: all speech is one batch, and the ELBO never falls
    delay: float = 10.0  # step t has the rate (t + delay) ** -forgetting
    forgetting: float = 0.6
    lda_dim: int = 40  # of the projection of the features, as for k-means; 0: none, features are standardised
    lda_rounds: int = 2
    context: int = 3
    sample_frames: int = 1_000_000  # frames to learn from: whole utterances in random order, held in memory

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least({"states": 1, "components": 1, "weight": 1e-3, "concentration": 1e-6, "epochs": 0})
        self.check_least({"batch_frames": 0, "delay": 1, "forgetting": 0.5, "sample_frames": 1})
        self.k_means()

    def k_means(self) -> KMeansConfig:
        """The clusters that the units begin as."""
        return KMeansConfig(
            num_units=self.num_units, seed=self.seed, lda_dim=self.lda_dim, lda_rounds=self.lda_rounds,
            context=self.context, min_run=self.states,
        )  # fmt: skip


class PseudoPhones:
    """A phone loop over projected features."""

    Config = PseudoPhonesConfig
    WEIGHTS = "hmm.npz"

    def __init__(self, loop: PhoneLoop, projection: Projection):
        self.loop, self.projection = loop, projection
        self._terms = loop.terms()

    @property
    def size(self) -> int:
        """The number of units."""
        return self.loop.units

    @property
    def dim(self) -> int:
        """The number of columns of the features."""
        return self.projection.dim_in

    @classmethod
    def train(cls, feats: Mapping[str, np.ndarray], config: PseudoPhonesConfig) -> PseudoPhones:
        """Learn from a table of (T, D) matrices. Memory: that of `sample_frames` frames.

        Begins with k-means, its runs cut into as many equal parts as a unit has states. One process and no
        checkpoints: an epoch is hundreds of times faster than the speech (bench/hmm_units.py), and a step of the
        minibatches needs the one before. Raises UserError for fewer frames than units, matrices of different widths
        and where no utterance lasts as long as a unit.
        """
        kmeans = KMeans.train(feats, config.k_means())
        utterances = [x for x in sample(feats, config.sample_frames, config.seed) if len(x) >= config.states]
        if not utterances:
            raise UserError(f"no utterance has {config.states} frames, as many as a unit has states")
        labels = [expand(*run) for few in batches(utterances, 32, "first units") for run in kmeans.encode(few)]
        frames = [kmeans.projection(x) for x in utterances]
        loop = first_loop(frames, labels, config)
        loop, _ = fit(loop, frames, config)
        return cls(loop, kmeans.projection)

    def save(self, folder: Path) -> None:
        """Write hmm.npz."""
        p, prior = self.projection, self.loop.prior
        with atomic_path(folder / self.WEIGHTS) as tmp:
            np.savez(
                tmp, offsets=p.offsets, shift=p.mean, matrix=p.matrix, mean=prior.mean, variance=prior.variance,
                **self.loop.counts._asdict(),
            )  # fmt: skip

    @classmethod
    def load(cls, folder: Path, config: PseudoPhonesConfig) -> PseudoPhones:
        """Read what `save` wrote. Raises UserError if it is missing or damaged."""
        try:
            with np.load(folder / cls.WEIGHTS, allow_pickle=False) as saved:
                counts = Events(*(torch.from_numpy(saved[name]) for name in Events._fields))
                mean, variance = torch.from_numpy(saved["mean"]), torch.from_numpy(saved["variance"])
                projection = Projection(saved["offsets"], saved["shift"], saved["matrix"])
                loop = PhoneLoop(Prior(mean, variance, config.concentration), counts, config.weight)
                return cls(loop, projection)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as e:
            raise UserError(f"{folder}: units cannot be read: {e}; run the unit stage again") from e

    def encode(self, utterances: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each utterance (T, D) collapsed units (N,) and their durations in frames (N,), sum T.

        A unit that follows itself is one run. An utterance shorter than a unit is one unit: its best one, were the
        last frame to go on.
        """
        longer = [np.pad(x, ((0, max(0, self.loop.states - len(x))), (0, 0)), mode="edge") for x in utterances]
        paths = best_paths(self._terms, [torch.from_numpy(self.projection(x)) for x in longer])
        return [collapse(expand(*path)[: len(x)]) for x, path in zip(utterances, paths, strict=True)]

    def manifest(self) -> dict[str, Any]:
        """Nothing: all that matters is in the weights and config.yaml."""
        return {}


def first_loop(frames: Sequence[np.ndarray], labels: Sequence[np.ndarray], config: PseudoPhonesConfig) -> PhoneLoop:
    """The phone loop in which the runs of `labels` (T,) are units, cut into equal parts for their states.

    A state's frames (T, D) are shared out among its components by k-means.
    """
    everything = np.concatenate(frames)
    runs = [collapse(units) for units in labels]
    units, durations = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    begun = np.cumsum(durations) - durations
    position = np.arange(len(everything)) - np.repeat(begun, durations)
    part = config.states * position // np.repeat(durations, durations)
    state = part * config.num_units + np.repeat(units, durations)
    component = np.zeros(len(state), np.int64)
    order = np.argsort(state, kind="stable")
    starts = np.searchsorted(state[order], np.arange(1, config.states * config.num_units))
    for members in np.split(order, starts) if config.components > 1 else ():
        component[members] = np.arange(len(members)) % config.components
        if len(members) > 2 * config.components:
            few = everything[members]
            centroids, _ = cluster(few, config.components, 5, config.seed)
            component[members] = ((centroids**2).sum(1) - 2 * few @ centroids.T).argmin(1)

    shape = (config.components, config.states, config.num_units)
    at = torch.from_numpy(np.ravel_multi_index((component, part, state % config.num_units), shape))
    gauss = torch.zeros(int(np.prod(shape)), 1 + 2 * everything.shape[1], dtype=torch.float64)
    for rows, where in zip(torch.from_numpy(everything).split(CHUNK), at.split(CHUNK), strict=True):
        gauss.index_add_(0, where, lift(rows).double())
    mixture = gauss[:, 0].reshape(shape)
    enter = torch.from_numpy(np.bincount(units, minlength=config.num_units)).double()
    leave = enter.expand(shape[1:])
    stay = (mixture.sum(0) - leave).clamp_min(0)
    prior = Prior(
        torch.from_numpy(everything.mean(0, dtype=np.float64)),
        torch.from_numpy(everything.var(0, dtype=np.float64)).clamp_min(1e-6),  # a constant column
        config.concentration,
    )
    weighted = config.weight * gauss.T.reshape(-1, *shape)
    return PhoneLoop(prior, Events(enter, stay, leave.clone(), mixture.clone(), weighted), config.weight)


def fit(loop: PhoneLoop, frames: Sequence[np.ndarray], config: PseudoPhonesConfig) -> tuple[PhoneLoop, list[float]]:
    """Variational Bayes on utterances (T, D) of at least `states` frames: the loop, and the ELBO before each step.

    On minibatches, the ELBO is estimated from each of them.
    """
    pieces = [x for long in map(torch.from_numpy, frames) for x in long.split(CHUNK) if len(x) >= config.states]
    total, full = sum(map(len, pieces)), not config.batch_frames
    count = min(len(pieces), -(-total // (config.batch_frames or CHUNK)))
    chunks = max(1, config.batch_frames // CHUNK)  # of a minibatch
    rng = np.random.default_rng(config.seed)
    elbos: list[float] = []
    with track(None, "phone loop", total=config.epochs * count, unit="batch") as bar:
        for epoch in range(config.epochs):
            parts = np.array_split(rng.permutation(len(pieces)), count)
            steps = [parts] if full else [np.array_split(part, min(len(part), chunks)) for part in parts]
            for step in steps:
                found = [loop.expect([pieces[i] for i in part]) for part in step]
                bar.update(len(step))
                share = total / sum(len(pieces[i]) for part in step for i in part)
                elbos.append(share * sum(log_z for log_z, _ in found) - loop.kl())
                sums = (torch.stack(same).sum(0) for same in zip(*(counts for _, counts in found), strict=True))
                rate = 1.0 if full else (len(elbos) - 1 + config.delay) ** -config.forgetting
                loop = loop.moved(Events(*(share * x for x in sums)), rate)
            log.info(
                "epoch %d of %d: ELBO %.5g a frame", epoch + 1, config.epochs,
                np.mean(elbos[-len(steps):]) / total,
            )  # fmt: skip
    return loop, elbos
