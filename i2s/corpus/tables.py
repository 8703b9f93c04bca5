"""Kaldi's flat tables: one `key value` a line, UTF-8, sorted in C locale, no key twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from i2s.errors import UserError
from i2s.files import write_text

# Ids become file names and shell arguments: letters and digits of any script and a few harmless signs.
_ID = re.compile(r"[\w@=+:,#~%-][\w.@=+:,#~%-]*", re.UNICODE)


def check_id(key: str, where: str) -> str:
    """Return `key` if it may be an utterance, image or speaker id; else raise UserError naming `where`."""
    if not _ID.fullmatch(key) or ".." in key or key.startswith("-"):
        raise UserError(
            f"{where}: {key!r} cannot be an id; use letters, digits and . _ - @ = + : , # ~ % only, "
            "not starting with '.' or '-', and without '..'"
        )
    return key


def iter_table(path: str | Path, allow_empty_value: bool = False, unique: bool = True) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of each line in file order. Values keep their inner spaces.

    Raises UserError naming file and line for: no such file, not UTF-8, a missing column, a bad id, a key twice
    (where keys are to be `unique`).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    seen: set[str] = set()
    with path.open("rb") as f:
        for number, raw in enumerate(f, 1):
            where = f"{path}:{number}"
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as e:
                raise UserError(f"{where}: not UTF-8 (byte {e.start}); convert the file with iconv") from e
            key, _, value = line.strip(" \t\r\n").replace("\t", " ").partition(" ")
            if not key:
                raise UserError(f"{where}: empty line")
            check_id(key, where)
            value = value.strip()
            if not value and not allow_empty_value:
                raise UserError(f"{where}: {key} has no value; expected 'key value'")
            if unique and key in seen:
                raise UserError(f"{where}: {key} appears twice")
            seen.add(key)
            yield key, value


def read_table(path: str | Path, allow_empty_value: bool = False) -> dict[str, str]:
    """Read a whole table into a dict, in file order. Raises UserError as `iter_table` does."""
    return dict(iter_table(path, allow_empty_value))


def evenly(keys: Iterable[str], count: int) -> list[str]:
    """`count` of the keys (all, if there are fewer), evenly spaced over their C-locale order."""
    ordered = sorted(keys, key=str.encode)
    count = min(count, len(ordered))
    return [ordered[i * len(ordered) // count] for i in range(count)]


def write_table(path: str | Path, rows: Mapping[str, object] | Iterable[tuple[str, object]]) -> None:
    """Write rows sorted by key in C locale, whole or not at all."""
    items = rows.items() if isinstance(rows, Mapping) else rows
    lines = [f"{key} {value}\n" for key, value in sorted(items, key=lambda kv: kv[0].encode())]
    write_text(path, "".join(lines))


def read_int_table(path: str | Path) -> dict[str, list[int]]:
    """Read a table of integer sequences, such as `units`. Raises UserError for anything else."""
    out = {}
    for key, value in iter_table(path):
        try:
            out[key] = [int(v) for v in value.split()]
        except ValueError as e:
            raise UserError(f"{path}: {key}: not a sequence of integers: {value[:40]!r}") from e
    return out


def write_int_table(path: str | Path, rows: Mapping[str, Iterable[int]]) -> None:
    """Write a table of integer sequences."""
    write_table(path, {key: " ".join(map(str, row)) for key, row in rows.items()})
