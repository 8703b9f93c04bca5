"""Two systems compared on the same images: differences, intervals and p-values from a paired bootstrap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from i2s.errors import UserError
from i2s.files import read_json
from i2s.score.bootstrap import interval, p_value, resample
from i2s.score.inputs import some
from i2s.score.results import grid, load_statistics


def compare(a: Path, b: Path, resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """A minus B for every measure that two scored folders have in common, as JSON types.

    What only one of them has, or was scored against other references (units of another inventory), is left out: notes
    tell. Raises UserError where they are of different images, or nothing is left.
    """
    images, ours = load_statistics(a / "statistics.npz")
    other_images, theirs = load_statistics(b / "statistics.npz")
    if differ := sorted(set(images) ^ set(other_images)):
        raise UserError(f"{a} and {b} are of different images: {some(differ)} are in one of them only")
    settings = [_settings(folder) for folder in (a, b)]
    parts = [s.get("references", {}) for s in settings]
    unlike = [part for part in parts[0] if parts[1].get(part, parts[0][part]) != parts[0][part]]
    if unlike and not any(parts[1].get(part) == parts[0][part] for part in parts[0]):
        raise UserError(f"{a} and {b} were scored against different references ({', '.join(unlike)}); score both alike")
    notes = [f"{part} were scored against different references: left out" for part in unlike]
    notes += [
        f"different {name}: {settings[0].get(name)} and {settings[1].get(name)}"
        for name in ("asr", "tokens", "cider")
        if settings[0].get(name) != settings[1].get(name)
    ]
    both = [name for name in ours if name in theirs and name.split("/")[0] not in unlike]
    if not both:
        raise UserError(f"{a} and {b} have no measure in common")
    # Images are in the same order on both sides: sorted when they were scored.
    sampled_a, sampled_b = (resample([side[n] for n in both], len(images), resamples, seed) for side in (ours, theirs))
    rows = []
    for name, x, y in zip(both, sampled_a.T, sampled_b.T, strict=True):
        part, row, measure = name.split("/")
        difference = ours[name].value - theirs[name].value
        low, high = interval(x - y)
        rows.append(
            {
                "part": part,
                "row": row,
                "measure": measure,
                "a": round(ours[name].value, 4),
                "b": round(theirs[name].value, 4),
                "difference": round(difference, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "p": round(p_value(difference, x - y), 5),
            }
        )
    return {"a": str(a), "b": str(b), "images": len(images), "resamples": resamples, "notes": notes, "rows": rows}


def markdown(found: dict[str, Any]) -> str:
    """As a table."""
    lines = [
        f"A: {found['a']}  ",
        f"B: {found['b']}  ",
        f"{found['images']} images, paired bootstrap with {found['resamples']} resamples; two-sided p.",
        "",
    ]
    cells = [["part", "row", "measure", "A", "B", "A - B", "95 % interval", "p"]]
    for r in found["rows"]:
        scores = [f"{r['a']:.2f}", f"{r['b']:.2f}", f"{r['difference']:+.2f}", f"{r['low']:+.2f} to {r['high']:+.2f}"]
        cells.append([r["part"], r["row"], r["measure"], *scores, f"{r['p']:.4f}"])
    return "\n".join([*lines, *grid(cells, 3), *(f"\nNote: {note}" for note in found["notes"])]) + "\n"


def _settings(folder: Path) -> dict[str, Any]:
    path, again = folder / "results.json", "score this system again"
    results = read_json(path, again)
    if not isinstance(results.get("settings"), dict):
        raise UserError(f"{path}: has no settings; {again}")
    return dict(results["settings"])
