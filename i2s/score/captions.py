"""Caption measures: BLEU-1..4, METEOR, ROUGE-L and CIDEr as pycocoevalcap computes them, kept per image.

Tokens are the words of `i2s.score.text.normalise`, split at spaces. pycocoevalcap's PTB tokenizer is not used: it
takes punctuation and case apart, recognisers output neither, and references are normalised in the same way.
All scores are in percent, CIDEr too (so CIDEr can exceed 100).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from i2s.score.bootstrap import Measure, mean
from i2s.score.meteor import Meteor

# The constants by which pycocoevalcap's BLEU avoids 0/0.
_SMALL, _TINY = 1e-9, 1e-15


def caption_measures(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], meteor: Meteor | None = None
) -> dict[str, Measure]:
    """Score one hypothesis an image against its references (at least one each); texts are normalised already.

    An empty hypothesis counts with score 0. METEOR is there if a running `meteor` is given.
    """
    measures = bleu(hypotheses, references)
    if meteor is not None:
        measures["METEOR"] = meteor.measure(hypotheses, references)
    measures["ROUGE-L"] = rouge_l(hypotheses, references)
    measures["CIDEr"] = cider(hypotheses, references)
    return measures


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], order: int = 4) -> dict[str, Measure]:
    """Corpus BLEU-1..order (Papineni et al. 2002), the closest reference's length, from space-separated tokens.

    Statistics of an image: matched n-grams (order columns), n-grams, hypothesis length, reference length.
    """
    scorer = BleuScorer(n=order)
    for hypothesis, refs in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, list(refs))
    stats = np.array(
        [
            [*c["correct"], *c["guess"], c["testlen"], min((abs(n - c["testlen"]), n) for n in c["reflen"])[1]]
            for c in scorer.ctest
        ],
        np.float64,
    ).reshape(-1, 2 * order + 2)
    return {f"BLEU-{n}": Measure(stats, _Bleu(n, order)) for n in range(1, order + 1)}


class _Bleu:
    """Sums of BLEU statistics (R, 2 * order + 2) to BLEU-n in percent (R,)."""

    def __init__(self, n: int, order: int):
        self.n, self.order = n, order

    def __call__(self, sums: np.ndarray) -> np.ndarray:
        n, order = self.n, self.order
        precisions = (sums[:, :n] + _TINY) / (sums[:, order : order + n] + _SMALL)
        length = (sums[:, -2] + _TINY) / (sums[:, -1] + _SMALL)
        brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / length))
        return 100.0 * np.exp(np.log(precisions).mean(1)) * brevity


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """ROUGE-L (Lin 2004): the mean over images of the longest-common-subsequence F score (beta 1.2)."""
    rouge = Rouge()
    return mean([rouge.calc_score([h], list(refs)) for h, refs in zip(hypotheses, references, strict=True)])


def cider(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """CIDEr-D (Vedantam et al. 2015), the mean over images.

    An n-gram's weight comes from all images' references. It belongs to the test set as the references do, so bootstrap
    samples keep it. (With one image every weight is log 1 = 0, and so is the score.)
    """
    scorer = CiderScorer()
    for hypothesis, refs in zip(hypotheses, references, strict=True):
        scorer += (hypothesis, list(refs))
    return mean(scorer.compute_score()[1])
