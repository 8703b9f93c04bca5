"""Floors: what a score is worth that was reached without looking at the image."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from i2s.score.captions import ORDER, References, bleu, cider, closest_lengths


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
    references = References(train)
    texts = [ref for refs in references.texts for ref in refs]
    number = {text: i for i, text in enumerate(texts)}
    captions = np.array([number[text] for text in sorted(number)])  # one of each
    bleus = _constant_bleus(references)
    captions = captions[np.argsort(-bleus[captions], kind="stable")]
    captions = captions[: max(1, round(shortlist * len(captions)))]
    products = bleus[captions] * _constant_ciders(references, captions)
    captions = captions[np.argsort(-products, kind="stable")]
    if not dev:
        return texts[captions[0]]
    unseen = References(dev)

    def product(caption: int) -> float:
        said = [texts[caption]] * len(unseen)
        return bleu(said, unseen)["BLEU-4"].value * cider(said, unseen).value

    return texts[max(captions[:finalists], key=product)]


def _constant_bleus(references: References) -> np.ndarray:
    """Each reference's corpus BLEU-4 when it is said of every image: (references,).

    An n-gram that the caption holds k times matches, over the corpus, as often as there are images of which one
    reference holds it once, twice, ... k times.
    """
    images, lengths = len(references), references.sequences.lengths
    matched = np.zeros((len(lengths), ORDER))
    for n, (table, (keys, most)) in enumerate(zip(references.grams, references.held, strict=True)):
        grams = max(1, len(table.keys))
        for k in range(1, int(table.count.max(initial=0)) + 1):
            holding = np.bincount(keys[most >= k] % grams, minlength=grams)
            often = table.count >= k
            matched[:, n] += np.bincount(table.owner[often], holding[table.gram[often]], minlength=len(lengths))
    said = np.unique(lengths)
    closest = np.array([closest_lengths(np.full(images, length), references).sum() for length in said])
    # Shorter ones than the longest n-gram have no score.
    of_ngrams = images * np.maximum(1, lengths[:, None] - np.arange(ORDER))
    brevity = np.exp(np.minimum(0, 1 - closest[np.searchsorted(said, lengths)] / (images * np.maximum(1, lengths))))
    return brevity * (matched / of_ngrams).prod(1) ** (1 / ORDER)


def _constant_ciders(references: References, captions: np.ndarray) -> np.ndarray:
    """CIDEr-D (of no fixed scale, without the clipping of repeated n-grams) of the chosen references, each said of
    every image: (captions,).

    A caption's cosines with all references are one dot product with the sum of their normalised vectors. That sum is
    kept by reference length, for CIDEr-D's penalty on unequal lengths.
    """
    lengths = references.sequences.lengths
    shares = 1 / np.bincount(references.image)[references.image]  # an image's references count one together
    total = np.zeros((len(captions), int(lengths.max()) + 1))
    for table, (weights, _, norms) in zip(references.grams, references.vectors, strict=True):
        unit = weights / np.maximum(norms[table.owner], 1e-300)
        grams = max(1, len(table.keys))
        vectors = csr_array((unit, (table.owner, table.gram)), shape=(len(lengths), grams))
        summed = (unit * shares[table.owner], (table.gram, lengths[table.owner]))
        by_length = csr_array(summed, shape=(grams, total.shape[1]))
        total += (vectors[captions] @ by_length).toarray()
    differences = lengths[captions, None] - np.arange(total.shape[1])
    return (total * np.exp(-(differences**2) / (2 * 6.0**2))).sum(1)


def most_frequent(sequences: Sequence[str]) -> str:
    """The most frequent token, repeated to the mean length of the sequences."""
    tokens = [sequence.split() for sequence in sequences]
    token = Counter(t for sequence in tokens for t in sequence).most_common(1)[0][0]
    return " ".join([token] * round(float(np.mean([len(t) for t in tokens]))))
