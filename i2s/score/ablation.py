"""Ablation: variants of a system, each run by the recipe under its own tag, as rows of one table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from i2s.config import load_config
from i2s.errors import UserError
from i2s.score.results import cell, grid, read_back, significance

_OWN = ("ablation", "exp", "split", "stage", "stop-stage", "tag")  # the same for all rows, or their tag
_FLOORS = ("random", "constant", "constant_spoken")
_RESPOKEN = "WER respoken"
_MINUS_CHANCE = "minus chance"
_OF_SPEECH = (_RESPOKEN, "unfinished", "cut off", "repeating")  # the last three: percent of the utterances
_MEASURES = {  # that papers print
    "captions": ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE"),
    "units": ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "BLEU-5", "UER nearest", "UER mean"),
}
Value = str | int | float | bool
Part = Literal["captions", "units"]


@dataclass(frozen=True)
class Row:
    """A variant: run.sh's `options` (long names) that make it, the `tag` of its folders, and its published scores."""

    name: str = ""
    tag: str = ""
    options: dict[str, Value] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)  # of words
    published_units: dict[str, float] = field(default_factory=dict)

    def published_of(self, part: str) -> dict[str, float]:
        return self.published_units if part == "units" else self.published


@dataclass(frozen=True)
class Ablation:
    """`source`: whose the published scores are; `parts`: the tables to print, by default that of words, or where there
    is no text that of units; `options`: those of every row; `notes`: to be printed below."""

    title: str = ""
    source: str = ""
    options: dict[str, Value] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()


def read_ablation(path: Path) -> Ablation:
    """Read a table's yaml. Raises UserError, naming file and row, for whatever could not be run or be told apart."""
    table = load_config(Ablation, path)
    if not table.rows:
        raise UserError(f"{path}: has no rows; see conf/ablation_sas.yaml")
    tags: dict[str, str] = {}
    for number, row in enumerate(table.rows, 1):
        where = f"{path}: row {number} ({row.name or 'without a name'})"
        if not row.name:
            raise UserError(f"{where}: needs a name")
        if not re.fullmatch(r"[\w.-]*", row.tag, re.ASCII):
            raise UserError(f"{where}: tag {row.tag!r} becomes part of a folder's name: letters, digits, _ . - only")
        if row.tag in tags:
            raise UserError(f"{where}: tag {row.tag!r} is that of {tags[row.tag]!r}; one would overwrite the other")
        tags[row.tag] = row.name
        for name in (*table.options, *row.options):
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                raise UserError(f"{where}: option {name!r}: write run.sh's long options without the --, as in sas-args")
            if name in _OWN:
                raise UserError(f"{where}: option {name!r} cannot differ between rows; give it on the command line")
        for part, known in _MEASURES.items():
            if unknown := set(row.published_of(part)) - set(known):
                raise UserError(f"{where}: published: no such measure: {min(unknown)}; known: {', '.join(known)}")
    if not table.source and any(row.published or row.published_units for row in table.rows):
        raise UserError(f"{path}: published scores need a source: whose they are")
    return table


def row_options(table: Ablation, row: Row, given: Mapping[str, str]) -> dict[str, str]:
    """run.sh's options for `row`, to be put behind those `given` on the command line.

    The row's come before the table's and the given ones, but tags and the 'key=value ...' of --*-args are joined.
    """
    options = {name: _text(value) for name, value in {**table.options, **row.options}.items()}
    for name in options:
        if name.endswith("-args"):
            of_all = (given.get(name, ""), table.options.get(name, ""), row.options.get(name, ""))
            options[name] = " ".join(text for value in of_all if (text := _text(value)))
    return {"tag": given.get("tag", "") + row.tag, **options}


def _text(value: Value) -> str:
    """As on a command line, and in one line."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return " ".join(text.split())


def given_options(words: list[str]) -> dict[str, str]:
    """The options of a command line that utils/parse_options.sh has accepted: --name value or --name=value."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        options[name] = value if equals else next(rest, "")
    return options


