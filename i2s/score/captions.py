"""Caption measures: BLEU-1..4, METEOR, ROUGE-L and CIDEr as pycocoevalcap computes them, kept per image.

Tokens are what `i2s.score.text` makes, split at spaces. pycocoevalcap's PTB tokenizer is not used: it
takes punctuation and case apart, recognisers output neither, and references are normalised in the same way.
All scores are in percent, CIDEr too (so CIDEr can exceed 100).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from i2s.errors import UserError
from i2s.files import write_text
from i2s.score.bootstrap import Bleu, Measure, mean
from i2s.score.meteor import Meteor
from i2s.score.sequences import Grams, Sequences, Vocabulary, common, find, grams, matching

ORDER = 4  # of the longest n-grams of caption measures


@dataclass(frozen=True)
class DocumentFrequencies:
    """CIDEr's idf, given: of `documents` images, how many have a reference with each n-gram (tokens by spaces)."""

    documents: int
    counts: Mapping[str, int]

    @classmethod
    def of(cls, references: Iterable[Sequence[str]]) -> DocumentFrequencies:
        """Counted in the references of each image."""
        counts: Counter[str] = Counter()
        documents = 0
        for texts in references:
            documents += 1
            tokens = [text.split() for text in texts]
            counts.update(
                {
                    " ".join(text[i : i + n])
                    for text in tokens
                    for n in range(1, ORDER + 1)
                    for i in range(len(text) - n + 1)
                }
            )
        return cls(documents, counts)


