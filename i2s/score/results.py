"""Results: rows with intervals, as JSON, as tables of text, image by image, and as statistics to resample later."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.score.bootstrap import Bleu, Measure, interval, matched_pairs, quotient, resample, root
from i2s.score.meteor import meteor_score
from i2s.score.rows import Row

RESAMPLES, SEED = 1000, 0
# Measures that are shown as differences, ratios and places between rows.
_COMPARED = {
    "difference": ("BLEU-4", "METEOR", "CIDEr", "UER nearest", "UER mean", "WER"),
    "percent of": ("BLEU-4", "METEOR", "CIDEr"),
    "place": ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "UER nearest"),
}
_TESTED = ("UER mean", "WER")  # error rates, whose differences have a p
# Pairs of rows whose difference is shown: a floor, or what another recogniser makes of the same speech.
_DIFFERENCES = [
    *(("system", floor) for floor in ("random", "constant", "constant_spoken", "shuffled", "majority")),
    ("predicted", "majority"),
    *((row, f"{row}_second") for row in ("system", "resynth", "voice")),
]


def table(rows: Sequence[Row], images: int) -> dict[str, Any]:
    """The rows and their comparisons as JSON types. Every row is resampled alike, so that differences are paired.

    A score is {"value", "low", "high"} in percent; low and high bound the 95 % interval over images. A difference of
    error rates has the "p" of `matched_pairs`, too, unless that is NaN: as it always is against the random floor, which
    pools several draws and so has other segments.
    `comparisons`: one row minus another, or in percent of it. `places`: where the system is on the way from a floor (0)
    to a ceiling (100), all of them against the same references.
    """
    named = [(row.key, m) for row in rows for m in row.measures]
    sampled = resample([row.measures[m] for row in rows for m in row.measures], images, RESAMPLES, SEED)
    samples = dict(zip(named, sampled.T, strict=True))
    measures = {(row.key, m): measure for row in rows for m, measure in row.measures.items()}
    values = {name: measure.value for name, measure in measures.items()}

    def score(value: float, samples: np.ndarray) -> dict[str, float]:
        low, high = interval(samples)
        return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}

    def scores(how: str, *keys: str) -> dict[str, dict[str, float]]:
        """`how` of rows: a minus b; a in percent of b; the place of a between b and c."""
        out = {}
        for m in _COMPARED[how]:
            if any((key, m) not in values for key in keys):
                continue
            v, s = [values[key, m] for key in keys], [samples[key, m] for key in keys]
            whole = s[-1] - s[1] if how == "place" else s[-1]
            if how == "difference":
                out[m] = score(v[0] - v[1], s[0] - s[1])
                if m in _TESTED and math.isfinite(p := matched_pairs(*(measures[key, m] for key in keys))):
                    out[m]["p"] = round(p, 6)
            elif whole.min() > 1 or (how == "place" and whole.max() < -1):  # else the quotient says nothing
                base = v[1] if how == "place" else 0.0
                part = s[0] - s[1] if how == "place" else s[0]
                out[m] = score(100 * (v[0] - base) / (v[-1] - base), 100 * part / whole)
        return out

    keys = {row.key for row in rows}
    comparisons = [(a, b, "difference") for a, b in _DIFFERENCES if {a, b} <= keys]
    ceilings = [ceiling for ceiling in ("resynth", "voice", "reference") if ceiling in keys]
    if "system_as_ceilings" in keys:
        comparisons += [("system_as_ceilings", c, "percent of") for c in ceilings if c != "reference"]
    floor = "floor_as_ceilings"
    return {
        "rows": [
            {
                "key": row.key,
                "name": row.name,
                "kind": row.kind,
                "images": row.images,
                "references": round(row.references, 2),
                "scores": {m: score(values[row.key, m], samples[row.key, m]) for m in row.measures},
                **({"read_by": row.read_by} if row.read_by else {}),
                **({"edits": asdict(row.edits)} if row.edits else {}),
                **({"by_length": row.by_length} if row.by_length else {}),
                **({"said": next(iter(row.said.values()))} if row.key in _CONSTANTS else {}),
            }
            for row in rows
        ],
        "comparisons": [{"a": a, "b": b, "how": how, "scores": scores(how, a, b)} for a, b, how in comparisons],
        "places": [
            {"system": "system_as_ceilings", "floor": floor, "ceiling": c, "scores": found}
            for c in ceilings
            if floor in keys and (found := scores("place", "system_as_ceilings", floor, c))
        ],
    }


_CONSTANTS = ("constant", "constant_spoken", "majority")


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


def save_statistics(
    path: Path, images: Sequence[str], of_part: Mapping[str, Sequence[str]], parts: Mapping[str, Sequence[Row]]
) -> None:
    """Write what the scores of each part's system rows are sums of, for every image: a later resampling needs no more.

    Arrays: `images`, and float64 (images, D) named part/row/measure, zeros where an image is not of the part, whose
    images are `of_part`'s.
    """
    position = {image: i for i, image in enumerate(images)}
    arrays: dict[str, Any] = {}
    for part, rows in parts.items():
        places = [position[image] for image in of_part[part]]
        for row in rows:
            if row.kind == "system":
                for m, measure in row.measures.items():
                    stats = arrays[f"{part}/{row.key}/{m}"] = np.zeros((len(images), measure.stats.shape[1]))
                    stats[places] = measure.stats
    with atomic_path(path) as tmp:
        np.savez_compressed(tmp, images=np.array(images), **arrays)


def load_statistics(path: Path) -> tuple[list[str], dict[str, Measure]]:
    """The images and the measures, part/row/measure, that `save_statistics` wrote. Raises UserError for a bad file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; score this system first (stage 10, or utils/score.sh)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = [str(image) for image in arrays["images"]]
            return images, {k: Measure(arrays[k], _combine(k)) for k in arrays.files if k != "images"}
    except Exception as e:  # (numpy raises whatever a damaged file leads to)
        raise UserError(f"{path}: cannot be read ({e}); score this system again") from e


