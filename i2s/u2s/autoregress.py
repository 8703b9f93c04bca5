"""ESPnet's Tacotron 2 modules, run on whole batches: each utterance comes out as if it were alone.

ESPnet decodes one utterance at a time. Here all of a batch take each step together, those that have ended leave the
batch, and padding is kept from reaching any of them. Works for any memory: of units, or of image regions.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from espnet.nets.pytorch_backend.rnn.attentions import AttLoc
from espnet.nets.pytorch_backend.tacotron2.decoder import Decoder, Postnet, ZoneOutCell
from espnet.nets.pytorch_backend.tacotron2.encoder import Encoder
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from i2s.errors import UserError
from i2s.train.fit import TrainConfig

# ESPnet's attention says so, on the root logger, at every batch.
logging.getLogger().addFilter(lambda record: not str(record.msg).startswith("Using make_pad_mask with a list"))


@dataclass(frozen=True)
class DecoderConfig(TrainConfig):
    """Sizes of the decoder, named as in ESPnet; the defaults are Tacotron 2's (Shen et al. 2018)."""

    adim: int = 128
    aconv_chans: int = 32
    aconv_filts: int = 15
    dlayers: int = 2
    dunits: int = 1024
    prenet_layers: int = 2
    prenet_units: int = 256
    postnet_layers: int = 5
    postnet_chans: int = 512
    postnet_filts: int = 5
    reduction_factor: int = 1  # frames a decoder step
    dropout_rate: float = 0.5
    zoneout_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction_factor < 1:
            raise UserError(f"reduction_factor={self.reduction_factor}: must be at least 1")

    def sizes(self) -> dict[str, Any]:
        """All of these by name."""
        own = {field.name for field in fields(DecoderConfig)} - {field.name for field in fields(TrainConfig)}
        return {name: getattr(self, name) for name in own}


@dataclass(frozen=True)
class Decoded:
    """One utterance: frames (T, odim) after the post-net, attention (steps, memory), and whether a stop was heard."""

    frames: torch.Tensor
    attention: torch.Tensor
    stopped: bool


@dataclass(frozen=True)
class DecodeOptions:
    """threshold: of the stop probability. max_ratio, min_ratio: bounds of frames / memory length, as in ESPnet.

    longest: bound in frames, in place of max_ratio; 0: none. A last step may go beyond either by its own frames.
    window: (backward, forward): a step may only attend to positions at most `backward` before and less than `forward`
    after the last step's favourite (Ping et al. 2018), or None. seed: of the pre-net's dropout, which stays on in
    synthesis as in the paper; every utterance gets the same masks. None: no dropout.
    """

    threshold: float = 0.5
    max_ratio: float = 10.0
    min_ratio: float = 0.0
    longest: int = 0
    window: tuple[int, int] | None = None
    seed: int | None = 0


