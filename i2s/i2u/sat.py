"""Image to unit with Show, Attend and Tell (Xu et al. 2015, soft attention), as in Hsu et al. 2020.

At every step an LSTM looks at the image through additive attention, scaled by a gate beta; its output, the last piece
and what it saw together predict the next piece ("deep output"). A doubly stochastic penalty asks that, over a whole
caption, every position of the image is looked at equally.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from i2s.i2u.base import Dropout, ImageToUnitConfig
from i2s.i2u.recurrent import RecurrentModel, State, attend


@dataclass(frozen=True)
class SatConfig(ImageToUnitConfig):
    model: Literal["sat"] = "sat"
    embed_dim: int = 512
    hidden_dim: int = 512
    attention_dim: int = 512
    doubly_stochastic: float = 1.0  # weight of the penalty; 0: none
    dropout: float = 0.5
    feature_dropout: float = 0.0
    label_smoothing: float = 0.0


class ShowAttendTell(RecurrentModel):
    config_class = SatConfig
    config: SatConfig

    def __init__(self, config: SatConfig):
        super().__init__(config)
        embed, hidden, width = config.embed_dim, config.hidden_dim, config.attention_dim
        self.embed = nn.Embedding(config.pieces + 1, embed)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.first = nn.Linear(config.feature_dim, 2 * hidden)  # mean features to the first hidden state and cell
        self.key = nn.Linear(config.feature_dim, width)
        self.query = nn.Linear(hidden, width, bias=False)
        self.energy = nn.Linear(width, 1, bias=False)
        self.gate = nn.Linear(hidden, 1)
        self.lstm_embed = nn.Linear(embed, 4 * hidden)
        self.lstm_context = nn.Linear(config.feature_dim, 4 * hidden, bias=False)
        self.lstm_hidden = nn.Linear(hidden, 4 * hidden, bias=False)
        self.out_hidden = nn.Linear(hidden, embed)
        self.out_context = nn.Linear(config.feature_dim, embed, bias=False)
        self.out = nn.Linear(embed, config.pieces + 1)
        self.dropout = Dropout(config.dropout)
        self.feature_dropout = Dropout(config.feature_dropout)

    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> State:
        features = self.feature_dropout(self.prepare(features))
        if mask is None:
            mean = features.mean(1)
        else:
            features = features * mask[..., None]
            mean = features.sum(1) / mask.sum(1, keepdim=True)
        hidden, cell = torch.tanh(self.first(mean))[:, None].expand(-1, beams, -1).chunk(2, -1)
        nothing = mean[:, None].expand(-1, beams, -1)
        return State(features, self.key(features), mask, hidden, cell, nothing)

    def inputs(self, embedded: Tensor) -> Tensor:
        """The share of the LSTM's gates (B, T, 4 H)."""
        return self.lstm_embed(self.dropout(embedded))

    def penalty(self, attention: Tensor, valid: Tensor, mask: Tensor | None) -> Tensor:
        """Doubly stochastic attention: over a whole caption, each position should be looked at equally."""
        looked = (attention * valid[..., None]).sum(1)  # (B, L)
        squares = (1 - looked) ** 2
        return self.config.doubly_stochastic * (squares.mean() if mask is None else squares[mask].mean())

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        scores = self.energy(torch.tanh(state.keys[:, None] + self.query(state.hidden)[:, :, None])).squeeze(-1)
        attention, seen = attend(scores, state)
        context = torch.sigmoid(self.gate(state.hidden)) * seen
        gates = inputs + self.lstm_context(context) + self.lstm_hidden(state.hidden)
        enter, forget, emit, new = gates.float().chunk(4, -1)
        cell = torch.sigmoid(forget) * state.cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(emit) * torch.tanh(cell)
        return attention, replace(state, hidden=hidden, cell=cell, context=context)

    def logits(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Deep output: L_o (E y + L_h h + L_z z), as in Xu et al., equation 7, with a tanh."""
        deep = torch.tanh(embedded + self.out_hidden(self.dropout(hidden)) + self.out_context(context))
        return self.out(self.dropout(deep))
