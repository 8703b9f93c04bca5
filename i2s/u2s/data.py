"""Training data of models that draw spectrograms: spectrograms, and beside them units and their run lengths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

from i2s.archive import Matrices
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.train.samplers import LengthBatchSampler

Item = tuple[list[int], list[int], np.ndarray]
T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class Batch:
    """Padded with zeros. units, durations: int64 (B, U); mels: float32 (B, T, n_mels); the lengths: int64 (B,)."""

    units: torch.Tensor
    unit_lengths: torch.Tensor
    durations: torch.Tensor
    mels: torch.Tensor
    mel_lengths: torch.Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Called by Lightning."""
        return type(self)(*(getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)))


class Spectrograms(Dataset[T]):
    """Utterances with a spectrogram each: `ids`, their `lengths` in frames and, of n_mels channels, `mels`.

    A sub-class fills these in, and says what else an item holds and how items become a batch.
    """

    made_by: ClassVar[str] = "stage 4"  # what to run again where they do not fit together
    ids: list[str]
    lengths: list[int]
    mels: Matrices
    n_mels: int

    def __len__(self) -> int:
        return len(self.ids)

    def mel(self, index: int) -> np.ndarray:
        """The spectrogram (T, n_mels) of an utterance. Raises UserError where it has another shape."""
        mel, expected = self.mels[self.ids[index]], (self.lengths[index], self.n_mels)
        if mel.shape != expected:
            raise UserError(
                f"{self.mels.scp}: {self.ids[index]}: spectrogram of {mel.shape[0]} frames x {mel.shape[1]}, "
                f"but {expected[0]} x {expected[1]} are expected; run {self.made_by} again"
            )
        return mel

    def sample(self, most: int) -> list[torch.Tensor]:
        """The spectrograms (T, n_mels) of at most so many utterances, spread evenly."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).astype(int))
        return [torch.from_numpy(np.array(self.mel(int(i)), np.float32)) for i in chosen]

    def mel_statistics(self, most: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each mel channel (n_mels,), over `most` utterances spread evenly."""
        frames = torch.cat(self.sample(most)).double().numpy()
        mean, std = frames.mean(0), frames.std(0).clip(1e-3)
        return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)

    @abstractmethod
    def collate(self, items: Sequence[Any]) -> Any:
        """A batch of items."""

    def loader(self, batch_size: int, workers: int, seed: int, shuffle: bool, max_frames: int = 0) -> DataLoader:
        """Batches of utterances of similar length, in an order that depends on seed and epoch alone."""
        sampler = self.sampler(batch_size, max_frames, seed, shuffle)
        return DataLoader(
            self, batch_sampler=sampler, collate_fn=self.collate, num_workers=workers, persistent_workers=workers > 0
        )

    def sampler(self, batch_size: int, max_frames: int, seed: int, shuffle: bool) -> Sampler[Any]:
        """What chooses the items of batches; of one whose items are whole utterances, these."""
        return LengthBatchSampler(self.lengths, batch_size, max_frames, seed, shuffle)


class UnitSpeech(Spectrograms[Item]):
    """The utterances of one split that have both a spectrogram and units.

    Raises UserError where a unit is not of the inventory (0..size-1), or run lengths and spectrogram differ in length.
    """

    made_by = "stages 4 and 6"

    def __init__(self, data: Path, units: Path, size: int, n_mels: int):
        """`data` holds feats.scp, `units` the tables units and unit_durations."""
        self.mels = Matrices(data / "feats.scp")
        self.units = read_int_table(units / "units")
        self.durations = read_int_table(units / "unit_durations")
        self.size, self.n_mels, self.data = size, n_mels, data
        self.ids = [u for u in self.units if u in self.mels and u in self.durations]
        if not self.ids:
            raise UserError(f"{units}/units and {data}/feats.scp have no utterance in common")
        for utterance in self.ids:
            row, runs = self.units[utterance], self.durations[utterance]
            if len(row) != len(runs) or min(runs) < 1:
                raise UserError(f"{units}: {utterance}: {len(row)} units, {len(runs)} durations; run stage 6 again")
            if min(row) < 0 or max(row) >= size:
                raise UserError(f"{units}/units: {utterance}: unit {max(row)} is not of the {size} of the inventory")
        self.lengths = [sum(self.durations[u]) for u in self.ids]  # frames

    def __getitem__(self, index: int) -> Item:
        utterance = self.ids[index]
        return self.units[utterance], self.durations[utterance], self.mel(index)

    def collate(self, items: Sequence[Item]) -> Batch:
        return collate(items)


def collate(items: Sequence[Item]) -> Batch:
    """Pad a list of items to one batch, longest unit sequence first (as packed LSTMs want it)."""
    items = sorted(items, key=lambda item: -len(item[0]))
    units = [torch.tensor(u) for u, _, _ in items]
    durations = [torch.tensor(d) for _, d, _ in items]
    mels = [torch.from_numpy(np.array(m, np.float32)) for _, _, m in items]
    return Batch(
        pad_sequence(units, batch_first=True),
        torch.tensor([len(u) for u in units]),
        pad_sequence(durations, batch_first=True),
        pad_sequence(mels, batch_first=True),
        torch.tensor([len(m) for m in mels]),
    )
