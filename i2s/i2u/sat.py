"""Image to unit with Show, Attend and Tell (Xu et al. 2015, soft attention), as in Hsu et al. 2020.

At every step an LSTM looks at the image through additive attention, scaled by a gate beta; its output, the last piece
and what it saw together predict the next piece ("deep output"). A doubly stochastic penalty asks that, over a whole
caption, every position of the image is looked at equally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from i2s.i2u.base import Batch, Dropout, ImageToUnitConfig, ImageToUnitModel


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


@dataclass(frozen=True)
class State:
    """B images with K beams at one step."""

    features: Tensor  # (B, L, D)
    keys: Tensor  # (B, L, A)
    mask: Tensor | None  # (B, L)
    hidden: Tensor  # (B, K, H)
    cell: Tensor  # (B, K, H)


class ShowAttendTell(ImageToUnitModel):
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
        return State(features, self.key(features), mask, hidden, cell)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        embedded = self.embed(tokens)
        context, attention, state = self._advance(self.lstm_embed(self.dropout(embedded)), state)
        return self._logits(embedded, state.hidden, context), attention, state

    def reorder(self, state: State, index: Tensor) -> State:
        beams = state.hidden.shape[1]
        items = index[:, 0] // beams
        rows = index - items[:, None] * beams
        batch = items[:, None]
        state = replace(state, hidden=state.hidden[batch, rows], cell=state.cell[batch, rows])
        if len(index) == len(state.features):
            return state
        mask = None if state.mask is None else state.mask[items]
        return replace(state, features=state.features[items], keys=state.keys[items], mask=mask)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mask = None if batch.mask is None else batch.mask[batch.images]
        state = self.start(batch.features[batch.images], mask, beams=1)
        embedded = self.embed(batch.inputs)
        inputs = self.lstm_embed(self.dropout(embedded))
        hidden, contexts, attentions = [], [], []
        for time in range(batch.inputs.shape[1]):
            context, attention, state = self._advance(inputs[:, time, None], state)
            hidden.append(state.hidden)
            contexts.append(context)
            attentions.append(attention)
        valid = batch.targets >= 0
        logits = self._logits(embedded[valid], torch.cat(hidden, 1)[valid], torch.cat(contexts, 1)[valid])
        looked = (torch.cat(attentions, 1) * valid[..., None]).sum(1)  # (B, L)
        penalty = (1 - looked) ** 2
        penalty = penalty.mean() if mask is None else penalty[mask].mean()
        return logits, self.config.doubly_stochastic * penalty

    def _advance(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """One LSTM step of (B, K, 4 H) inputs: context (B, K, D), attention (B, K, L), state."""
        scores = self.energy(torch.tanh(state.keys[:, None] + self.query(state.hidden)[:, :, None])).squeeze(-1)
        if state.mask is not None:
            scores = scores.masked_fill(~state.mask[:, None], -math.inf)
        attention = scores.float().softmax(-1)
        context = torch.sigmoid(self.gate(state.hidden)) * (attention.to(state.features.dtype) @ state.features)
        gates = inputs + self.lstm_context(context) + self.lstm_hidden(state.hidden)
        enter, forget, emit, new = gates.float().chunk(4, -1)
        cell = torch.sigmoid(forget) * state.cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(emit) * torch.tanh(cell)
        return context, attention, replace(state, hidden=hidden, cell=cell)

    def _logits(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Deep output: L_o (E y + L_h h + L_z z), as in Xu et al., equation 7, with a tanh."""
        deep = torch.tanh(embedded + self.out_hidden(self.dropout(hidden)) + self.out_context(context))
        return self.out(self.dropout(deep))
