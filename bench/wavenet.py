"""WaveNet: cached generation against the naive one, which runs the network over the receptive field for each sample.

The weights are random, the same on both sides, and so are the samples that both are given; the largest difference of
what they say of the next sample is printed. The naive side speaks the last samples, where the whole receptive field is
there. Ends with status 1 if it is over 1e-5, or the ratio under 5.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from i2s.cli import parser, run
from i2s.config import load_config
from i2s.vocoder.wavenet import Cache
from i2s.vocoder.wavenet_model import CONTEXT, Network, WaveNetConfig

CONF = Path(__file__).resolve().parent.parent / "conf"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--config", type=Path, default=CONF / "vocoder_wavenet_small.yaml", metavar="FILE")
    options.add_argument("--batch", type=int, default=1, metavar="N", help="utterances spoken together")
    options.add_argument("--samples", type=int, default=1500, metavar="N", help="samples that the cached side speaks")
    options.add_argument("--naive", type=int, default=50, metavar="N", help="of them, the last that the naive one does")
    options.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    args = options.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    torch.manual_seed(0)
    config = load_config(WaveNetConfig, args.config)
    network = Network(config).double().requires_grad_(False)
    frames = -(-args.samples // config.hop_length)
    condition = network.conditioner(torch.randn(args.batch, frames + 2 * CONTEXT, config.n_mels).double())
    wavs = torch.rand(args.batch, args.samples).double() - 0.5

    with torch.inference_mode():
        began = time.perf_counter()
        cache = Cache(network, condition.permute(2, 0, 1).contiguous())
        before = torch.cat([wavs.new_zeros(args.batch, 1), wavs[:, :-1]], 1)
        cached = [cache.step(before[:, t]) for t in range(args.samples)]
        cached_s = time.perf_counter() - began

        naive = {}
        began = time.perf_counter()
        for t in range(args.samples - args.naive, args.samples):
            seen = slice(max(0, t - config.receptive_field), t + 1)
            naive[t] = network(wavs[:, seen], condition[:, :, seen])[:, -1]
        naive_s = time.perf_counter() - began

    worst = max(float((cached[t] - parameters).abs().max()) for t, parameters in naive.items())
    cached_rate, naive_rate = args.batch * args.samples / cached_s, args.batch * args.naive / naive_s
    print(f"parameters            {sum(p.numel() for p in network.parameters()) / 1e6:.1f} million, {args.config.name}")
    print(f"receptive field       {config.receptive_field} samples")
    print(f"threads, batch        {torch.get_num_threads()}, {args.batch}")
    print(f"naive                 {naive_rate:8.1f} samples/s   ({args.naive} samples, {naive_s:.1f} s)")
    print(f"cached                {cached_rate:8.1f} samples/s   ({args.samples} samples, {cached_s:.1f} s)")
    print(f"ratio                 {cached_rate / naive_rate:8.1f}")
    print(f"largest difference    {worst:8.1e}")
    if cached_rate < 5 * naive_rate or worst > 1e-5:
        sys.exit("expected: at least 5 times as fast, and a difference of at most 1e-5")


if __name__ == "__main__":
    run(main)
