"""Ablation: variants of a system, each run by the recipe under its own tag, as rows of one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2s.config import load_config
from i2s.errors import UserError
from i2s.score.results import cell, grid, read_back

_OWN = ("ablation", "exp", "split", "stage", "stop-stage", "tag")  # the same for all rows, or their tag
_FLOORS = ("random", "constant", "constant_spoken")
_FAILURES = ("unfinished", "cut off", "repeating")  # measures of speech: percent of the utterances
_MEASURES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")  # that papers print
Value = str | int | float | bool


@dataclass(frozen=True)
class Row:
    """A variant: run.sh's `options` (long names) that make it, the `tag` of its folders, and its `published` scores."""

    name: str = ""
    tag: str = ""
    options: dict[str, Value] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """`source`: whose the published scores are; `options`: those of every row."""

    title: str = ""
    source: str = ""
    options: dict[str, Value] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()


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
        if unknown := set(row.published) - set(_MEASURES):
            raise UserError(f"{where}: published: no such measure: {min(unknown)}; known: {', '.join(_MEASURES)}")
    if not table.source and any(row.published for row in table.rows):
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


def markdown(table: Ablation, split: str, results: Mapping[str, dict[str, Any]], failed: Mapping[str, str]) -> str:
    """The table so far: floors, then each row with its published scores below it.

    By tag: `results`, what results.json holds of the rows that are finished; `failed`, where to look into the others.
    """
    first: dict[str, Any] = next(iter(results.values()), {})
    part = next((part for part in ("captions", "units") if part in first), "")
    floors = [row for row in first[part]["rows"] if row["key"] in _FLOORS] if part else []
    scores = {tag: _scores(found, part) for tag, found in results.items()}
    published = [m for m in _MEASURES if any(m in row.published for row in table.rows)]
    measures = list(dict.fromkeys([*(m for s in scores.values() for m in s), *published]))
    measures.sort(key=lambda m: m in _FAILURES)  # those of speech last

    cells = [["", "", *measures]]
    for floor in floors:
        cells.append(["floor", floor["name"], *_cells(floor["scores"], measures)])
    for row in table.rows:
        kind = "system" if row.tag in results else "failed" if row.tag in failed else "to come"
        name = f"{row.name}; see {failed[row.tag]}" if row.tag in failed else row.name
        cells.append([kind, name, *_cells(scores.get(row.tag, {}), measures)])
        if row.published:
            shown = [f"{row.published[m]:.1f}" if m in row.published else "" for m in measures]
            cells.append(["published", table.source, *shown])

    lines = [f"# {table.title or 'Ablation'}", ""]
    if first:
        settings = first["settings"]
        lines += [f"{split}, {settings['images']} images. Percent, ± half the width of the 95 % interval over images."]
        lines += read_back(settings) if part == "captions" else ["Scores in units."]
    if published:
        lines += [f"Published scores are of the test split of {table.source}'s own data and recogniser."]
    lines += ["", *grid(cells, 2), ""]
    for row in table.rows:
        if row.tag in results and _references(results[row.tag], part) != _references(first, part):
            lines.append(f"Note: {row.name}: scored against other references than the first row; do not compare them")
    return "\n".join(lines).rstrip() + "\n"


def _scores(results: dict[str, Any], part: str) -> dict[str, dict[str, float]]:
    """What is shown of a row's results: the system's scores, and how often its speech failed."""
    rows = [(p, row) for p in (part, "speech") for row in results.get(p, {}).get("rows", []) if row["key"] == "system"]
    return {m: score for p, row in rows for m, score in row["scores"].items() if p == part or m in _FAILURES}


def _cells(scores: Mapping[str, dict[str, float]], measures: list[str]) -> list[str]:
    return [cell(scores[m]) if m in scores else "" for m in measures]


def _references(results: dict[str, Any], part: str) -> Any:
    return results["settings"].get("references", {}).get(part)