class References:
    """The references of each image (at least one), numbered once for all that is scored against them.

    CIDEr's idf comes from them, an image being a document, or from `frequencies`.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[str]],
        order: int = ORDER,
        frequencies: DocumentFrequencies | None = None,
    ):
        self.texts, self.order, self.frequencies = [list(refs) for refs in texts], order, frequencies
        self.vocabulary = Vocabulary()
        self.sequences = Sequences.of((ref for refs in texts for ref in refs), self.vocabulary)
        self.known = len(self.vocabulary)
        self.image = np.repeat(np.arange(len(texts)), [len(refs) for refs in texts])  # of each reference

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, references: References | Sequence[Sequence[str]], order: int = ORDER) -> References:
        """The references themselves if they are numbered already and hold n-grams of `order`."""
        if isinstance(references, References) and references.order >= order:
            return references
        if isinstance(references, References):
            return cls(references.texts, order, references.frequencies)
        return cls(references, order)

    @cached_property
    def first(self) -> np.ndarray:
        """The first reference of each image: (images,)."""
        return np.searchsorted(self.image, np.arange(len(self.texts)))

    @cached_property
    def grams(self) -> list[Grams]:
        """The n-grams of every reference."""
        return grams(self.sequences, self.order, self.base)

    @cached_property
    def base(self) -> int:
        """Of the n-grams' keys: the number of tokens."""
        return max(1, self.known)

    @cached_property
    def held(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per order: the sorted keys image * n-grams + n-gram, and how often one reference of the image holds it."""
        out = []
        for table in self.grams:
            key = self.image[table.owner] * max(1, len(table.keys)) + table.gram
            place = np.argsort(key, kind="stable")
            keys, begin = np.unique(key[place], return_index=True)
            out.append((keys, np.maximum.reduceat(table.count[place], begin) if len(keys) else begin))
        return out

    @cached_property
    def idf(self) -> list[np.ndarray]:
        """Per order: the weight of each n-gram."""
        if self.frequencies is None:
            counts = [
                np.bincount(keys % max(1, len(table.keys)), minlength=len(table.keys))
                for table, (keys, _) in zip(self.grams, self.held, strict=True)
            ]
            return [self.rarest - np.log(np.maximum(1, count)) for count in counts]
        spelled, out = [""], []
        names = list(self.vocabulary)[: self.known]
        for table in self.grams:
            prefix, token = np.divmod(table.keys, self.base)
            spelled = [f"{spelled[p]} {names[t]}".lstrip() for p, t in zip(prefix, token, strict=True)]
            count = np.array([self.frequencies.counts.get(gram, 1) for gram in spelled], np.float64)
            out.append(self.rarest - np.log(np.maximum(1, count)))
        return out

    @cached_property
    def rarest(self) -> float:
        """The weight of an n-gram that no image's references hold."""
        return float(np.log(float(self.frequencies.documents if self.frequencies else len(self.texts))))

    @cached_property
    def vectors(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Per order: each reference's tf-idf weights, their keys image * n-grams + n-gram, and each one's norm."""
        out = []
        for table, idf in zip(self.grams, self.idf, strict=True):
            weights = table.count * idf[table.gram]
            keys = self.image[table.owner] * max(1, len(table.keys)) + table.gram
            norms = np.sqrt(np.bincount(table.owner, weights**2, minlength=len(self.image)))
            out.append((weights, keys, norms))
        return out

    def number(self, hypotheses: Hypotheses) -> Said:
        """One hypothesis an image, numbered beside the references. Raises UserError unless there is one an image."""
        if isinstance(hypotheses, Said):
            return hypotheses
        if len(hypotheses) != len(self.texts):
            raise UserError(f"{len(hypotheses)} hypotheses for the references of {len(self.texts)} images")
        return Said(Sequences.of(hypotheses, self.vocabulary), self)


@dataclass(frozen=True)
class Said:
    """One hypothesis an image, numbered for all measures against `references`."""

    sequences: Sequences
    references: References

    def __len__(self) -> int:
        return len(self.sequences.ends)

    @property
    def lengths(self) -> np.ndarray:
        return self.sequences.lengths

    @cached_property
    def grams(self) -> list[tuple[Grams, np.ndarray]]:
        """Per order: the hypotheses' n-grams, and their numbers among the references' (-1: none has it) by pair."""
        references = self.references
        # One base for both sides, so that unknown tokens have numbers of their own.
        base = max(1, len(references.vocabulary))
        mine = grams(self.sequences, references.order, base)
        theirs = [_rebased(table, references.base, base) for table in references.grams]
        return [(table, same[table.gram]) for table, same in zip(mine, matching(mine, theirs, base), strict=True)]


Hypotheses = Sequence[str] | Said


def _rebased(table: Grams, old: int, new: int) -> Grams:
    """The same table with keys for a larger vocabulary; their order stays."""
    prefix, token = np.divmod(table.keys, old)
    return Grams(prefix * new + token, table.owner, table.gram, table.count)


def caption_measures(
    hypotheses: Sequence[str], references: References | Sequence[Sequence[str]], meteor: Meteor | None = None
) -> dict[str, Measure]:
    """Score one hypothesis an image against its references (at least one each); texts are normalised already.

    An empty hypothesis counts with score 0. METEOR is there if a running `meteor` is given.
    """
    references = References.of(references)
    said = references.number(hypotheses)
    measures = bleu(said, references)
    if meteor is not None:
        measures["METEOR"] = meteor.measure(hypotheses, references.texts)
    measures["ROUGE-L"] = rouge_l(said, references)
    measures["CIDEr"] = cider(said, references)
    return measures


def bleu(
    hypotheses: Hypotheses, references: References | Sequence[Sequence[str]], order: int = ORDER
) -> dict[str, Measure]:
    """Corpus BLEU-1..order (Papineni et al. 2002), the closest reference's length, from space-separated tokens.

    Statistics of an image: matched n-grams (order columns), n-grams, hypothesis length, reference length.
    """
    references = References.of(references, order)
    said = references.number(hypotheses)
    images = len(hypotheses)
    stats = np.zeros((images, 2 * order + 2))
    for n, ((table, known), (keys, most)) in enumerate(zip(said.grams[:order], references.held[:order], strict=True)):
        there = known >= 0
        place = find(keys, table.owner[there] * len(references.grams[n].keys) + known[there])
        matched = np.where(place < 0, 0, np.minimum(table.count[there], most[place] if len(most) else 0))
        stats[:, n] = np.bincount(table.owner[there], matched, minlength=images)
        stats[:, order + n] = np.maximum(0, said.lengths - n)
    stats[:, -2] = said.lengths
    stats[:, -1] = closest_lengths(said.lengths, references)
    return {f"BLEU-{n}": Measure(stats, Bleu(n)) for n in range(1, order + 1)}


def closest_lengths(lengths: np.ndarray, references: References) -> np.ndarray:
    """Of each image's references the length closest to the hypothesis'; of two as close, the shorter."""
    of_reference = references.sequences.lengths
    # Distance first, then the length itself, in one number.
    key = (np.abs(of_reference - lengths[references.image]) << 32) + of_reference
    return np.minimum.reduceat(key, references.first) & 0xFFFFFFFF if len(key) else lengths


def rouge_l(hypotheses: Hypotheses, references: References | Sequence[Sequence[str]], beta: float = 1.2) -> Measure:
    """ROUGE-L (Lin 2004): the mean over images of the longest-common-subsequence F score."""
    references = References.of(references)
    said = references.number(hypotheses)
    image, first = references.image, references.first
    shared = common(said.sequences, references.sequences, np.stack([image, np.arange(len(image))], axis=1))
    precision = np.maximum.reduceat(shared / np.maximum(1, said.lengths[image]), first)
    recall = np.maximum.reduceat(shared / np.maximum(1, references.sequences.lengths), first)
    return mean((1 + beta**2) * precision * recall / np.maximum(recall + beta**2 * precision, 1e-12))


def cider(hypotheses: Hypotheses, references: References | Sequence[Sequence[str]], sigma: float = 6.0) -> Measure:
    """CIDEr-D (Vedantam et al. 2015), the mean over images.

    An n-gram's weight comes from all images' references, or is given with them. It belongs to the test set as the
    references do, so bootstrap samples keep it. (With one image every weight is log 1 = 0, and so is the score.)
    """
    references = References.of(references)
    said = references.number(hypotheses)
    image = references.image
    total = np.zeros(len(image))
    for n, ((table, known), idf) in enumerate(zip(said.grams[:ORDER], references.idf[:ORDER], strict=True)):
        weights = table.count * np.where(known < 0, references.rarest, np.append(idf, 0.0)[known])
        norms = np.sqrt(np.bincount(table.owner, weights**2, minlength=len(hypotheses)))
        there = known >= 0
        theirs, wanted, their_norms = references.vectors[n]
        keys = table.owner[there] * max(1, len(references.grams[n].keys)) + known[there]
        sorted_by = np.argsort(keys)
        place = find(keys[sorted_by], wanted)
        ours = np.where(place < 0, 0.0, weights[there][sorted_by][place]) if len(keys) else np.zeros(len(wanted))
        dot = np.bincount(references.grams[n].owner, np.minimum(ours, theirs) * theirs, minlength=len(image))
        total += dot / np.maximum(norms[image] * their_norms, 1e-300)
    # The penalty on unequal lengths counts bigrams, as pycocoevalcap does.
    delta = np.maximum(0, said.lengths - 1)[image] - np.maximum(0, references.sequences.lengths - 1)
    each = total / ORDER * np.exp(-(delta.astype(np.float64) ** 2) / (2 * sigma**2))
    counts = np.bincount(image, minlength=len(hypotheses))
    return mean(10.0 * np.bincount(image, each, minlength=len(hypotheses)) / counts)


def write_frequencies(path: Path, frequencies: DocumentFrequencies) -> None:
    """Write what `read_frequencies` reads, the most frequent n-grams first."""
    ordered = sorted(frequencies.counts.items(), key=lambda item: (-item[1], item[0]))
    write_text(path, "".join([f"{frequencies.documents}\n", *(f"{count} {gram}\n" for gram, count in ordered)]))


def read_frequencies(path: Path) -> DocumentFrequencies:
    """Read document frequencies: the number of documents on the first line, then `count n-gram` lines.

    Raises UserError for anything else.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    counts: dict[str, int] = {}
    try:
        documents, *lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            count, _, gram = line.partition(" ")
            counts[gram] = int(count)
        frequencies = DocumentFrequencies(int(documents), counts)
    except ValueError as e:
        raise UserError(f"{path}: expected the number of documents, then lines 'count n-gram': {e}") from e
    if frequencies.documents < max([1, *counts.values()]):
        raise UserError(f"{path}: an n-gram is in more than the {frequencies.documents} documents of the first line")
    return frequencies