def _combine(key: str) -> Callable[[np.ndarray], np.ndarray]:
    """How the sums of the measure part/row/NAME become scores."""
    name = key.rsplit("/", 1)[1]
    if name.startswith("BLEU-"):
        return Bleu(int(name.removeprefix("BLEU-")))
    return {"METEOR": meteor_score, "F0": root}.get(name, quotient)


def markdown(results: dict[str, Any]) -> str:
    """The tables as Markdown that is also read as plain text."""
    settings = results["settings"]
    lines = [f"# Scores of {settings['system']}", ""]
    for kind in _TITLES:
        if kind not in results:
            continue
        part = results[kind]
        lines += [f"## {_TITLES[kind]}", "", *_intro(kind, results), ""]
        if kind == "diversity":
            lines += [*_plain_grid(part["rows"]), ""]
            continue
        lines += [*_grid(part["rows"]), ""]
        names = labels(part["rows"])
        found = [
            *(_said(part["rows"]) if kind == "captions" else []),
            *_comparisons(part, names),
            *_edits(part["rows"]),
        ]
        lines += [*found, ""] if found else []
        lines += [*_places(part, names), *_by_length(part["rows"])]
    lines += [f"Note: {note}" for note in results["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def _said(rows: list[dict[str, Any]]) -> list[str]:
    names = {"constant": "Constant", "constant_spoken": "Constant, as it was heard"}
    return [f"{names[row['key']]}: \u201c{row['said']}\u201d  " for row in rows if row["key"] in names]


def _comparisons(part: dict[str, Any], names: dict[str, str]) -> list[str]:
    lines = []
    for c in part["comparisons"]:
        if c["scores"]:
            scores = "; ".join(
                f"{m} {cell(s, c['how'] == 'difference')}{significance(s)}" for m, s in c["scores"].items()
            )
            how = "minus" if c["how"] == "difference" else "in percent of"
            lines.append(f"- {names[c['a']]} {how} {names[c['b']]}: {scores}")
    return lines


def _places(part: dict[str, Any], names: dict[str, str]) -> list[str]:
    """Where the system is between its floor and each ceiling."""
    places = part["places"]
    if not places:
        return []
    measures = list(dict.fromkeys(m for place in places for m in place["scores"]))
    cells = [["The system's place between the floor (0) and ... (100)", *measures]]
    for place in places:
        scores = [cell(place["scores"][m]) if m in place["scores"] else "" for m in measures]
        cells.append([names[place["ceiling"]], *scores])
    return [*grid(cells, 1), "", f"The floor: {names[places[0]['floor']]}.", ""]


def _edits(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if (edits := row.get("edits")) and row["kind"] != "floor":
            kinds = ("substitutions", "insertions", "deletions")
            shares = ", ".join(f"{kind} {100 * edits[kind] / max(1, edits['length']):.1f}" for kind in kinds)
            lines.append(f"- {row['name']}{_read_by(row)}: of {edits['length']} reference tokens, percent: {shares}")
    return lines


def _by_length(rows: list[dict[str, Any]]) -> list[str]:
    """Word error by the length of what was said."""
    with_lengths = [row for row in rows if row.get("by_length") and "WER" in row["scores"]]
    if not with_lengths:
        return []
    spans = sorted({(group["from"], group.get("to")) for row in with_lengths for group in row["by_length"]}, key=str)
    spans.sort(key=lambda span: span[0])
    names = [f"{low} words or more" if high is None else f"{low} to {high} words" for low, high in spans]
    cells = [["Word error by length", *names]]
    for row in with_lengths:
        of = {group["from"]: f"{group['error']:.1f} ({group['utterances']})" for group in row["by_length"]}
        cells.append([row["name"] + _read_by(row), *(of.get(low, "") for low, _ in spans)])
    return [*grid(cells, 1), "", "In brackets: utterances.", ""]


def labels(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What to call each row, by its key: its name, and who read it where several rows have that name."""
    often = Counter(row["name"] for row in rows)
    return {row["key"]: row["name"] + (_read_by(row) if often[row["name"]] > 1 else "") for row in rows}


def _read_by(row: dict[str, Any]) -> str:
    return f" ({row['read_by']})" if row.get("read_by") else ""


_TITLES = {
    "captions": "What was heard",
    "units": "Units, without text",
    "speech": "Speech",
    "diversity": "Diversity",
}


def _intro(kind: str, results: dict[str, Any]) -> list[str]:
    settings = results["settings"]
    if kind == "diversity":
        return [
            "distinct, copied: percent of the captions that differ from all others, that are training captions.",
            "self BLEU: of each caption against all others; mBLEU: against others of its image. Lower is more diverse.",
        ]
    images = f"{max(row['images'] for row in results[kind]['rows'])} images."
    bars = "± half the width of the bootstrap 95 % interval over images."
    if kind == "speech":
        return [
            f"{images} {bars}",
            "Percent of the utterances: unfinished (the decoder found no end), cut off (loud to the last), repeating.",
            "MCD: mel-cepstral distortion in dB; F0: root mean square error in cents; voicing: percent of the frames;",
            "all three along the best alignment with the recording. DNSMOS: predicted quality, 1 to 5.",
        ]
    lines = [f"{images} Percent, {bars}"]
    if kind == "captions":
        lines += read_back(settings)
        lines.append(f"Tokens: {settings['tokens']}. CIDEr: {settings['cider']}.")
    else:
        lines.append("UER: unit error rate against the nearest reference, against all (mean), against its own units.")
    lines.append("Floors need no look at the image; ceilings are scored against the other references of their image.")
    return lines


def read_back(settings: dict[str, Any]) -> list[str]:
    """A sentence about the recogniser, where there was one."""
    if not (asr := settings.get("asr")):
        return []
    model = {True: "with a language model of the training captions", False: "with no caption language model"}
    return [f"Read back by {asr['name']} ({model.get(asr['caption_lm'], 'its language model not recorded')})."]


def _grid(rows: list[dict[str, Any]]) -> list[str]:
    measures = list(dict.fromkeys(m for row in rows for m in row["scores"]))
    read, counted = any(row.get("read_by") for row in rows), any(row["references"] for row in rows)
    cells = [["", "", *(["read by"] if read else []), *(["refs"] if counted else []), *measures]]
    for row in rows:
        scores = [cell(row["scores"][m]) if m in row["scores"] else "" for m in measures]
        reader = [row.get("read_by", "")] if read else []
        count = [f"{row['references']:g}" if row["references"] else ""] if counted else []
        cells.append([row["kind"], row["name"], *reader, *count, *scores])
    return grid(cells, 3 if read else 2)


def _plain_grid(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("key", "name")))
    cells = [["", *(column.replace("_", " ").replace("bleu", "BLEU") for column in columns)]]
    for row in rows:
        shown = (row.get(column, "") for column in columns)
        cells.append([row["name"], *(f"{v:.1f}" if isinstance(v, float) else str(v) for v in shown)])
    return grid(cells, 1)


def grid(cells: list[list[str]], left: int) -> list[str]:
    """A Markdown table; the first `left` columns hold words, the others numbers."""
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(cells[0]))]

    def line(row: list[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return [line(cells[0]), line(rule), *map(line, cells[1:])]


def significance(score: dict[str, float]) -> str:
    """The p of a difference, if it has one."""
    if "p" not in score:
        return ""
    return " (p < 0.001)" if score["p"] < 0.001 else f" (p = {score['p']:.3f})"


def cell(score: dict[str, float], sign: bool = False) -> str:
    """A score of `table` with half its interval's width."""
    value = f"{score['value']:+.1f}" if sign else f"{score['value']:.1f}"
    return f"{value} ±{(score['high'] - score['low']) / 2:.1f}"