def encode(encoder: Encoder, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Padded tokens (B, N) of any order of lengths (B,) to memory (B, N, eunits).

    Padding is zeroed after each layer: a convolution else carries it into the end of shorter utterances.
    """
    mask = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None])[:, None]
    x = encoder.embed(tokens).transpose(1, 2) * mask
    for layer in encoder.convs or ():
        x = (x + layer(x) if encoder.use_residual else layer(x)) * mask
    x = x.transpose(1, 2)
    if encoder.blstm is None:
        return x
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(encoder.blstm(packed)[0], batch_first=True, total_length=tokens.shape[1])[0]


@torch.inference_mode()
def decode(decoder: Decoder, memory: torch.Tensor, mask: torch.Tensor, options: DecodeOptions) -> list[Decoded]:
    """Autoregressive synthesis from memory (B, N, idim) with mask (B, N), True where it holds data (N is the longest).

    Equal to `decoder.inference` on each item (location-sensitive attention), up to rounding.
    """
    assert isinstance(decoder.att, AttLoc), "batched decoding knows location-sensitive attention only"
    att, batch, ratio = decoder.att, len(memory), decoder.reduction_factor
    lengths = mask.sum(1)
    most, least = (lengths * options.max_ratio).long(), (lengths * options.min_ratio).long()
    if options.longest:
        most = torch.full_like(lengths, options.longest)

    keys = att.mlp_enc(memory)  # (B, N, adim)
    blocked = ~mask
    # Convolution of the attention and projection of its channels are both linear: one convolution does both.
    # As so few channels go in, a product with the shifted weights is the quicker form of it.
    location = torch.einsum("ac,ck->ka", att.mlp_att.weight, att.loc_conv.weight[:, 0, 0])
    width, margin = len(location), att.loc_conv.padding[1]
    lstm = [_Cell(cell) for cell in decoder.lstm]
    hidden = [memory.new_zeros(batch, cell.hidden_size) for cell in decoder.lstm]
    cells = [torch.zeros_like(h) for h in hidden]
    out = memory.new_zeros(batch, decoder.odim)
    seen = mask / lengths[:, None].to(memory.dtype)
    favourite = torch.zeros(batch, dtype=torch.long, device=memory.device)
    positions = torch.arange(memory.shape[1], device=memory.device)

    active = torch.arange(batch, device=memory.device)  # which utterances the rows above belong to
    outs: list[list[torch.Tensor]] = [[] for _ in range(batch)]
    attentions: list[list[torch.Tensor]] = [[] for _ in range(batch)]
    stopped = [False] * batch
    step = 0
    while len(active):
        step += 1
        if options.window is not None:
            near = favourite[:, None]
            outside = (positions < near - options.window[0]) | (positions >= near + options.window[1])
            blocked_now = blocked | outside
        else:
            blocked_now = blocked
        shifted = F.pad(seen, (margin, margin)).unfold(1, width, 1)  # (B, N, width)
        place = (shifted.reshape(-1, width) @ location).view_as(keys)
        energy = att.gvec(place.add_(keys).add_(att.mlp_dec(hidden[0])[:, None]).tanh_()).squeeze(2)
        weights = F.softmax(2.0 * energy.masked_fill(blocked_now, -float("inf")), 1)  # AttLoc's own scaling
        context = torch.bmm(weights[:, None], memory).squeeze(1)

        x = torch.cat([context, _prenet(decoder, out, options.seed, step)], 1)
        for i, cell in enumerate(lstm):
            x, cells[i] = cell(x, hidden[i], cells[i])
            hidden[i] = x
        if decoder.use_concate:
            x = torch.cat([x, context], 1)
        frames = decoder.feat_out(x).view(len(active), decoder.odim, ratio)
        if decoder.output_activation_fn is not None:
            out = decoder.output_activation_fn(frames[:, :, -1])
        else:
            out = frames[:, :, -1]
        seen = seen + weights if decoder.cumulate_att_w and step > 1 else weights
        favourite = weights.argmax(1)

        for row, index in enumerate(active.tolist()):
            outs[index].append(frames[row])
            attentions[index].append(weights[row])
        heard = (torch.sigmoid(decoder.prob_out(x)) >= options.threshold).any(1)
        ended = (heard | (step * ratio >= most)) & (step * ratio >= least)
        if ended.any():
            for index, by_itself in zip(active[ended].tolist(), heard[ended].tolist(), strict=True):
                stopped[index] = by_itself
            go = ~ended
            active, memory, keys, blocked, out, seen = (x[go] for x in (active, memory, keys, blocked, out, seen))
            most, least, favourite = most[go], least[go], favourite[go]
            hidden, cells = [h[go] for h in hidden], [c[go] for c in cells]

    frames_out = _postnet(decoder, [torch.cat(frames, 1) for frames in outs])
    return [
        Decoded(frames, torch.stack(weights)[:, :length], by_itself)
        for frames, weights, length, by_itself in zip(frames_out, attentions, lengths.tolist(), stopped, strict=True)
    ]


@contextmanager
def masked_postnet(postnet: Postnet | None, lengths: torch.Tensor) -> Iterator[None]:
    """Within the block ESPnet's post-net runs on each of a batch as if it were alone: what was drawn behind the lengths
    (B,) is zeroed before each layer, whose convolution else carries it into the end.
    """

    def mask(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        inside = torch.arange(inputs[0].shape[2], device=lengths.device) < lengths[:, None]
        return (inputs[0] * inside[:, None],)

    layers = postnet.postnet if postnet is not None else ()
    hooks = [layer.register_forward_pre_hook(mask) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Cell:
    """An LSTM cell in evaluation, with ESPnet's zoneout or without: its two products are made one.

    On a CPU that one is left to oneDNN, whose packed weights are twice as fast here as PyTorch's own choice.
    """

    def __init__(self, cell: torch.nn.Module):
        self.zoneout = cell.zoneout_rate if isinstance(cell, ZoneOutCell) else 0.0
        inner = cell.cell if isinstance(cell, ZoneOutCell) else cell
        assert isinstance(inner, torch.nn.LSTMCell)
        weight, bias = torch.cat([inner.weight_ih, inner.weight_hh], 1), inner.bias_ih + inner.bias_hh
        gates = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        gates.weight, gates.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
        packs = weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        self.gates = _packed(gates.eval()) if packs else gates

    def __call__(self, x: torch.Tensor, hidden: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input and states (B, ...) to the next states (B, units)."""
        keep, forget, new, out = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
        next_cells = forget.sigmoid() * cells + keep.sigmoid() * new.tanh()
        next_hidden = out.sigmoid() * next_cells.tanh()
        if self.zoneout:
            return torch.lerp(next_hidden, hidden, self.zoneout), torch.lerp(next_cells, cells, self.zoneout)
        return next_hidden, next_cells


def _packed(layer: torch.nn.Linear) -> torch.nn.Module:
    """The layer with its weights packed by oneDNN."""
    with warnings.catch_warnings():  # of PyTorch about its own module, at the first import
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.utils.mkldnn import to_mkldnn
    return to_mkldnn(layer)


def _prenet(decoder: Decoder, out: torch.Tensor, seed: int | None, step: int) -> torch.Tensor:
    """The pre-net's output (B, units); its dropout masks are drawn from (seed, step) for all utterances alike."""
    if decoder.prenet is None:
        return out
    rate = decoder.prenet.dropout_rate
    generator = torch.Generator().manual_seed((seed or 0) * 1_000_003 + step)
    for layer in decoder.prenet.prenet:
        out = layer(out)
        if seed is not None and rate > 0:
            keep = torch.rand(out.shape[1], generator=generator) >= rate
            out = out * (keep / (1 - rate)).to(out)
    return out


def _postnet(decoder: Decoder, outs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Frames (odim, T) of each utterance to what the post-net makes of them (T, odim)."""
    lengths = torch.tensor([frames.shape[1] for frames in outs], device=outs[0].device)
    before = pad_sequence([frames.T for frames in outs], batch_first=True).transpose(1, 2)
    after = before
    if decoder.postnet is not None:
        with masked_postnet(decoder.postnet, lengths):
            after = before + decoder.postnet(before)
    if decoder.output_activation_fn is not None:
        after = decoder.output_activation_fn(after)
    return [frames.T[:length] for frames, length in zip(after, lengths.tolist(), strict=True)]
