"""Whether bfloat16 saves time on this machine."""

from __future__ import annotations

import torch


def bf16_is_faster(device: str) -> bool:
    """Whether `device` ("cpu" or "cuda") multiplies matrices faster in bfloat16 than in 32 bits.

    GPUs since Ampere do. Of processors with AVX-512's instructions for it, AMD's are twice as fast as in 32 bits, and
    Intel's take 1.7 times as long, unless they have AMX. Those without such instructions take longer still.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    processor = torch.cpu.get_capabilities()
    if processor.get("amx_bf16"):
        return True
    return bool(processor.get("avx512_bf16")) and "Intel" not in str(processor.get("cpu_name"))
