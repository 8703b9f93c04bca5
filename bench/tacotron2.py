"""Tacotron 2 at paper size: batched synthesis beside ESPnet's own, one utterance at a time, on the same weights.

The weights are random, so no stop is heard and every utterance is decoded to the same number of frames a unit. The
pre-net's dropout is off on both sides, which makes them comparable: the largest difference is printed. Ends with
status 1 if it is over 1e-4, or the ratio under 8.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from i2s.cli import parser, run
from i2s.u2s.tacotron2 import FIRST_UNIT, Tacotron2Config, Tacotron2Model


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--batch", type=int, default=32, metavar="N", help="utterances decoded together")
    options.add_argument("--units", type=int, default=60, metavar="N", help="units of the longest utterance")
    options.add_argument("--ratio", type=float, default=2.0, help="frames decoded for each unit")
    options.add_argument("--espnet", type=int, default=4, metavar="N", help="how many of them ESPnet decodes as well")
    options.add_argument("--threads", type=int, default=0, help="0: as PyTorch chooses")
    args = options.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    torch.manual_seed(0)
    size = 200
    config = Tacotron2Config(
        reduction_factor=1, dropout_rate=0.0, threshold=2.0, max_ratio=args.ratio, prenet_seed=None
    )
    model = Tacotron2Model(config, size, n_mels=80).eval()
    model.tts.dec.prenet.dropout_rate = 0.0
    rng = np.random.default_rng(0)
    units = [
        rng.integers(0, size, rng.integers(args.units * 3 // 4, args.units + 1)).tolist() for _ in range(args.batch)
    ]
    model.synthesise([u[:3] for u in units[:2]])  # warm up

    began = time.perf_counter()
    ours = model.synthesise(units)
    ours_s = time.perf_counter() - began

    # Spread over the lengths of the batch, as the rest of it is.
    some = sorted(range(args.batch), key=lambda i: len(units[i]))[:: max(1, args.batch // args.espnet)]
    theirs = {}
    began = time.perf_counter()
    with torch.inference_mode():
        for i in some:
            tokens = torch.tensor(units[i]) + FIRST_UNIT
            theirs[i] = model.tts.inference(tokens, threshold=2.0, maxlenratio=args.ratio)["feat_gen"].numpy()
    theirs_s = time.perf_counter() - began

    worst = max(float(np.abs(ours[i].mel - mel).max()) for i, mel in theirs.items())
    ours_rate = sum(len(s.mel) for s in ours) / ours_s
    theirs_rate = sum(map(len, theirs.values())) / theirs_s
    print(f"parameters            {sum(p.numel() for p in model.parameters()) / 1e6:.1f} million")
    print(f"threads               {torch.get_num_threads()}")
    print(f"ESPnet, one by one    {theirs_rate:8.1f} frames/s   ({len(theirs)} utterances, {theirs_s:.1f} s)")
    print(f"ours, batch of {args.batch:<6} {ours_rate:8.1f} frames/s   ({len(ours)} utterances, {ours_s:.1f} s)")
    print(f"ratio                 {ours_rate / theirs_rate:8.1f}")
    print(f"largest difference    {worst:8.1e}   of normalised log-mel")
    if ours_rate < 8 * theirs_rate or worst > 1e-4:
        sys.exit("expected: at least 8 times as fast, and a difference of at most 1e-4")


if __name__ == "__main__":
    run(main)
