"""ABX discriminability of discrete units: is a phone nearer to itself than to another that is said in its context?

A and X are tokens of one phone, B is one of another; all three are said between the same two phones. A triplet is an
error if X is nearer to B than to A, and half of one if it is as near to both. The distance of two tokens is that of
dynamic time warping over their frames, the share of the path's steps at which the units differ. Units that follow the
phones have 0 % (but where a phone is said twice in a row: warped, A A B is no other than A B B), units that tell
nothing 50 %. (Schatz et al. 2013; Dunbar et al. 2017, 2019, 2021.)

The mean is taken over the triplets of a cell (phones of A and B, context, speakers), then over the contexts, then over
the speakers, then over the ordered pairs of phones, wherever there is a triplet. Within: A, B and X have one speaker.
Across: A and B have one, X another; for one speaker of A and B, contexts and speakers of X are averaged in one go.
That is the order of the evaluation of ZeroSpeech 2021 (Libri-light); the tool of the challenges before it, ABXpy, has
not been compared. Details differ: a token has all frames whose middle lies in it, where Libri-light drops the last; of
several best paths the shortest counts, where Libri-light steps back diagonally if it can (another length for one pair
in a hundred, or fewer); and tokens are drawn once for all cells that share them.
"""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from i2s.corpus.items import Item
from i2s.errors import UserError
from i2s.score.sequences import Sequences, warped
from i2s.units.runs import expand

log = logging.getLogger(__name__)
SPEAKERS = 5  # whose X are drawn for the tokens of one speaker, as in ZeroSpeech 2021
_PAIRS = 1 << 17  # of tokens, whose distances are in memory at a time

Groups = dict[tuple[str, str], dict[str, dict[str, np.ndarray]]]  # context, speaker, phone: its tokens


class Cell(NamedTuple):
    """Triplets of one context: their tokens, int64 (Na,), (Nb,) and (Nx,), and the phones and speaker of A and B."""

    a: np.ndarray
    b: np.ndarray
    x: np.ndarray
    phones: tuple[str, str]
    speaker: str


def abx_errors(
    items: Sequence[Item],
    units: Mapping[str, Sequence[int]],
    durations: Mapping[str, Sequence[int]],
    frame_shift: float,
    most: int = 10,
    seed: int = 0,
) -> dict[str, float]:
    """The ABX errors of units and their durations in frames of `frame_shift` seconds: `within` and `across` speakers.

    Shares, of which one is left out where the list holds no triplet for it. Of the tokens of one phone, context and
    speaker at most `most` count, drawn from the list whatever the units. Raises UserError where utterances of the list
    have no units, since figures over different parts of a list do not compare, and where there is no triplet at all.
    """
    missing = sorted({i.utterance for i in items} - units.keys())
    if missing:
        raise UserError(
            f"{len(missing)} utterances of the ABX list have no units, such as {missing[0]}; is it of the same data? "
            "If so, encode them, or take them out of the list"
        )
    rng = np.random.default_rng(seed)
    sequences = cut(items, units, durations, frame_shift)
    groups = grouped(items, sequences, most, rng)
    errors = {
        "within": mean_error(within(groups), sequences),
        "across": mean_error(across(groups, rng), sequences),
    }
    found = {mode: error for mode, error in errors.items() if error is not None}
    if not found:
        raise UserError("the ABX list holds no two phones in one context, one of which is said there twice")
    return found


def cut(
    items: Sequence[Item],
    units: Mapping[str, Sequence[int]],
    durations: Mapping[str, Sequence[int]],
    frame_shift: float,
) -> Sequences:
    """The units of those frames whose middle lies in each of `items`."""
    frames = {u: expand(units[u], durations[u]) for u in {i.utterance for i in items}}
    middles = (np.arange(max(map(len, frames.values()))) + 0.5) * frame_shift
    spans = np.searchsorted(middles, [(i.onset, i.offset) for i in items])
    tokens = [frames[i.utterance][begin:end] for i, (begin, end) in zip(items, spans, strict=True)]
    return Sequences(np.concatenate(tokens), np.cumsum([len(t) for t in tokens]))


