"""What image-to-unit models with an LSTM and soft attention share: their state, and the loop over the pieces."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from i2s.i2u.base import Batch, ImageToUnitModel


@dataclass(frozen=True)
class State:
    """B images with K beams at one step."""

    features: Tensor  # (B, L, D) what is attended to
    keys: Tensor  # (B, L, A)
    mask: Tensor | None  # (B, L)
    hidden: Tensor  # (B, K, H)
    cell: Tensor  # (B, K, H)
    context: Tensor  # (B, K, D) what was seen at the last step


class RecurrentModel(ImageToUnitModel):
    """Base of the models. Sub-classes give `start`, `inputs`, `advance` and `logits`, and may give `penalty`."""

    embed: nn.Embedding

    @abstractmethod
    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> State:
        """See ImageToUnitModel."""

    @abstractmethod
    def inputs(self, embedded: Tensor) -> Tensor:
        """Embedded pieces (B, T, E), all at once, to what `advance` takes of each."""

    @abstractmethod
    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of inputs (B, K, ...): attention (B, K, L) and the next state."""

    @abstractmethod
    def logits(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Logits (..., V + 1) after a piece (..., E), with the state (..., H) and context (..., D) of its step."""

    def penalty(self, attention: Tensor, valid: Tensor, mask: Tensor | None) -> Tensor:
        """What to add to the loss, from attention (B, T, L) where valid (B, T), and the mask (B, L) of positions."""
        return attention.new_zeros(())

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        embedded = self.embed(tokens)
        attention, state = self.advance(self.inputs(embedded), state)
        return self.logits(embedded, state.hidden, state.context), attention, state

    def reorder(self, state: State, index: Tensor) -> State:
        beams = state.hidden.shape[1]
        items = index[:, 0] // beams
        rows = index - items[:, None] * beams
        batch = items[:, None]
        state = replace(
            state, hidden=state.hidden[batch, rows], cell=state.cell[batch, rows], context=state.context[batch, rows]
        )
        return state if len(index) == len(state.features) else _pick(state, items)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        of_images = self.start(batch.features, batch.mask, beams=1)
        hidden, cell, context = (x[batch.images] for x in (of_images.hidden, of_images.cell, of_images.context))
        state = replace(_pick(of_images, batch.images), hidden=hidden, cell=cell, context=context)
        embedded = self.embed(batch.inputs)
        inputs = self.inputs(embedded)
        states, attentions = [], []
        for time in range(batch.inputs.shape[1]):
            attention, state = self.advance(inputs[:, time, None], state)
            states.append(state)
            attentions.append(attention)
        valid = batch.targets >= 0
        said, seen = (torch.cat(x, 1)[valid] for x in ([s.hidden for s in states], [s.context for s in states]))
        return self.logits(embedded[valid], said, seen), self.penalty(torch.cat(attentions, 1), valid, state.mask)


def attend(scores: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Attention (B, K, L) from scores (B, K, L), none at padding, and what is seen with it, (B, K, D)."""
    if state.mask is not None:
        scores = scores.masked_fill(~state.mask[:, None], -math.inf)
    attention = scores.float().softmax(-1)
    return attention, attention.to(state.features.dtype) @ state.features


def _pick(state: State, items: Tensor) -> State:
    """The images `items` alone, in that order; what beams hold stays as it is."""
    mask = None if state.mask is None else state.mask[items]
    return replace(state, features=state.features[items], keys=state.keys[items], mask=mask)
