"""Losses of image-to-spectrogram models: spectrogram and stop token, and masked margin softmax between two views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from i2s.u2s.base import frame_mask


def spectrogram_losses(
    after: Tensor, before: Tensor, logits: Tensor, target: Tensor, lengths: Tensor, stop_weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Squared error before and after the post-net, added up, and binary cross-entropy of the stop token.

    after, before, target: (B, T, n_mels); logits: (B, T); lengths: (B,) frames. The last frame of an utterance is to
    stop; what lies behind it counts in neither loss. `stop_weight`: of that one frame against all the others.
    """
    mask = frame_mask(lengths, target.shape[1])
    squared = ((after - target).square() + (before - target).square()).mean(-1)[mask].mean()
    stop = (torch.arange(target.shape[1], device=target.device) == lengths[:, None] - 1).to(logits)
    weight = logits.new_tensor(stop_weight)
    return squared, F.binary_cross_entropy_with_logits(logits[mask], stop[mask], pos_weight=weight)


def masked_margin_softmax(first: Tensor, second: Tensor, groups: Tensor, margin: float) -> Tensor:
    """Ranking loss between two views of B things, both ways added up (Ilharco et al. 2019, equations 2 to 4).

    first, second: (B, D), whose products are the similarities. groups: (B,); another of the same group (another caption
    of the same image) is no negative and is left out. `margin` is taken from the similarity of the true pairs.
    """
    pairs = torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    # No matrix product, which mixed precision would round to fewer digits than the margin has.
    similarity = (first.float()[:, None] * second.float()).sum(-1)
    logits = similarity - margin * pairs
    logits = logits.masked_fill((groups[:, None] == groups) & ~pairs, -torch.inf)
    index = torch.arange(len(groups), device=groups.device)
    return F.cross_entropy(logits, index) + F.cross_entropy(logits.T, index)
