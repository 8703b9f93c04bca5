"""Image to unit with the attentional sequence-to-sequence model of Hasegawa-Johnson et al. 2017, as XNMT had it.

The image's positions are read as a sequence, row after row, by a bidirectional LSTM; a perceptron with two hidden
layers scores them against the state of the decoder, an LSTM that is fed what was seen at the step before; its state and
what is seen now go through another perceptron to one softmax over units. (Neubig et al. 2018, "XNMT: The eXtensible
Neural Machine Translation Toolkit".)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from i2s.errors import UserError
from i2s.i2u.base import Dropout, ImageToUnitConfig
from i2s.i2u.recurrent import RecurrentModel, State, attend


@dataclass(frozen=True)
class XnmtConfig(ImageToUnitConfig):
    model: Literal["xnmt"] = "xnmt"
    encoder_dim: int = 128  # of both directions together
    pyramid: int = 0  # further encoder layers, each of which joins neighbours in pairs (Chan et al. 2016)
    embed_dim: int = 128
    hidden_dim: int = 128
    attention_dim: int = 128  # of both hidden layers of the attention
    mlp_dim: int = 1024
    dropout: float = 0.0
    feature_dropout: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_dim % 2:
            raise UserError(f"encoder_dim={self.encoder_dim}: must be even, half of it for each direction")
        if self.pyramid < 0:
            raise UserError(f"pyramid={self.pyramid}: must be at least 0")


class Xnmt(RecurrentModel):
    config_class = XnmtConfig
    config: XnmtConfig

    def __init__(self, config: XnmtConfig):
        super().__init__(config)
        encoded, hidden, width = config.encoder_dim, config.hidden_dim, config.attention_dim
        sizes = [config.feature_dim] + config.pyramid * [2 * encoded]
        self.encoder = nn.ModuleList(
            nn.LSTM(size, encoded // 2, batch_first=True, bidirectional=True) for size in sizes
        )
        self.bridge = nn.Linear(encoded, hidden)
        self.embed = nn.Embedding(config.pieces + 1, config.embed_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.decoder = nn.LSTMCell(config.embed_dim + encoded, hidden)
        self.key = nn.Linear(encoded, width)
        self.query = nn.Linear(hidden, width, bias=False)
        self.energy = nn.Sequential(nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))
        self.out = nn.Sequential(
            nn.Linear(hidden + encoded, config.mlp_dim),
            nn.Tanh(),
            Dropout(config.dropout),
            nn.Linear(config.mlp_dim, config.pieces + 1),
        )
        self.dropout = Dropout(config.dropout)
        self.feature_dropout = Dropout(config.feature_dropout)

    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> State:
        """Raises UserError where the pyramid cannot halve the positions."""
        joined = 2**self.config.pyramid
        if joined > 1 and (mask is not None or features.shape[1] % joined):
            raise UserError(
                f"pyramid={self.config.pyramid}: it joins positions by {joined}, but these images have "
                f"{features.shape[1]}{' or fewer' if mask is not None else ''}; use pyramid=0"
            )
        x = self.feature_dropout(self.prepare(features))
        cells = None
        for i, layer in enumerate(self.encoder):
            x, cells = read(layer, x if i == 0 else x.unflatten(1, (-1, 2)).flatten(2), mask)
        cell = self.bridge(cells)[:, None].expand(-1, beams, -1)
        return State(x, self.key(x), mask, torch.tanh(cell), cell, x.new_zeros(len(x), beams, x.shape[-1]))

    def inputs(self, embedded: Tensor) -> Tensor:
        return self.dropout(embedded)

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        fed = torch.cat([inputs, state.context], -1).flatten(0, 1)
        hidden, cell = self.decoder(fed, (state.hidden.flatten(0, 1), state.cell.flatten(0, 1)))
        hidden, cell = (x.unflatten(0, inputs.shape[:2]) for x in (hidden, cell))
        scores = self.energy(state.keys[:, None] + self.query(hidden)[:, :, None]).squeeze(-1)
        attention, context = attend(scores, state)
        joined = 2**self.config.pyramid
        shown = attention.repeat_interleave(joined, -1) / joined  # a pair was seen: each of both by half
        return shown, replace(state, hidden=hidden, cell=cell, context=context)

    def logits(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        return self.out(torch.cat([hidden, context], -1))


def read(layer: nn.Module, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What a bidirectional LSTM says of x (B, L, D): (B, L, 2 H), zeros at padding, and its last cells (B, 2 H)."""
    if mask is None:
        out, (_, cells) = layer(x)
    else:
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        out, (_, cells) = layer(packed)
        out, _ = pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
    return out, cells.transpose(0, 1).flatten(1)
