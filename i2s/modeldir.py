"""A model directory's manifest: what the model was trained on, checked wherever two parts meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from i2s.errors import UserError
from i2s.files import read_json, sha256, write_text


def save_manifest(folder: str | Path, manifest: dict[str, Any]) -> None:
    """Write `manifest.json`. It is written last: a folder without one is not a finished model."""
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    write_text(Path(folder) / "manifest.json", text + "\n")


def name_checkpoint(folder: str | Path, checkpoint: Path) -> dict[str, str]:
    """The part of a manifest that names the weights, and tells them from those of another training."""
    return {"checkpoint": str(checkpoint.relative_to(folder)), "weights": sha256(checkpoint)}


def load_manifest(folder: str | Path, kind: str) -> dict[str, Any]:
    """Read the manifest of a finished model directory of the given kind ("units", "i2u", "u2s", ...).

    Raises UserError if the folder holds no finished model or one of another kind.
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise UserError(f"{folder}: no finished model here (no manifest.json); run its training stage")
    manifest = read_json(path)
    if manifest.get("kind") != kind:
        raise UserError(f"{folder}: holds a model of kind {manifest.get('kind')!r}, expected {kind!r}")
    return manifest


def check_same(a: str | Path, b: str | Path, key: str, value_a: Any, value_b: Any) -> None:
    """Refuse to join two parts that disagree on `key` (unit inventory, sample rate, feature configuration)."""
    if value_a != value_b:
        raise UserError(
            f"{a} and {b} do not fit together: their {key} differ\n  {a}: {value_a}\n  {b}: {value_b}\n"
            "Train both on the same data, or pass folders that belong together."
        )
