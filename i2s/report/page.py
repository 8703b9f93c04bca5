"""The page itself, from its template. Everything that comes from data is escaped by the template engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from i2s.report.charts import stand_svg
from i2s.report.collect import Item, Source
from i2s.report.curves import Curves, UnitStatistics
from i2s.report.tables import decimals, lower_is_better, main_measure, part_and_measure, tables

HERE = Path(__file__).parent
SCRIPTS = ("player.js", "card.js", "gallery.js")


def render(
    source: Source,
    items: list[Item],
    curves: list[Curves],
    units: UnitStatistics | None,
    plots: list[tuple[str, str]],
) -> str:
    """The HTML of the report; `plots` are (title, address) of pictures."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embed"] = embed
    environment.globals["stand_svg"] = stand_svg
    template = environment.from_string((HERE / "template.html").read_text(encoding="utf-8"))
    results = [system.results for system in source.systems]
    names = [system.name for system in source.systems]
    return template.render(
        title=" and ".join(names),
        names=names,
        described=len(source.described),
        items=items,
        tables=tables(results, [system.per_image for system in source.systems]),
        settings=results[0].get("settings", {}),
        notes=results[0].get("notes", []),
        curves=curves,
        units=units,
        plots=plots,
        gallery={"items": [asdict(item) for item in items], "measures": measures(results[0], items), "names": names},
        style=asset("page.css"),
        script=Markup("\n").join(map(asset, SCRIPTS)),
    )


def measures(results: dict[str, Any], items: list[Item]) -> list[dict[str, Any]]:
    """The measures that items have, the main one first: its name, and what the page needs to show it."""
    scores = [take.scores for item in items for take in item.takes]
    names = list(dict.fromkeys(name for of_take in scores for name in of_take))
    main, lower = main_measure(scores), lower_is_better(results)
    found = []
    for name in sorted(names, key=lambda name: name != main):
        part, measure = part_and_measure(name)
        places = decimals(part, [s[name] for s in scores if name in s])
        found.append({"name": name, "part": part, "label": measure, "lower": name in lower, "decimals": places})
    return found


def asset(name: str) -> Markup:
    """A style sheet or script of this folder, to stand in the page as it is."""
    return Markup((HERE / name).read_text(encoding="utf-8"))


def embed(value: Any) -> Markup:
    """JSON that can stand inside a <script> element: no sign in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
