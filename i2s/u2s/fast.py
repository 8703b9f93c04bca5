"""Unit to speech without attention and without a GPU: durations, then all frames at once.

In the manner of FastSpeech 2 (Ren et al. 2021), with convolutions throughout: a context encoder over the units, a
duration predictor, each unit's vector repeated for its frames together with where in its run the frame lies, and a
decoder over the frames. The run lengths of the units are the true durations, so no aligner is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import nn

from i2s.train.fit import TrainConfig
from i2s.u2s.base import SpectrogramModel, Speech, frame_mask
from i2s.u2s.data import Batch
from i2s.units.runs import round_durations

MAX_POSITION = 24  # frames from the start and the end of a run that are told apart


@dataclass(frozen=True)
class FastConfig(TrainConfig):
    """Sizes of the fast model. The encoder sees `unit_layers * (kernel // 2)` units to each side."""

    width: int = 256
    unit_layers: int = 8
    frame_layers: int = 2
    kernel: int = 5
    dropout: float = 0.1  # in the unit layers
    duration_weight: float = 0.1
    max_frames: int = 0  # of a batch, padding included; 0: no bound


class Block(nn.Module):
    """Residual block: layer norm, convolution over positions, ReLU, linear. (B, N, width) -> (B, N, width)."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, kernel)
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.margin = kernel // 2

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`mask` (B, N, 1): True where there is data. Padding comes in as zeros, so batching changes no output."""
        h = self.norm(x).masked_fill(~mask, 0.0)
        # As an image of height 1 with channels last, which is how h lies in memory: a Conv1d would copy it.
        image, weight = h.transpose(1, 2).unsqueeze(2), self.conv.weight.unsqueeze(2)
        h = F.conv2d(image, weight, self.conv.bias, padding=(0, self.margin)).squeeze(2).transpose(1, 2)
        return x + self.dropout(self.linear(F.relu(h)))


class FastModel(SpectrogramModel):
    """See the module's description."""

    Config = FastConfig
    dev_score = "mel"
    config: FastConfig

    def __init__(self, config: FastConfig, size: int, n_mels: int):
        super().__init__(size, n_mels)
        self.config = config
        width, kernel, dropout = config.width, config.kernel, config.dropout
        self.embed = nn.Embedding(size, width)
        self.unit_blocks = nn.ModuleList([Block(width, kernel, dropout) for _ in range(config.unit_layers)])
        self.unit_norm = nn.LayerNorm(width)
        self.duration = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1)
        )  # log of the expected number of frames
        self.from_start = nn.Embedding(MAX_POSITION, width)
        self.from_end = nn.Embedding(MAX_POSITION, width)
        self.frame_blocks = nn.ModuleList([Block(width, kernel, 0.0) for _ in range(config.frame_layers)])
        self.frame_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, n_mels)

    @classmethod
    def build(cls, config: TrainConfig, size: int, n_mels: int) -> Self:
        assert isinstance(config, FastConfig)
        return cls(config, size, n_mels)

    def encode(self, units: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Units (B, U) to context vectors (B, U, width) and the log of each unit's expected duration (B, U)."""
        mask = frame_mask(lengths, units.shape[1])[..., None]
        x = self.embed(units)
        for block in self.unit_blocks:
            x = block(x, mask)
        x = self.unit_norm(x)
        return x, self.duration(x).squeeze(-1)

    def decode(self, context: torch.Tensor, durations: torch.Tensor) -> torch.Tensor:
        """Context (B, U, width) and durations in frames (B, U; 0 in padding) to normalised mel (B, T, n_mels)."""
        index, start, end, mask = regulate(durations)
        x = context.gather(1, index[..., None].expand(-1, -1, context.shape[2]))
        x = x + self.from_start(start) + self.from_end(end)
        for block in self.frame_blocks:
            x = block(x, mask[..., None])
        return self.out(self.frame_norm(x))

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Mean absolute error of the normalised mel, and Poisson loss of the durations.

        The Poisson loss makes exp(prediction) the mean duration, so that whole utterances keep their length; a squared
        error of log durations would make them too short.
        """
        context, log_durations = self.encode(batch.units, batch.unit_lengths)
        predicted = self.decode(context, batch.durations)
        target = (batch.mels - self.mel_mean) / self.mel_std
        mask = frame_mask(batch.mel_lengths, predicted.shape[1])
        units = frame_mask(batch.unit_lengths, batch.units.shape[1])
        mel = (predicted.float() - target).abs().mean(-1)[mask].mean()
        duration = F.poisson_nll_loss(log_durations.float()[units], batch.durations[units].float(), log_input=True)
        return {"mel": mel, "duration": duration, "total": mel + self.config.duration_weight * duration}

    @torch.inference_mode()
    def synthesise(
        self, units: Sequence[Sequence[int]], durations: Sequence[Sequence[int]] | None = None
    ) -> list[Speech]:
        """Speak a batch; durations are predicted where they are not given. Errors: see UnitToSpeech."""
        self.check_units(units, durations)
        device = self.mel_mean.device
        lengths = torch.tensor([len(u) for u in units], device=device)
        padded = nn.utils.rnn.pad_sequence([torch.tensor(u) for u in units], batch_first=True).to(device)
        context, log_durations = self.encode(padded, lengths)
        if durations is None:
            rows = log_durations.double().exp().cpu().numpy()
            durations = [round_durations(row[: len(u)]) for row, u in zip(rows, units, strict=True)]
        frames = nn.utils.rnn.pad_sequence([torch.tensor(d) for d in durations], batch_first=True).to(device)
        mels = (self.decode(context, frames) * self.mel_std + self.mel_mean).cpu().numpy()
        return [Speech(mel[: sum(d)].copy(), list(d)) for mel, d in zip(mels, durations, strict=True)]


def regulate(durations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What each frame belongs to, from durations in frames (B, U), 0 in padding.

    Returns, each (B, T) with T the longest total: the unit's index, the frame's distance from the start of its run and
    from the end of it (both cut at MAX_POSITION - 1), and whether the frame exists.
    """
    ends = durations.cumsum(1)
    total = ends[:, -1]
    t = torch.arange(int(total.max()), device=durations.device).expand(len(durations), -1).contiguous()
    index = torch.searchsorted(ends, t, right=True).clamp(max=durations.shape[1] - 1)
    mask = t < total[:, None]
    end = ends.gather(1, index)
    start = end - durations.gather(1, index)
    top = MAX_POSITION - 1
    return index, (t - start).clamp(0, top), (end - 1 - t).clamp(0, top), mask
