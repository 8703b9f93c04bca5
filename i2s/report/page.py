"""The page itself, from its template. Everything that comes from data is escaped by the template engine."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from i2s.report.collect import Item

TEMPLATE = Path(__file__).with_name("template.html")


def render(title: str, results: dict[str, Any], items: list[Item], plots: list[tuple[str, str]], described: int) -> str:
    """The HTML of the report. `results` is results.json (may be empty); `described`: images the system described."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embed"] = embed
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    player = [
        {
            "units": item.units,
            "ends": item.ends,
            "attention": asdict(item.attention) if item.attention else None,
            "scores": item.scores,
        }
        for item in items
    ]
    tables = [
        {"title": name, "columns": columns(rows), "names": {r["key"]: r["name"] for r in rows}, **results[key]}
        for key, name in (("captions", "What was heard, against captions"), ("units", "Units, without text"))
        if (rows := results.get(key, {}).get("rows"))
    ]
    return template.render(
        title=title,
        settings=results.get("settings", {}),
        notes=results.get("notes", []),
        tables=tables,
        items=items,
        plots=plots,
        described=described,
        player=player,
        orders=orders(items),
    )


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """The measures that occur in any row, in order."""
    return list(dict.fromkeys(measure for row in rows for measure in row["scores"]))


def orders(items: list[Item]) -> list[str]:
    """The measures that items can be sorted by."""
    have = [m for m in ("CIDEr", "BLEU-4", "METEOR", "UER nearest") if any(m in item.scores for item in items)]
    return have[:1] + [m for m in have[1:] if m == "METEOR"]


def embed(value: Any) -> Markup:
    """JSON that can stand inside a <script> element: no sign in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
