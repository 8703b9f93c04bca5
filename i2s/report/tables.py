"""Score tables of the page, from results.json and per_image.json, whatever rows and measures these hold.

A part of results.json is an object with `rows` and `places`; a row has `key`, `name`, `kind` (floor, system, ceiling)
and `scores`, measure -> {"value", "low", "high"}; a place has the keys of three such rows and `scores`. A part of an
image in per_image.json is row -> {"said", "scores"}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from i2s.score.results import labels

_TITLES = {"captions": "What was heard, against captions", "units": "Units, without text"}
_LOWER = re.compile(r"ER\b|[Ee]rror|[Dd]istortion|MCD|[Rr]epe[at]|[Tt]runcat")


@dataclass
class Score:
    """A figure and its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass
class TableRow:
    """A line of a table. `system`: 0 for the first system, 1 for the second, None for floors and ceilings."""

    kind: str
    name: str
    references: float | None
    scores: dict[str, Score]
    system: int | None = None
    main: bool = False
    said: str | None = None


@dataclass
class Stand:
    """Where systems stand by one measure; `places`: 0 is the floor, 100 the highest ceiling."""

    measure: str
    rows: list[TableRow]
    places: list[float | None]


@dataclass
class Versus:
    """Two systems by one measure: their scores, and on how many images the first or the second is better."""

    measure: str
    first: Score
    second: Score
    better: tuple[int, int, int] | None  # first, alike, second


@dataclass
class Table:
    """A part of the results. `decimals`: how many places each measure is shown with."""

    key: str
    title: str
    measures: list[str]
    decimals: dict[str, int]
    rows: list[TableRow]
    stands: list[Stand] = field(default_factory=list)
    comparisons: list[tuple[str, dict[str, Score], bool]] = field(default_factory=list)
    versus: list[Versus] = field(default_factory=list)


def measure_name(part: str, measure: str) -> str:
    """A measure's name where the parts of the results stand side by side: "CIDEr", "BLEU-4 (units)"."""
    return measure if part == "captions" else f"{measure} ({part})"


def part_and_measure(name: str) -> tuple[str, str]:
    """What `measure_name` was made of."""
    measure, bracket, part = name.removesuffix(")").rpartition(" (")
    return (part, measure) if bracket else ("captions", name)


def scores_of(parts: dict[str, Any], key: str) -> dict[str, float]:
    """The scores of one row at one image of per_image.json, words first."""
    found = {}
    for part in sorted(parts, key=lambda part: part != "captions"):
        row = parts[part].get(key) if isinstance(parts[part], dict) else None
        for measure, value in (row.get("scores", {}) if isinstance(row, dict) else {}).items():
            score = _score(value)
            if score:
                found[measure_name(part, measure)] = score.value
    return found


def main_measure(scores: Iterable[dict[str, float]]) -> str:
    """The measure that images are ranked by: CIDEr, else the first there is; empty if there is none."""
    names = list(dict.fromkeys(name for of_image in scores for name in of_image))
    return "CIDEr" if "CIDEr" in names else names[0] if names else ""


def lower_is_better(results: dict[str, Any]) -> set[str]:
    """The measures (named as by `measure_name`) by which floors stand above ceilings."""
    lower = set()
    for part, rows in _parts(results):
        for measure in _measures(rows):
            floors, ceilings = (_values(rows, kind, measure) for kind in ("floor", "ceiling"))
            below = max(floors) > max(ceilings) if floors and ceilings else bool(_LOWER.search(measure))
            if below:
                lower.add(measure_name(part, measure))
    return lower


def tables(results: Sequence[dict[str, Any]], per_image: Sequence[dict[str, Any]]) -> list[Table]:
    """The tables of one or two systems; floors, ceilings and comparisons are those of the first."""
    lower = lower_is_better(results[0])
    found = []
    for part, raw in _parts(results[0]):
        second = dict(_parts(results[1])).get(part, []) if len(results) > 1 else []
        rows = [_row(row, 0 if row.get("kind") == "system" else None) for row in raw]
        if second:
            last = max((i for i, row in enumerate(rows) if row.system == 0), default=len(rows) - 1)
            rows[last + 1 : last + 1] = [_row(row, 1) for row in second if row.get("kind") == "system"]
            for row in rows:
                if row.system is not None:
                    row.name = f"{'AB'[row.system]}: {row.name}"
        measures = list(dict.fromkeys(m for row in rows for m in row.scores))
        if not measures:
            continue
        places = {m: decimals(part, [row.scores[m].value for row in rows if m in row.scores]) for m in measures}
        table = Table(part, _TITLES.get(part, part.capitalize()), measures, places, rows)
        table.comparisons = _comparisons(results[0][part], raw)
        worse = {m for m in measures if measure_name(part, m) in lower}
        table.stands = _stands([of[part] for of in results if part in of])
        if second:
            table.versus = _versus(part, _named(raw, "system"), _named(second, "system"), per_image, worse)
        found.append(table)
    return found


