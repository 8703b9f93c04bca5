"""Results: rows with intervals, as JSON, as a table of text, and image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from i2s.score.bootstrap import interval, resamples
from i2s.score.rows import Row

RESAMPLES, SEED = 1000, 0
# Measures that are shown as differences and ratios between rows.
_COMPARED = {
    "difference": ("BLEU-4", "METEOR", "CIDEr", "UER nearest"),
    "percent of": ("BLEU-4", "METEOR", "CIDEr"),
}


def table(rows: Sequence[Row], images: int) -> dict[str, Any]:
    """The rows and their comparisons as JSON types. Every row is resampled alike, so that differences are paired.

    A score is {"value", "low", "high"} in percent; low and high bound the 95 % interval over images.
    """
    weights = resamples(images, RESAMPLES, SEED)
    samples = {row.key: {m: measure.resampled(weights) for m, measure in row.measures.items()} for row in rows}
    by_key = {row.key: row for row in rows}

    def score(value: float, sampled: np.ndarray) -> dict[str, float]:
        low, high = interval(sampled)
        return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}

    def compare(a: str, b: str, how: str) -> dict[str, Any]:
        scores = {}
        for m in _COMPARED[how]:
            if m in by_key[a].measures and m in by_key[b].measures:
                x, y = by_key[a].measures[m].value, by_key[b].measures[m].value
                if how == "difference":
                    scores[m] = score(x - y, samples[a][m] - samples[b][m])
                elif samples[b][m].min() > 1:  # else the quotient says nothing
                    scores[m] = score(100 * x / y, 100 * samples[a][m] / np.maximum(samples[b][m], 1e-9))
        return {"a": a, "b": b, "how": how, "scores": scores}

    comparisons = [compare("system", floor, "difference") for floor in ("random", "constant") if floor in by_key]
    if "system_as_ceilings" in by_key:
        ceilings = [ceiling for ceiling in ("resynth", "voice") if ceiling in by_key]
        comparisons += [compare("system_as_ceilings", ceiling, "percent of") for ceiling in ceilings]
    return {
        "rows": [
            {
                "key": row.key,
                "name": row.name,
                "kind": row.kind,
                "images": row.images,
                "references": round(row.references, 2),
                "scores": {m: score(row.measures[m].value, samples[row.key][m]) for m in row.measures},
                **({"edits": asdict(row.edits)} if row.edits else {}),
                **({"said": next(iter(row.said.values()))} if row.key in ("constant", "majority") else {}),
            }
            for row in rows
        ],
        "comparisons": comparisons,
    }


def per_image(rows: Sequence[Row], images: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """image -> row -> its scores there (BLEU of one sentence is often 0) and what was said, for single-run rows."""
    out: dict[str, dict[str, dict[str, Any]]] = {image: {} for image in images}
    for row in rows:
        values = {m: measure.per_image() for m, measure in row.measures.items() if m not in ("BLEU-2", "BLEU-3")}
        for i, image in enumerate(images):
            if image in row.said and row.kind != "floor":
                scores = {m: round(float(v[i]), 2) for m, v in values.items()}
                out[image][row.key] = {"said": row.said[image], "scores": scores}
    return out


def markdown(results: dict[str, Any]) -> str:
    """The tables as Markdown that is also read as plain text."""
    settings = results["settings"]
    lines = [f"# Scores of {settings['system']}", ""]
    for kind in ("captions", "units"):
        if kind not in results:
            continue
        part = results[kind]
        lines += [f"## {_TITLES[kind]}", "", *_intro(kind, results), "", *_grid(part["rows"]), ""]
        if kind == "captions":
            lines += [f"Constant: \u201c{row['said']}\u201d" for row in part["rows"] if row["key"] == "constant"]
        names = {row["key"]: row["name"] for row in part["rows"]}
        for c in part["comparisons"]:
            if not c["scores"]:
                continue
            scores = "; ".join(f"{m} {_cell(s, c['how'] == 'difference')}" for m, s in c["scores"].items())
            how = "minus" if c["how"] == "difference" else "in percent of"
            lines.append(f"- {names[c['a']]} {how} {names[c['b']]}: {scores}")
        lines.append("")
    lines += [f"Note: {note}" for note in results["notes"]]
    return "\n".join(lines).rstrip() + "\n"


_TITLES = {"captions": "What was heard", "units": "Units, without text"}


def _intro(kind: str, results: dict[str, Any]) -> list[str]:
    settings = results["settings"]
    lines = [f"{settings['images']} images. Percent, ± half the width of the bootstrap 95 % interval over images."]
    if kind == "captions":
        asr = settings["asr"]
        model = {True: "with a language model of the training captions", False: "with no caption language model"}
        lines.append(f"Read back by {asr['name']} ({model.get(asr['caption_lm'], 'its language model not recorded')}).")
    else:
        lines.append("UER: unit error rate against the nearest reference, against all (mean), against its own units.")
    lines.append("Floors need no look at the image; ceilings are scored against the other references of their image.")
    return lines


def _grid(rows: list[dict[str, Any]]) -> list[str]:
    measures = list(dict.fromkeys(m for row in rows for m in row["scores"]))
    cells = [["", "", "refs", *measures]]
    for row in rows:
        scores = [_cell(row["scores"][m]) if m in row["scores"] else "" for m in measures]
        cells.append([row["kind"], row["name"], f"{row['references']:g}", *scores])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]

    def line(row: list[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        return "| " + " | ".join(left + [c.rjust(w) for c, w in zip(row[2:], widths[2:], strict=True)]) + " |"

    rule = ["-" * w for w in widths[:2]] + ["-" * (w - 1) + ":" for w in widths[2:]]
    return [line(cells[0]), line(rule), *map(line, cells[1:])]


def _cell(score: dict[str, float], sign: bool = False) -> str:
    value = f"{score['value']:+.1f}" if sign else f"{score['value']:.1f}"
    return f"{value} ±{(score['high'] - score['low']) / 2:.1f}"
