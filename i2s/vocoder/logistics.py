"""A discretised mixture of logistics, the distribution of one 16-bit sample: PixelCNN++ (Salimans et al. 2017), as
Parallel WaveNet (van den Oord et al. 2017) uses it for speech.

Parameters (..., 3 * M) of M components: logits of their weights, means, logarithms of their scales. Samples are floats
from -1 to 1 - 2 / levels in steps of 2 / levels. Each stands for all values nearer to it than to any other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 65536
LEAST_LOG_SCALE = -9.0  # four steps of 16 bits: what is narrower is not heard, but makes steep gradients


def log_likelihood(parameters: Tensor, samples: Tensor, levels: int = LEVELS) -> Tensor:
    """Logarithms, in nats, of the probabilities of samples (...) under parameters (..., 3 * M): (...)."""
    logits, means, scales = parameters.chunk(3, -1)
    inverse = torch.exp(-scales.clamp(min=LEAST_LOG_SCALE))
    half, samples = 1 / levels, samples[..., None]
    upper, lower = (samples - means + half) * inverse, (samples - means - half) * inverse
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    # The log of sigmoid(upper) - sigmoid(lower), without a difference of numbers that may be equal.
    between = below + above + torch.log(-torch.expm1(-2 * half * inverse))
    within = torch.where(samples < half - 1, below, torch.where(samples > 1 - 3 * half, above, between))
    return torch.logsumexp(F.log_softmax(logits, -1) + within, -1)


def draw(parameters: Tensor, noise: Tensor, levels: int = LEVELS) -> Tensor:
    """Samples (...) of the distributions with parameters (..., 3 * M), made of uniform `noise` (..., M + 1) in (0, 1).

    The component is chosen by the Gumbel-max trick.
    """
    logits, means, scales = parameters.chunk(3, -1)
    pick, value = noise[..., :-1], noise[..., -1:]
    chosen = (logits - torch.log(-torch.log(pick))).argmax(-1, keepdim=True)
    scale = scales.gather(-1, chosen).clamp(min=LEAST_LOG_SCALE).exp()
    drawn = means.gather(-1, chosen) + scale * torch.logit(value)
    return (drawn[..., 0] * (levels / 2)).round().clamp(-levels / 2, levels / 2 - 1) / (levels / 2)
