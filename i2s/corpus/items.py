"""Phones in context and when they are said, and ZeroSpeech's table of them, the .item file that ABX is measured on."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from i2s.corpus.ctm import ROUNDING, SILENCE, Interval
from i2s.errors import UserError
from i2s.files import write_text

HEADER = "#file onset offset #phone prev-phone next-phone speaker"
_NAMES = ("file", "onset", "offset", "phone", "prev", "next", "speaker")  # or longer ones, as file_ID

Extent = Literal["triphone", "phone"]
EXTENTS: tuple[Extent, ...] = get_args(Extent)


class Item(NamedTuple):
    """A phone between two others: one line of the table. Times are in seconds."""

    utterance: str
    onset: float
    offset: float
    phone: str
    before: str
    after: str
    speaker: str


def read_items(path: str | Path) -> list[Item]:
    """The items in file order. Raises UserError naming file and line for a header or a line of another form."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e
    names = [re.sub("[^a-z]", "", name.lower()) for name in lines[0].split()] if lines else []
    if len(names) != len(_NAMES) or not all(map(str.startswith, names, _NAMES)):
        raise UserError(f"{path}:1: expected the header '{HEADER}'")
    items = []
    for number, line in enumerate(lines[1:], 2):
        try:
            utterance, onset, offset, *labels = line.split()
            item = Item(utterance, float(onset), float(offset), *labels)
            if not 0 <= item.onset <= item.offset < math.inf:
                raise ValueError("onset and offset must be at least 0, and in order")
        except (ValueError, TypeError) as e:
            raise UserError(f"{path}:{number}: expected '{HEADER}', times in seconds, got {line[:80]!r}") from e
        items.append(item)
    if not items:
        raise UserError(f"{path}: holds no line but its header")
    return items


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    """Write the table, whole or not at all."""
    lines = [f"{i.utterance} {i.onset:.4f} {i.offset:.4f} {' '.join(i[3:])}\n" for i in items]
    write_text(path, "".join([HEADER + "\n", *lines]))


def make_items(alignment: Mapping[str, Sequence[Interval]], speakers: Mapping[str, str], extent: Extent) -> list[Item]:
    """The phones of aligned utterances that have a phone on either side: one beside a pause has none.

    Before the first phone of an utterance and after its last the context is SIL, which is never part of the item.
    Items overlap where their extent is the `triphone`, the phone with those beside it, as in the lists of the
    ZeroSpeech challenges. Raises UserError for an utterance without a speaker.
    """
    items = []
    for utterance, intervals in alignment.items():
        if utterance not in speakers:
            raise UserError(f"{utterance} is aligned, but has no speaker; is utt2spk of the same data?")
        phones = [i for i in intervals if i.symbol != SILENCE]
        if not phones:
            continue
        edges = Interval(SILENCE, phones[0].begin, phones[0].begin), Interval(SILENCE, phones[-1].end, phones[-1].end)
        row = [edges[0], *phones, edges[1]]
        for before, phone, after in zip(row, row[1:], row[2:], strict=False):
            if any(b.begin - a.end > ROUNDING for a, b in itertools.pairwise((before, phone, after))):
                continue
            first, last = (before, after) if extent == "triphone" else (phone, phone)
            labels = phone.symbol, before.symbol, after.symbol, speakers[utterance]
            items.append(Item(utterance, first.begin, last.end, *labels))
    return items
