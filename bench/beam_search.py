"""Beam search: 32 images in a batch against one image at a time, on the same weights, with the same output.

The model has the size of conf/i2u_transformer.yaml (or sat) on a 7 x 7 x 2048 grid and 3,000 pieces. Its weights are
random, so both sides are made to say the same number of pieces. Ends with status 1 if outputs differ or it is less
than 5x.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from i2s.config import load_config
from i2s.i2u import IMAGE_TO_UNIT
from i2s.i2u.search import Found, SearchConfig, search

CONF = Path(__file__).resolve().parent.parent / "conf"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--i2u", default="transformer", choices=list(IMAGE_TO_UNIT))
    options.add_argument("--images", type=int, default=32)
    options.add_argument("--pieces", type=int, default=25, help="length of what is said")
    options.add_argument("--beam", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeat", type=int, default=3, help="the best of so many is shown")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    part = IMAGE_TO_UNIT.get(args.i2u)
    overrides = ["pieces=3000", "feature_dim=2048", "grid=[7,7]"]
    model = part(load_config(part.config_class, CONF / f"i2u_{args.i2u}.yaml", overrides)).eval()
    with torch.no_grad():  # makes the distributions as uneven as a trained model's, so that no choice is a near tie
        for parameter in model.parameters():
            parameter.mul_(2.0)
    features = torch.randn(args.images, 49, 2048)
    config = SearchConfig(beam=args.beam, min_length=args.pieces, max_length=args.pieces)

    def batched() -> list[list[Found]]:
        return search(model, features, None, config)

    def one_by_one() -> list[list[Found]]:
        return [search(model, image[None], None, config)[0] for image in features]

    results, seconds = [], []
    for way in (batched, one_by_one):
        best = float("inf")
        for _ in range(args.repeat):
            start = time.perf_counter()
            found = way()
            best = min(best, time.perf_counter() - start)
        results.append([[f.pieces for f in hypotheses] for hypotheses in found])
        seconds.append(best)
    same = results[0] == results[1]
    ratio = seconds[1] / seconds[0]
    million = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{args.i2u}, {million:.1f} million parameters, {args.images} images, beam {args.beam}, "
          f"{args.pieces} pieces, {args.threads} threads")  # fmt: skip
    print(f"batched:             {seconds[0]:7.2f} s  {args.images / seconds[0]:7.1f} images/s")
    print(f"one image at a time: {seconds[1]:7.2f} s  {args.images / seconds[1]:7.1f} images/s")
    print(f"ratio: {ratio:.1f}x; outputs {'are the same' if same else 'DIFFER'}")
    sys.exit(not same or ratio < 5)


if __name__ == "__main__":
    main()
