"""How much there is in what a system says: one that says the same ten sentences must look like that."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from i2s.score.bootstrap import Bleu, Measure
from i2s.score.captions import ORDER, References, bleu
from i2s.score.sequences import Sequences, Vocabulary, grams


def diversity(
    said: Sequence[str], training: Collection[str] = (), samples: Sequence[Sequence[str]] = ()
) -> dict[str, float]:
    """Of captions, one an image, in percent where nothing else is said:

    captions and vocabulary (numbers); distinct captions; `copied`, those that are in `training`; `self_bleu`, BLEU-4 of
    each against all the others (Zhu et al. 2018); `mbleu`, BLEU-4 of each of an image's samples against its other ones
    (Shetty et al. 2017), where `samples` holds several of each image.
    """
    known = set(training)
    out = {
        "captions": len(said),
        "vocabulary": len({token for caption in said for token in caption.split()}),
        "distinct": 100 * len(set(said)) / max(1, len(said)),
    }
    if known:
        out["copied"] = 100 * float(np.mean([caption in known for caption in said]))
    if len(said) > 1:
        out["self_bleu"] = self_bleu(said).value
    several = [group for group in samples if len(group) > 1]
    if several:
        out["mbleu"] = mbleu(several).value
    return {name: round(value, 4) for name, value in out.items()}


def self_bleu(said: Sequence[str], order: int = ORDER) -> Measure:
    """BLEU-`order` of each caption against all others, from at least two captions.

    An n-gram's most frequent use in the others is its most frequent use of all, or the next one for the caption that
    holds that: no pair of captions is compared.
    """
    vocabulary = Vocabulary()
    sequences = Sequences.of(said, vocabulary)
    stats = np.zeros((len(said), 2 * order + 2))
    for n, table in enumerate(grams(sequences, order, max(1, len(vocabulary)))):
        by_gram = np.lexsort((-table.count, table.gram))
        gram, count = table.gram[by_gram], table.count[by_gram]
        first = np.searchsorted(gram, gram)
        has_next = np.append(gram[1:] == gram[:-1], False)
        following = np.where(has_next, np.append(count[1:], 0), 0)
        most = np.where(np.arange(len(gram)) == first, following[first] if len(gram) else first, count[first])
        stats[:, n] = np.bincount(table.owner[by_gram], np.minimum(count, most), minlength=len(said))
        stats[:, order + n] = np.maximum(0, sequences.lengths - n)
    stats[:, -2] = sequences.lengths
    stats[:, -1] = _closest_other(sequences.lengths)
    return Measure(stats, Bleu(order))


def mbleu(samples: Sequence[Sequence[str]]) -> Measure:
    """BLEU-4 of each sample of an image (at least two each) against the other samples of it."""
    stats: np.ndarray | float = 0.0
    combine = Bleu(ORDER)
    for turn in range(max(map(len, samples))):
        here = [i for i, group in enumerate(samples) if turn < len(group)]
        others = References([[*samples[i][:turn], *samples[i][turn + 1 :]] for i in here])
        spread = np.zeros((len(samples), 2 * ORDER + 2))
        spread[here] = bleu([samples[i][turn] for i in here], others)[f"BLEU-{ORDER}"].stats
        stats = stats + spread
    return Measure(np.asarray(stats), combine)


def _closest_other(lengths: np.ndarray) -> np.ndarray:
    """For each length the closest of the other ones; of two as close, the shorter."""
    ordered = np.sort(lengths)
    place = np.searchsorted(ordered, lengths)  # of the first that is as long
    alone = np.searchsorted(ordered, lengths, side="right") - place == 1
    below = np.where(place > 0, ordered[place - 1], -(1 << 30))
    above = ordered[np.minimum(place + 1, len(ordered) - 1)]
    above = np.where(place + 1 < len(ordered), above, 1 << 30)
    return np.where(alone, np.where(lengths - below <= above - lengths, below, above), lengths)
