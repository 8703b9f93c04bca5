"""Scheduled sampling (Bengio et al. 2015) for ESPnet's Tacotron 2 decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from espnet.nets.pytorch_backend.tacotron2.decoder import Decoder
from torch import Tensor


def truth_share(step: int, decay: float, floor: float) -> float:
    """How often the decoder is fed the true last frame at training step `step`: inverse sigmoid decay.

    decay / (decay + exp(step / decay)), and `floor` at least; decay 0 or floor 1: always.
    """
    if decay <= 0 or floor >= 1:
        return 1.0
    return max(floor, decay / (decay + math.exp(min(step / decay, 700.0))))


@contextmanager
def scheduled_sampling(decoder: Decoder, share: float) -> Iterator[None]:
    """Within the block `decoder(...)` is fed, at each step and for each utterance, the true last frame with
    probability `share`, else the one that it made itself (from which no gradient flows): 1 is teacher forcing, 0 is
    what happens in synthesis.

    ESPnet's decoder feeds the truth to its pre-net; hooks there and on its output layer exchange it.
    """
    if share >= 1:
        yield
        return
    made: list[Tensor] = []

    def begin(_: Any, __: Any) -> None:
        made.clear()

    def remember(_: Any, __: Any, out: Tensor) -> None:
        frames = out.detach().view(len(out), decoder.odim, -1)
        made[:] = [frames[:, :, -1]]

    def exchange(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor] | None:
        if not made:  # the first step is fed zeros
            return None
        own = torch.rand(len(inputs[0]), 1, device=inputs[0].device) >= share
        return (torch.where(own, made[0].to(inputs[0]), inputs[0]),)

    hooks = [
        decoder.register_forward_pre_hook(begin),
        decoder.feat_out.register_forward_hook(remember),
        decoder.prenet.register_forward_pre_hook(exchange),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
