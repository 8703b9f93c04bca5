"""Caption scores: ours against pycocoevalcap's own classes, on the same hypotheses and references.

Without files, makes 1,000 images with five references each of about Flickr8k's lengths. With files (`id text`, see
utils/score.sh), scores those. Prints both sides' time, the ratio, and the largest difference of any corpus or sentence
score, for BLEU-1..4, ROUGE-L and CIDEr together, and for METEOR (one Java process on either side).
Run it from the repository's root:

    python bench/score.py [--repeats N] [--no-meteor] [HYPOTHESES REFERENCES ... [--utt2image FILE]]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor as TheirMeteor
from pycocoevalcap.rouge.rouge import Rouge

from i2s.score.captions import References, caption_measures
from i2s.score.inputs import Files, read_files
from i2s.score.java import find_java
from i2s.score.meteor import Meteor

T = TypeVar("T")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--no-meteor", action="store_true")
parser.add_argument("--utt2image", type=Path, action="append", default=[])
parser.add_argument("files", type=Path, nargs="*")
args = parser.parse_args()


def invented(images: int, each: int, seed: int) -> list[list[str]]:
    """Captions of Zipf-distributed words; those of an image share most of them."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(4000)]
    weights = [1 / (i + 2) for i in range(len(words))]
    out = []
    for _ in range(images):
        about = rng.choices(words, weights, k=12)
        lengths = [rng.randrange(6, 16) for _ in range(each)]
        out.append(
            [
                " ".join(rng.choice(about) if rng.random() < 0.7 else rng.choices(words, weights)[0] for _ in range(n))
                for n in lengths
            ]
        )
    return out


def timed(work: Callable[[], T], repeats: int) -> tuple[T, float]:
    """The result of `work` and its fastest time of `repeats`, in seconds of this process's processor time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return result, min(times)


if args.files:
    inputs, _ = read_files(Files(args.files[0], tuple(args.files[1:]), utt2image=tuple(args.utt2image)))
    references = [list(of_image.values()) for of_image in inputs.references.values()]
    hypotheses = list(inputs.system.values())
else:
    made = invented(1000, 6, 0)
    hypotheses, references = [refs[0] for refs in made], [refs[1:] for refs in made]
gts, res = dict(enumerate(references)), {i: [said] for i, said in enumerate(hypotheses)}
print(f"{len(hypotheses)} images, {np.mean([len(r) for r in references]):.2f} references each")


def theirs() -> dict[str, tuple[float, np.ndarray]]:
    out = {}
    with contextlib.redirect_stdout(io.StringIO()):
        corpus, each = Bleu(4).compute_score(gts, res)
    out |= {f"BLEU-{n + 1}": (corpus[n], np.array(each[n])) for n in range(4)}
    return out | {"ROUGE-L": Rouge().compute_score(gts, res), "CIDEr": Cider().compute_score(gts, res)}


their_scores, their_time = timed(theirs, args.repeats)
measures, our_time = timed(lambda: caption_measures(hypotheses, references), args.repeats)
numbered = References(references)
_, again = timed(lambda: caption_measures(hypotheses, numbered), args.repeats)
# In fractions of 1, as pycocoevalcap tells scores.
difference = max(
    max(abs(measures[m].value / 100 - corpus), np.abs(measures[m].per_image() / 100 - each).max())
    for m, (corpus, each) in their_scores.items()
)
print("BLEU-1..4, ROUGE-L, CIDEr (seconds of processor time):")
print(f"  pycocoevalcap                {their_time:8.3f}")
print(f"  i2s                          {our_time:8.3f}   {their_time / our_time:5.1f} times faster")
print(f"  i2s, references known before {again:8.3f}   {their_time / again:5.1f} times faster")
print(f"  largest difference of any corpus or sentence score: {difference:.1e}")

if not args.no_meteor and (java := find_java()):
    os.environ["PATH"] = f"{Path(java).parent}{os.pathsep}{os.environ['PATH']}"

    def processor() -> float:
        """Processor time of this process and of the ended Java processes."""
        return sum(os.times()[:4])

    start = processor()
    their_meteor = TheirMeteor()
    corpus, each = their_meteor.compute_score(gts, res)
    their_meteor.meteor_p.kill()
    their_meteor.meteor_p.wait()
    middle = processor()
    with Meteor() as meteor:
        ours = meteor.measure(hypotheses, references)
    their_time, our_time = middle - start, processor() - middle
    difference = max(abs(ours.value / 100 - corpus), np.abs(ours.per_image() / 100 - np.array(each)).max())
    print("METEOR (seconds of processor time, Java's included, started once on either side):")
    print(f"  pycocoevalcap                {their_time:8.3f}")
    print(f"  i2s                          {our_time:8.3f}   {their_time / our_time:5.1f} times faster")
    print(f"  largest difference: {difference:.1e}")
