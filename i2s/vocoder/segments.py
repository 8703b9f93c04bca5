"""Training data of vocoders: random segments of waveforms beside the frames around them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from i2s.archive import Matrices
from i2s.audio import read_wav
from i2s.corpus.tables import read_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.train.samplers import LengthBatchSampler
from i2s.u2s.data import Spectrograms
from i2s.vocoder.wavenet_model import Batch, frames_around

log = logging.getLogger(__name__)
Item = tuple[np.ndarray, np.ndarray]
Place = tuple[int, int]  # which utterance, and the frame that a segment begins with


class Segments(Spectrograms[Item]):
    """Segments of so many frames of the utterances of one split: waveform, and spectrogram with context.

    Wavs are read as they are needed. Utterances shorter than a segment are left out, counted.
    Raises UserError where there is none left; later for wavs that cannot be read or do not fit their spectrogram.
    """

    def __init__(self, data: Path, features: SpeechFeatureConfig, segment: int):
        self.mels, self.n_mels = Matrices(data / "feats.scp"), features.n_mels
        self.wavs, self.features, self.segment = read_table(data / "wav.scp"), features, segment
        frames = {u: self.mels.rows(u) for u in self.wavs if u in self.mels}
        self.ids = [u for u, n in frames.items() if n >= segment]
        if not self.ids:
            raise UserError(f"{data}: no utterance has a wav and {segment} frames of a spectrogram; run stages 3 and 4")
        if missing := len(self.wavs) - len(self.ids):
            log.warning("%s: %d of %d utterances are shorter than a segment, or lack a spectrogram, and are left out",
                        data, missing, len(self.wavs))  # fmt: skip
        self.lengths = [frames[u] for u in self.ids]

    def __getitem__(self, place: Place) -> Item:
        index, first = place
        wav, _ = read_wav(self.wavs[self.ids[index]], self.features.sample_rate)
        hop, mel = self.features.hop_length, self.mel(index)
        if len(wav) // hop != len(mel):
            raise UserError(
                f"{self.wavs[self.ids[index]]}: {len(wav)} samples, but a spectrogram of {len(mel)} frames "
                f"({self.mels.scp}); run {self.made_by} again"
            )
        return wav[first * hop : (first + self.segment) * hop], frames_around(mel, first, self.segment)

    def collate(self, items: Sequence[Item]) -> Batch:
        wavs, mels = (torch.from_numpy(np.stack(part)) for part in zip(*items, strict=True))
        return Batch(wavs, mels)

    def sampler(self, batch_size: int, max_frames: int, seed: int, shuffle: bool) -> Sampler[Any]:
        return SegmentSampler(self.lengths, self.segment, batch_size, seed, shuffle)


class SegmentSampler(Sampler[list[Place]]):
    """Batches of one segment of every utterance: a random one that depends on seed and epoch alone, or the middle."""

    def __init__(self, lengths: Sequence[int], segment: int, batch_size: int, seed: int, shuffle: bool):
        self.batches = LengthBatchSampler([segment] * len(lengths), batch_size, seed=seed, shuffle=shuffle)
        self.places = np.asarray(lengths) - segment + 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches are yielded next."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[Place]]:
        firsts = (self.places - 1) // 2
        if self.batches.shuffle:
            firsts = np.random.default_rng([self.batches.seed, self.batches.epoch, 1]).integers(self.places)
        for batch in self.batches:
            yield [(index, int(firsts[index])) for index in batch]

    def __len__(self) -> int:
        return len(self.batches)