def markdown(
    table: Ablation,
    split: str,
    results: Mapping[str, dict[str, Any]],
    failed: Mapping[str, str],
    minutes: Mapping[str, float] | None = None,
    made: Sequence[str] = (),
) -> str:
    """The table so far, one for each of its parts: floors, then each row with its published scores below it.

    By tag: `results`, what results.json holds of the rows that are finished; `failed`, where to look into the others;
    `minutes` that the stages of its own took. `made`: lines that say how.
    """
    first: dict[str, Any] = next(iter(results.values()), {})
    parts = [part for part in table.parts or ("captions", "units") if not first or part in first]
    parts = parts if table.parts else parts[:1]
    lines = [f"# {table.title or 'Ablation'}", "", *made, *([""] if made else [])]
    if first:
        lines += [f"{split}, {first['settings']['images']} images. "]
        lines[-1] += "Percent, ± half the width of the 95 % interval over images."
    if any(row.published or row.published_units for row in table.rows):
        lines += [f"Published scores are of the test split of {table.source}'s own data and recogniser."]
    for part in parts:
        lines += ["", *_part(table, part, results, failed, minutes or {})]
    notes = [
        f"{row.name}: scored against other references than the first row; do not compare them"
        for row in (table.rows if "captions" in parts else ())
        if row.tag in results and _references(results[row.tag], "captions") != _references(first, "captions")
    ]
    return "\n".join([*lines, *(f"\nNote: {note}" for note in [*table.notes, *notes])]) + "\n"


def _part(
    table: Ablation,
    part: str,
    results: Mapping[str, dict[str, Any]],
    failed: Mapping[str, str],
    minutes: Mapping[str, float],
) -> list[str]:
    """One table, of words or of units. Units have their own floor below each row: inventories differ."""
    scores = {tag: _scores(found, part) for tag, found in results.items()}
    published = [m for m in _MEASURES[part] if any(m in row.published_of(part) for row in table.rows)]
    measures = list(dict.fromkeys([*(m for s in scores.values() for m in s), *published]))
    measures.sort(key=lambda m: m in _OF_SPEECH)  # those of speech last

    timed = ["minutes"] if minutes else []
    cells = [["", "", *measures, *timed]]
    if part == "captions":
        for floor in _rows(next(iter(results.values()), {}), part, *_FLOORS):
            cells.append(["floor", floor["name"], *_cells(floor["scores"], measures)])
    for row in table.rows:
        kind = "system" if row.tag in results else "failed" if row.tag in failed else "to come"
        name = f"{row.name}; see {failed[row.tag]}" if row.tag in failed else row.name
        took = [f"{minutes[row.tag]:.0f}" if row.tag in minutes else "" for _ in timed]
        cells.append([kind, name, *_cells(scores.get(row.tag, {}), measures), *took])
        if part == "units":
            for floor in _rows(results.get(row.tag, {}), part, "majority"):
                cells.append(["chance", floor["name"], *_cells(floor["scores"], measures)])
        if shown := {m: f"{score:.1f}" for m, score in row.published_of(part).items()}:
            cells.append(["published", table.source, *(shown.get(m, "") for m in measures)])

    lines = []
    if results and part == "captions":
        lines += read_back(next(iter(results.values()))["settings"])
    elif results:
        lines += ["Units as they were predicted; UER: unit error rate against the nearest reference, and all (mean);"]
        lines += ["p: of its difference from chance, by the matched-pairs test (Gillick and Cox 1989)."]
    if _RESPOKEN in measures:
        lines += [f"{_RESPOKEN}: word error of the references' own units or spectrograms, spoken and read back."]
    if timed:
        lines += ["minutes: of the stages from units to scores."]
    return [*lines, "", *grid([row + [""] * (len(cells[0]) - len(row)) for row in cells], 2)]


def _rows(results: Mapping[str, Any], part: str, *keys: str) -> list[dict[str, Any]]:
    return [row for row in results.get(part, {}).get("rows", []) if row["key"] in keys]


def _scores(results: dict[str, Any], part: str) -> dict[str, dict[str, float]]:
    """What is shown of a row's results: the system's scores, and of words how often its speech failed."""
    if part == "units":
        scores = {}
        for row in (_rows(results, part, "predicted") or _rows(results, part, "system"))[:1]:
            scores = dict(row["scores"])
            for c in results[part]["comparisons"]:
                if (c["a"], c["b"]) == (row["key"], "majority") and "UER mean" in c["scores"]:
                    scores[_MINUS_CHANCE] = c["scores"]["UER mean"]
        return scores
    scores = {m: score for row in _rows(results, part, "system") for m, score in row["scores"].items()}
    for row in _rows(results, part, "resynth"):
        scores[_RESPOKEN] = row["scores"]["WER"]
    spoken = _rows(results, "speech", "system")
    return scores | {m: score for row in spoken for m, score in row["scores"].items() if m in _OF_SPEECH}


def _cells(scores: Mapping[str, dict[str, float]], measures: list[str]) -> list[str]:
    return [cell(scores[m], m == _MINUS_CHANCE) + significance(scores[m]) if m in scores else "" for m in measures]


def _references(results: dict[str, Any], part: str) -> Any:
    return results["settings"].get("references", {}).get(part)
