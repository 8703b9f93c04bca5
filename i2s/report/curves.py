"""Learning curves of the models that made a system, and statistics of its units, as charts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2s.files import read_json
from i2s.report.charts import Chart, Series

MOST_POINTS = 200  # of a line: more cannot be seen
_SKIPPED = ("epoch", "hp_metric")


@dataclass
class Curves:
    """The learning curves of one model folder."""

    folder: str
    charts: list[Chart]


@dataclass
class UnitStatistics:
    """`rows`: figure -> one text a split; `splits` are the columns."""

    splits: list[str]
    rows: list[tuple[str, list[str]]]
    charts: list[Chart]


def learning_curves(systems: list[Path]) -> list[Curves]:
    """The curves of all model folders that the systems' manifests name; each folder once."""
    folders = dict.fromkeys(folder for system in systems for folder in model_dirs(system))
    return [Curves(folder.name, charts) for folder in folders if (charts := _charts(folder / "tensorboard"))]


def model_dirs(system: Path) -> list[Path]:
    """The folders with TensorBoard events that manifest.json of a system (or of the folder above a split) names."""
    for folder in (system, system.resolve().parent):
        if (folder / "manifest.json").is_file():
            named = [folder / value for value in read_json(folder / "manifest.json").values() if isinstance(value, str)]
            return [path.resolve() for path in named if (path / "tensorboard").is_dir()]
    return []


def _charts(events: Path) -> list[Chart]:
    """A chart a measure, with a line for each of train, dev, ...; learning rates last."""
    charts: dict[str, Chart] = {}
    seen: list[list[float]] = []
    for tag, points in sorted(_scalars(events).items(), key=lambda item: (item[0].startswith("lr"), item[0])):
        split, _, measure = tag.partition("/")
        values = [value for _, value in points]
        if tag in _SKIPPED or values in seen:  # the same line under another name, as of several parameter groups
            continue
        seen.append(values)
        title, name = ("learning rate", "") if split.startswith("lr") else (measure or split, split if measure else "")
        chart = charts.setdefault(title, Chart(title, "steps", []))
        step = max(1, -(-len(points) // MOST_POINTS))
        kept = points[::-1][::step][::-1]  # counted from the end: the last point stays
        chart.series.append(Series(name, [x for x, _ in kept], [y for _, y in kept]))
    return list(charts.values())


def _scalars(events: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar tag in a folder of TensorBoard event files."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it tells of every file's end
    accumulator = EventAccumulator(str(events), size_guidance={SCALARS: 10_000})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()[SCALARS]}


def unit_statistics(folder: Path | None) -> UnitStatistics | None:
    """What stats.json of a unit folder says, if there is one."""
    stats = read_json(folder / "stats.json", missing_ok=True) if folder else {}
    if not stats:
        return None
    pieces = {split: {f"{k} of pieces": v for k, v in s.get("bpe", {}).items()} for split, s in stats.items()}
    figures = {split: {**s, **pieces[split]} for split, s in stats.items()}
    names = dict.fromkeys(k for s in figures.values() for k, v in s.items() if isinstance(v, (int, float)))
    rows = [(name.replace("_", " "), [_figure(s.get(name)) for s in figures.values()]) for name in names]
    use, runs = Chart("units by frequency", "rank", [], log=True), Chart("duration of a unit", "frames", [])
    for split, s in stats.items():
        counts, histogram = sorted(s.get("counts", []), reverse=True), s.get("run_histogram", [])
        use.series.append(Series(split, range(1, len(counts) + 1), [100 * c / max(1, sum(counts)) for c in counts]))
        shares = [100 * n / max(1, sum(histogram)) for n in histogram]
        runs.series.append(Series(split, range(1, len(shares) + 1), shares))
    return UnitStatistics(list(stats), rows, [chart for chart in (use, runs) if any(s.x for s in chart.series)])


def _figure(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
