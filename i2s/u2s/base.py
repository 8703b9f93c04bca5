"""What every unit-to-speech model has in common: what it gives back, how it is made, and checks of what it is given."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning
import numpy as np
import torch

from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.train.fit import Module, TrainConfig, fit, load_weights
from i2s.u2s.data import Batch, UnitSpeech

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speech:
    """The spectrogram of one utterance and how it came about.

    mel: float32 (T, n_mels), natural log. durations: frames of each unit, with sum T, or None where the model has
    none. attention: float32 (decoder steps, units or positions of an image) or None. stopped: it came to an end by
    itself. aligned: as far as the attention tells, every unit was spoken once and in order; of an image, it was looked
    at. wav: float32 (samples,) in [-1, 1], of a model that makes waveforms by itself; of others a vocoder makes it.
    """

    mel: np.ndarray
    durations: list[int] | None = None
    attention: np.ndarray | None = None
    stopped: bool = True
    aligned: bool = True
    wav: np.ndarray | None = None


class UnitToSpeech(ABC):
    """Base of all unit-to-speech models: run-length collapsed units in, log-mel spectrogram (and waveform) out."""

    Config: ClassVar[type[Any]]
    size: int  # units of the inventory

    @classmethod
    @abstractmethod
    def learn(
        cls, config: Any, train: UnitSpeech, dev: UnitSpeech, features: SpeechFeatureConfig, folder: Path
    ) -> Path:
        """Train a model of the configuration `config` into `folder`; returns the file of its weights."""

    @classmethod
    @abstractmethod
    def load(cls, config: Any, size: int, features: SpeechFeatureConfig, weights: Path) -> Self:
        """The model that `learn` made, ready to speak. Raises UserError where the weights are damaged or do not fit."""

    @abstractmethod
    def synthesise(
        self, units: Sequence[Sequence[int]], durations: Sequence[Sequence[int]] | None = None
    ) -> list[Speech]:
        """Speak a batch of unit sequences. `durations` (frames a unit) are used by models that have durations.

        Raises UserError for units outside the inventory, an empty utterance, or durations that do not fit.
        """

    def check_units(self, units: Sequence[Sequence[int]], durations: Sequence[Sequence[int]] | None = None) -> None:
        """Raise UserError unless this model can speak `units` (and `durations` belong to them)."""
        for i, row in enumerate(units):
            if not len(row):
                raise UserError(f"utterance {i} of the batch holds no units")
            if min(row) < 0 or max(row) >= self.size:
                bad = next(u for u in row if not 0 <= u < self.size)
                raise UserError(
                    f"unit {bad}: this unit-to-speech model knows units 0 to {self.size - 1}; "
                    "encode with the unit inventory that it was trained on"
                )
        if durations is not None:
            for i, (row, frames) in enumerate(zip(units, durations, strict=True)):
                if len(row) != len(frames) or min(frames) < 1:
                    raise UserError(
                        f"utterance {i} of the batch: {len(row)} units, {len(frames)} durations; "
                        "expected a duration of at least one frame for every unit"
                    )


class SpectrogramModel(UnitToSpeech, Module):
    """Base of the neural models, which draw log-mel spectrograms and are trained with Lightning.

    The buffers `mel_mean` and `mel_std` (n_mels,) normalise the spectrogram; training sets them.
    """

    Config: ClassVar[type[TrainConfig]]
    dev_score: ClassVar[str]  # which of the losses chooses the checkpoint
    mel_mean: torch.Tensor
    mel_std: torch.Tensor

    def __init__(self, size: int, n_mels: int):
        super().__init__()
        self.size, self.n_mels = size, n_mels
        self.register_buffer("mel_mean", torch.zeros(n_mels))
        self.register_buffer("mel_std", torch.ones(n_mels))

    @classmethod
    @abstractmethod
    def build(cls, config: TrainConfig, size: int, n_mels: int) -> Self:
        """A new model for `size` units and `n_mels` mel channels."""

    @classmethod
    def learn(
        cls, config: Any, train: UnitSpeech, dev: UnitSpeech, features: SpeechFeatureConfig, folder: Path
    ) -> Path:
        """A run that was stopped goes on from its last epoch. Errors: see `fit`."""
        lightning.seed_everything(config.seed, verbose=False)
        model = cls.build(config, train.size, train.n_mels)
        model.mel_mean, model.mel_std = train.mel_statistics()
        model.start()
        log.info("%s: %.1f million parameters", folder, sum(p.numel() for p in model.parameters()) / 1e6)
        train_loader, dev_loader = (
            split.loader(config.batch_size, config.workers, config.seed, split is train, config.max_frames)
            for split in (train, dev)
        )
        best = fit(model, train_loader, dev_loader, folder)
        load_weights(model, best)
        model.export(folder)
        return best

    @classmethod
    def load(cls, config: TrainConfig, size: int, features: SpeechFeatureConfig, weights: Path) -> Self:
        model = cls.build(config, size, features.n_mels)
        load_weights(model, weights)
        return model

    def start(self) -> None:
        """Called once before training begins, say to load other weights."""

    def export(self, folder: Path) -> None:
        """Called once after training, with the best weights: write what else belongs into the model's folder."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The parts of the training loss by name, each a mean over the batch, and their weighted sum `total`."""

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        losses = self.losses(batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value, batch_size=len(batch.units))
        return losses["total"]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses = self.losses(batch)
        for name, value in losses.items():
            self.log(f"dev/{name}", value, batch_size=len(batch.units), sync_dist=True)
        self.log("dev/score", losses[self.dev_score], batch_size=len(batch.units), prog_bar=True, sync_dist=True)


def frame_mask(lengths: torch.Tensor, longest: int | None = None) -> torch.Tensor:
    """True where a position holds data: bool (B, longest) from lengths (B,)."""
    longest = int(lengths.max()) if longest is None else longest
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
