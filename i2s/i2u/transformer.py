"""Image to unit with a Transformer (Vaswani et al. 2017; pre-norm as in Xiong et al. 2020).

Image features are projected to the model's width, given a learned 2-D position, optionally passed through encoder
layers, and attended to by a causal decoder whose output layer shares its weights with the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2s.errors import UserError
from i2s.i2u.base import Batch, Dropout, Grid, ImageToUnitConfig, ImageToUnitModel


@dataclass(frozen=True)
class TransformerConfig(ImageToUnitConfig):
    model: Literal["transformer"] = "transformer"
    d_model: int = 384
    layers: int = 4
    heads: int = 6
    d_ff: int = 1536
    encoder_layers: int = 0  # self-attention layers over the image's positions
    positions_2d: bool = True  # learned row and column embeddings, where the features have a grid

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % (2 * self.heads):
            raise UserError(f"d_model={self.d_model}: must be a multiple of twice heads={self.heads}")


class Attention(nn.Module):
    """Multi-head attention in two parts, so that keys and values can be kept between steps."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, W) to keys and values, each (N, H, S, W / H)."""
        keys, values = self.key_value(x).chunk(2, -1)
        return self.split(keys), self.split(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Queries from x (N, T, W) to (N, T, W) and weights (N, H, T, S); mask is True where attention may go."""
        # Written out: at these lengths, on a CPU, three times as fast as torch's fused attention (bf16, both ways).
        query = (self.split(self.query(x)) * (x.shape[-1] // self.heads) ** -0.5).contiguous()
        scores = query @ keys.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        weights = scores.softmax(-1)
        return self.out((weights @ values).transpose(1, 2).flatten(2)), weights

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    def __init__(self, width: int, inner: int):
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))


class EncoderLayer(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(2))
        self.attention = Attention(config.d_model, config.heads)
        self.feed_forward = FeedForward(config.d_model, config.d_ff)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.norms[0](x)
        x = x + self.dropout(self.attention(y, *self.attention.keys_values(y), mask)[0])
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class DecoderLayer(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.d_model) for _ in range(3))
        self.self_attention = Attention(config.d_model, config.heads)
        self.cross_attention = Attention(config.d_model, config.heads)
        self.feed_forward = FeedForward(config.d_model, config.d_ff)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, image: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """All positions of x (B, T, W) at once, each seeing those before it and the image's keys and values."""
        y = self.norms[0](x)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        x = x + self.dropout(self.self_attention(y, *self.self_attention.keys_values(y), causal)[0])
        x = x + self.dropout(self.cross_attention(self.norms[1](x), *image, mask)[0])
        return x + self.dropout(self.feed_forward(self.norms[2](x)))

    def step(
        self, x: Tensor, past: Tensor, time: int, seen: Tensor, image: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One position of each of B x K beams, x (B, K, W), to its output and cross-attention (B, K, L).

        Its keys and values are added to those before it, `past` (2, B, H, room, K, W / H), at `time`. `seen`
        (B, 1, K, (time + 1) K) says which of them belong to each beam.
        """
        y = self.norms[0](x)
        past[0, :, :, time], past[1, :, :, time] = self.self_attention.keys_values(y)
        keys, values = past[:, :, :, : time + 1].flatten(3, 4)
        x = x + self.self_attention(y, keys, values, seen)[0]
        y, weights = self.cross_attention(self.norms[1](x), *image, mask)
        x = x + y
        return x + self.feed_forward(self.norms[2](x)), weights.mean(1)


@dataclass(frozen=True)
class State:
    """B images with K beams at one step; lists have one entry a layer.

    When beams change places their keys and values stay where they are, and only `seen` is put in the new order. So
    the beams of an image are so many queries to one and the same set of keys, and nothing large is copied.
    """

    time: int
    image: list[tuple[Tensor, Tensor]]  # (B, H, L, W / H)
    mask: Tensor | None  # (B, 1, 1, L)
    past: list[Tensor]  # (2, B, H, room for steps, K, W / H)
    seen: Tensor  # (B, K, time * K) bool


class TransformerModel(ImageToUnitModel):
    config_class = TransformerConfig
    config: TransformerConfig

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        width = config.d_model
        self.project = nn.Linear(config.feature_dim, width)
        self.places = Grid(config.grid if config.positions_2d else (), width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.image_norm = nn.LayerNorm(width)
        self.embed = nn.Embedding(config.pieces + 1, width)
        # Input and output share the embeddings: larger ones make every piece predict itself, a bias that takes
        # hundreds of steps to unlearn. What each layer adds is small at first, too (as in Radford et al. 2019).
        nn.init.normal_(self.embed.weight, std=0.4 * width**-0.5)
        self.decoder: list[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            DecoderLayer(config) for _ in range(config.layers)
        )
        with torch.no_grad():
            for layer in self.decoder:
                for last in (layer.self_attention.out, layer.cross_attention.out, layer.feed_forward[-1]):
                    last.weight *= (3 * config.layers) ** -0.5
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(config.pieces + 1))
        self.dropout = Dropout(config.dropout)
        self.feature_dropout = Dropout(config.feature_dropout)

    def encode(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Features (I, L, D) to what the decoder attends to, (I, L, W)."""
        # The same as project(prepare(features)), but the arithmetic is done on the weights, which are far fewer.
        weight = self.project.weight / self.feature_std
        bias = self.project.bias - weight @ self.feature_mean
        if not torch.is_autocast_enabled(features.device.type):
            features = features.to(weight.dtype)
        x = self.places.added_to(self.feature_dropout(F.linear(features, weight, bias)))
        for layer in self.encoder:
            x = layer(x, mask)
        return self.image_norm(x)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mask = None if batch.mask is None else batch.mask[:, None, None]
        image = self.encode(batch.features, mask)
        if len(image) < len(batch.images):
            image = image[batch.images]
            mask = None if mask is None else mask[batch.images]
        x = self.dropout(self._embed(batch.inputs, torch.arange(batch.inputs.shape[1], device=self.device)))
        for layer in self.decoder:
            x = layer(x, layer.cross_attention.keys_values(image), mask)
        x = x[batch.targets >= 0]  # no output layer for padding
        return self._logits(x), x.new_zeros(())

    def start(self, features: Tensor, mask: Tensor | None, beams: int) -> State:
        mask = None if mask is None else mask[:, None, None]
        image = self.encode(features, mask)
        size, _, width = image.shape
        heads = self.config.heads
        keys_values = []
        for layer in self.decoder:
            keys, values = layer.cross_attention.keys_values(image)
            keys_values.append((keys.contiguous(), values.contiguous()))  # once here, not at every step
        past = [image.new_empty(2, size, heads, 32, beams, width // heads) for _ in self.decoder]
        seen = torch.zeros(size, beams, 0, dtype=torch.bool, device=image.device)
        return State(0, keys_values, mask, past, seen)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        time, past = state.time, state.past
        if time == past[0].shape[3]:
            past = [torch.cat([p, torch.empty_like(p)], 3) for p in past]
        own = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device).expand(len(tokens), -1, -1)
        seen = torch.cat([state.seen, own], 2)
        x = self._embed(tokens, torch.tensor([time], device=tokens.device))
        attention = []
        for layer, before, image in zip(self.decoder, past, state.image, strict=True):
            x, weights = layer.step(x, before, time, seen[:, None], image, state.mask)
            attention.append(weights)
        state = replace(state, time=time + 1, past=past, seen=seen)
        return self._logits(x), torch.stack(attention).mean(0), state

    def reorder(self, state: State, index: Tensor) -> State:
        size, beams, _ = state.seen.shape
        seen = state.seen.flatten(0, 1)[index]
        if len(index) == size:
            return replace(state, seen=seen)
        items = index[:, 0] // beams  # some images are done
        image = [(keys[items], values[items]) for keys, values in state.image]
        mask = None if state.mask is None else state.mask[items]
        return replace(state, seen=seen, image=image, mask=mask, past=[p[:, items] for p in state.past])

    def _embed(self, tokens: Tensor, times: Tensor) -> Tensor:
        """Embeddings (..., W) of tokens (..., T or K) with sinusoidal times (T,) or (1,)."""
        width = self.config.d_model
        rates = torch.exp(torch.arange(0, width, 2, device=tokens.device) * (-math.log(10000.0) / width))
        angles = times[:, None] * rates
        return self.embed(tokens) * math.sqrt(width) + torch.cat([angles.sin(), angles.cos()], -1)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embed.weight, self.bias)
