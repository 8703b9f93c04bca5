"""Floors: what a score is worth that was reached without looking at the image."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from i2s.score.captions import ORDER, References, bleu, cider


def random_others(references: Sequence[Sequence[str]], draws: int, seed: int) -> list[list[str]]:
    """`draws` times, for each image, a random reference of a random other image. Needs two images at least."""
    rng = random.Random(seed)
    images = len(references)
    others = [[(i + rng.randrange(1, images)) % images for i in range(images)] for _ in range(draws)]
    return [[rng.choice(references[j]) for j in draw] for draw in others]


def best_constant(
    train: Sequence[Sequence[str]],
    dev: Sequence[Sequence[str]] = (),
    seed: int = 0,
    max_images: int = 2000,
    shortlist: float = 0.1,
    finalists: int = 50,
) -> str:
    """The training caption that scores best when said of every image; texts are space-separated tokens.

    Every caption of (a sample of) the training images is tried on them: of the `shortlist` share with the highest
    corpus BLEU-4, those with the highest product of BLEU-4 and CIDEr, so that the floor is high for both. That is fast
    because a constant's n-gram matches are look-ups. Of the first `finalists`, the best one on `dev` is chosen.
    """
    if len(train) > max_images:
        train = random.Random(seed).sample(list(train), max_images)
    captions = sorted({ref for refs in train for ref in refs})
    bleu_of, cider_of = _constant_bleu(train), _constant_cider(train)
    captions.sort(key=bleu_of, reverse=True)
    captions = captions[: max(1, round(shortlist * len(captions)))]
    captions.sort(key=lambda caption: bleu_of(caption) * cider_of(caption), reverse=True)
    if not dev:
        return captions[0]
    unseen = References(dev)

    def product(caption: str) -> float:
        said = [caption] * len(unseen)
        return bleu(said, unseen)["BLEU-4"].value * cider(said, unseen).value

    return max(captions[:finalists], key=product)


def _constant_bleu(references: Sequence[Sequence[str]]) -> Callable[[str], float]:
    """A function from a constant caption to its corpus BLEU-4.

    An n-gram that the caption holds k times matches, over the corpus, as often as there are images whose references
    hold it once, twice, ... k times.
    """
    holding: Counter[tuple[tuple[str, ...], int]] = Counter()
    lengths: list[list[int]] = []
    for refs in references:
        most: Counter[tuple[str, ...]] = Counter()
        for ref in refs:
            most |= _ngrams(ref)
        holding.update((gram, k) for gram, count in most.items() for k in range(1, count + 1))
        lengths.append(sorted({len(ref.split()) for ref in refs}))
    images = len(references)

    @cache
    def closest(length: int) -> int:
        return sum(min((abs(n - length), n) for n in of_image)[1] for of_image in lengths)

    def score(caption: str) -> float:
        length = len(caption.split())
        if length < ORDER:
            return 0.0
        matched = [0] * ORDER
        for gram, count in _ngrams(caption).items():
            matched[len(gram) - 1] += sum(holding[gram, k] for k in range(1, count + 1))
        precisions = [m / (images * (length - n)) for n, m in enumerate(matched)]
        brevity = min(1.0, float(np.exp(1 - closest(length) / (images * length))))
        return brevity * float(np.prod(precisions)) ** (1 / ORDER)

    return score


def _constant_cider(references: Sequence[Sequence[str]]) -> Callable[[str], float]:
    """A function from a constant caption to its CIDEr-D (of no fixed scale), but for the clipping of repeated n-grams.

    The caption's cosines with all references are one dot product with the sum of their normalised vectors. That sum is
    kept by reference length, for CIDEr-D's penalty on unequal lengths.
    """
    grams = [[(len(ref.split()), _ngrams(ref)) for ref in refs] for refs in references]
    documents = Counter(gram for refs in grams for gram in set().union(*(counts for _, counts in refs)))
    idf = {gram: np.log(len(references) / count) for gram, count in documents.items()}

    def vector(counts: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
        """The tf-idf vector, each n-gram order of it normalised."""
        squares = [1e-12] * ORDER
        for gram, count in counts.items():
            squares[len(gram) - 1] += (count * idf[gram]) ** 2
        return {gram: count * idf[gram] / squares[len(gram) - 1] ** 0.5 for gram, count in counts.items()}

    total: dict[tuple[str, ...], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for refs in grams:
        for length, counts in refs:
            for gram, weight in vector(counts).items():
                total[gram][length] += weight / len(refs)

    @cache
    def penalty(difference: int) -> float:
        return float(np.exp(-(difference**2) / (2 * 6.0**2)))

    def score(caption: str) -> float:
        counts = _ngrams(caption)
        length = len(caption.split())
        return sum(
            weight * summed * penalty(length - other)
            for gram, weight in vector(counts).items()
            for other, summed in total[gram].items()
        )

    return score


def most_frequent(sequences: Sequence[str]) -> str:
    """The most frequent token, repeated to the mean length of the sequences."""
    tokens = [sequence.split() for sequence in sequences]
    token = Counter(t for sequence in tokens for t in sequence).most_common(1)[0][0]
    return " ".join([token] * round(float(np.mean([len(t) for t in tokens]))))


def _ngrams(text: str, order: int = ORDER) -> Counter[tuple[str, ...]]:
    tokens = text.split()
    return Counter(tuple(tokens[i : i + n]) for n in range(1, order + 1) for i in range(len(tokens) - n + 1))