def _parts(results: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (key, part["rows"])
        for key, part in results.items()
        if isinstance(part, dict) and isinstance(part.get("rows"), list)
    ]


def _measures(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(measure for row in rows for measure in row.get("scores", {})))


def _score(value: Any) -> Score | None:
    """A score from JSON; None for what is no finite number."""
    if isinstance(value, dict):
        if (middle := _score(value.get("value"))) is None:
            return None
        low, high = _score(value.get("low")), _score(value.get("high"))
        return Score(middle.value, *((low.value, high.value) if low and high else ()))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return Score(float(value))
    return None


def _row(row: dict[str, Any], system: int | None) -> TableRow:
    scores = {m: score for m, value in row.get("scores", {}).items() if (score := _score(value))}
    said = row.get("said") if row.get("key") == "constant" else None
    name, kind = str(row.get("name", row.get("key"))), str(row.get("kind", ""))
    return TableRow(kind, name, row.get("references"), scores, system, row.get("key") == "system", said)


def _named(rows: list[dict[str, Any]], key: str) -> dict[str, Any] | None:
    return next((row for row in rows if row.get("key") == key), None)


def _values(rows: list[dict[str, Any]], kind: str, measure: str) -> list[float]:
    scores = [_score(row.get("scores", {}).get(measure)) for row in rows if row.get("kind") == kind]
    return [score.value for score in scores if score]


def decimals(part: str, figures: Iterable[float]) -> int:
    """Places after the point to show figures of one measure with: one for percent, else up to three for small ones."""
    top = max(map(abs, figures))
    return 1 if part in _TITLES or top >= 10 else 2 if top >= 1 else 3


def _comparisons(part: dict[str, Any], rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Score], bool]]:
    """(what is compared, score of each measure, whether they are differences)."""
    names = labels([row for row in rows if "key" in row and "name" in row])
    found = []
    for c in part.get("comparisons", []):
        scores = {m: score for m, value in c.get("scores", {}).items() if (score := _score(value))}
        if scores:
            how = {"difference": "minus", "percent of": "in percent of"}.get(c["how"], c["how"])
            text = f"{names.get(c['a'], c['a'])} {how} {names.get(c['b'], c['b'])}"
            found.append((text, scores, c["how"] == "difference"))
    return found


def _stands(parts: Sequence[dict[str, Any]]) -> list[Stand]:
    """Where the results of each system, one or two, put it between its floor and its highest ceiling."""
    found: list[Stand] = []
    for measure in dict.fromkeys(m for place in parts[0].get("places", []) for m in place["scores"]):
        # Ceilings are in rising order: the system's units re-spoken, the voice, people.
        of_systems = [
            next((p for p in reversed(part.get("places", [])) if measure in p["scores"]), None) for part in parts
        ]
        placed = [(number, place) for number, place in enumerate(of_systems) if place]
        keys = [(0, placed[0][1]["floor"]), *((n, p["system"]) for n, p in placed)]
        keys += [(0, place["ceiling"]) for place in parts[0]["places"] if measure in place["scores"]]
        raw = [(number, _named(parts[number]["rows"], key)) for number, key in keys]
        rows = [_row(row, number if row["kind"] == "system" else None) for number, row in raw if row]
        scores = [place and _score(place["scores"][measure]) for place in of_systems]
        if all(measure in row.scores for row in rows):
            found.append(Stand(measure, rows, [score.value if score else None for score in scores]))
    return found


def _versus(
    part: str,
    first: dict[str, Any] | None,
    second: dict[str, Any] | None,
    per_image: Sequence[dict[str, Any]],
    worse: set[str],
) -> list[Versus]:
    found: list[Versus] = []
    if first is None or second is None:
        return found
    for measure in first.get("scores", {}):
        a, b = _score(first["scores"][measure]), _score(second.get("scores", {}).get(measure))
        if a is None or b is None:
            continue
        name = measure_name(part, measure)
        pairs = [
            (x[name], y[name])
            for image in per_image[0]
            if name in (x := scores_of(per_image[0][image], "system"))
            and name in (y := scores_of(per_image[1].get(image, {}), "system"))
        ]
        up = sum((x < y) if measure in worse else (x > y) for x, y in pairs)
        alike = sum(x == y for x, y in pairs)
        found.append(Versus(measure, a, b, (up, alike, len(pairs) - up - alike) if pairs else None))
    return found
