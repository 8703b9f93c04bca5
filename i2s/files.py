"""Files that are either whole or absent: write beside the target, then rename."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2s.errors import UserError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; on success it is synced and renamed over `target`, else removed.

    The temporary name starts with a dot and ends with the target's own suffix, so that writers which choose a
    format by suffix work. A process killed in between leaves the old target (or none) and a dot-file.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    tmp = target.with_name(f".{target.stem}.tmp{os.getpid()}{target.suffix}")
    try:
        yield tmp
        with tmp.open("rb+") as f:
            os.fsync(f.fileno())
        tmp.replace(target)
    finally:
        tmp.unlink(missing_ok=True)


@contextmanager
def atomic_dir(target: str | Path) -> Iterator[Path]:
    """Yield a fresh folder beside `target`; on success it takes the place of `target`, else it is removed."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    tmp = target.with_name(f".{target.name}.tmp{os.getpid()}")
    shutil.rmtree(tmp, ignore_errors=True)
    tmp.mkdir()
    try:
        yield tmp
        if target.exists():
            shutil.rmtree(target)
        tmp.replace(target)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    with atomic_path(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def read_json(path: str | Path, again: str = "run its stage again", missing_ok: bool = False) -> dict[str, Any]:
    """The object in a JSON file; with `missing_ok`, empty if there is no file. Raises UserError, which says `again`,
    for one that is missing, damaged or holds no object."""
    if missing_ok and not Path(path).exists():
        return {}
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {again}") from None
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: not valid JSON: {e}; {again}") from e
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no JSON object; {again}")
    return value


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's content, read in blocks."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