def grouped(items: Sequence[Item], sequences: Sequences, most: int, rng: np.random.Generator) -> Groups:
    """Tokens by context, speaker and phone: of each at most `most`, but for those that hold no frame."""
    places: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[item.before, item.after, item.speaker, item.phone].append(place)
    groups: Groups = defaultdict(lambda: defaultdict(dict))
    for (before, after, speaker, phone), all_places in places.items():
        drawn = rng.choice(all_places, most, replace=False) if len(all_places) > most else np.array(all_places)
        if len(heard := drawn[sequences.lengths[drawn] > 0]):
            groups[before, after][speaker][phone] = heard
    if lost := int((sequences.lengths == 0).sum()):
        log.warning("%d of the %d tokens of the ABX list hold no frame of units", lost, len(items))
    return groups


def within(groups: Groups) -> Iterator[Cell]:
    """The cells of one speaker each."""
    for speakers in groups.values():
        for speaker, phones in speakers.items():
            for p, q in itertools.permutations(phones, 2):
                if len(phones[p]) > 1:
                    yield Cell(phones[p], phones[q], phones[p], (p, q), speaker)


def across(groups: Groups, rng: np.random.Generator) -> Iterator[Cell]:
    """The cells whose X are of another speaker than A and B."""
    for speakers in groups.values():
        for speaker, phones in speakers.items():
            for p in phones if len(phones) > 1 else ():
                others = [other for other in speakers if other != speaker and p in speakers[other]]
                for other in rng.permutation(others)[:SPEAKERS]:
                    for q in phones:
                        if q != p:
                            yield Cell(phones[p], phones[q], speakers[other][p], (p, q), speaker)


def mean_error(cells: Iterable[Cell], sequences: Sequences) -> float | None:
    """The mean of cells over contexts, then speakers, then phones; None if there are none."""
    errors: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for block in blocks(cells):
        for cell, error in zip(block, cell_errors(block, sequences), strict=True):
            errors[cell.phones][cell.speaker].append(error)
    return fmean(fmean(map(fmean, speakers.values())) for speakers in errors.values()) if errors else None


def blocks(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Cells, so many that their pairs of tokens are _PAIRS, and few more."""
    block: list[Cell] = []
    pairs = 0
    for cell in cells:
        block.append(cell)
        pairs += len(cell.x) * (len(cell.a) + len(cell.b))
        if pairs >= _PAIRS:
            yield block
            block, pairs = [], 0
    if block:
        yield block


def cell_errors(cells: Sequence[Cell], sequences: Sequences) -> list[float]:
    """The mean over the triplets of each cell, in which no token is both A and X. Memory grows with pairs of tokens."""
    count = len(sequences.ends)
    pairs = [np.minimum.outer(c.x, y) * count + np.maximum.outer(c.x, y) for c in cells for y in (c.a, c.b)]
    numbers, place = np.unique(np.concatenate([p.ravel() for p in pairs]), return_inverse=True)
    distances = warped(sequences, sequences, np.stack(np.divmod(numbers, count), axis=1))
    ranks = np.unique(distances, return_inverse=True)[1][place]  # whole numbers that compare as distances do
    parts = np.split(ranks, np.cumsum([p.size for p in pairs[:-1]]))
    errors = []
    for cell, near, far in zip(cells, parts[::2], parts[1::2], strict=True):
        row = np.arange(len(cell.x))[:, None]  # one an X, far apart in numbers, so that all are searched at once
        to_a = near.reshape(len(row), -1) + (row << 32)
        to_b = np.sort(far.reshape(len(row), -1) + (row << 32), axis=None)
        nearer, no_farther = (np.searchsorted(to_b, to_a, side) for side in ("left", "right"))
        shares = (nearer + no_farther) / (2 * len(cell.b)) - row  # of the B that beat each A: (Nx, Na)
        errors.append(float(shares[cell.x[:, None] != cell.a].mean()))
    return errors
