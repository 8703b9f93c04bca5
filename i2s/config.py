"""Configurations: dataclasses filled from yaml and `key=value` overrides; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from i2s.errors import UserError
from i2s.files import write_text

T = TypeVar("T")


def load_config(cls: type[T], path: str | Path | None = None, overrides: list[str] | None = None) -> T:
    """Build the dataclass `cls` from its defaults, then a flat yaml file, then overrides like `width=256`.

    Raises UserError naming file and key for an unknown key, a value of the wrong type or bad yaml.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values.update(_checked(cls, _read_yaml(Path(path)), str(path)))
    for override in overrides or []:
        key, sep, text = override.partition("=")
        if not sep:
            raise UserError(f"override {override!r}: expected key=value")
        values.update(_checked(cls, {key: yaml.safe_load(text)}, f"override {override!r}"))
    return cls(**values)


def from_dict(cls: type[T], values: dict[str, Any], where: str) -> T:
    """Build the dataclass `cls` from a plain dict (say, of a manifest), with the same checks."""
    return cls(**_checked(cls, values, where))


def save_config(config: Any, path: str | Path) -> None:
    """Write every field of the dataclass `config`, defaults included."""
    write_text(path, yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))


def to_dict(config: Any) -> dict[str, Any]:
    """The dataclass as plain yaml/json types (tuples become lists)."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: not valid yaml: {e}") from e
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected 'key: value' lines")
    return values


def _checked(cls: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    fields = {f.name for f in dataclasses.fields(cls) if f.init}
    out = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(sorted(fields))}"
            raise UserError(f"{where}: unknown key {key!r}{hint}")
        out[key] = _coerce(value, hints[key], f"{where}: {key}")
    return out


def _coerce(value: Any, hint: Any, where: str) -> Any:
    """Accept `value` as `hint`, turning int to float, "1e-3" to float, lists to tuples and dicts to dataclasses; else
    UserError."""
    args = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return from_dict(hint, value, where)
    if origin is dict and isinstance(value, dict):
        return {str(k): _coerce(v, args[1], f"{where}: {k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        element = args[0]
        return tuple(_coerce(v, element, where) for v in value)
    if value is None and type(None) in args:
        return None
    options = [a for a in args if a is not type(None)] if args and origin is not tuple else [hint]
    for option in options:
        if option is float and isinstance(value, int | str) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                continue
        if option is bool or isinstance(value, bool):
            if option is bool and isinstance(value, bool):
                return value
            continue
        if origin is not typing.Literal and isinstance(option, type) and isinstance(value, option):
            return value
        if origin is typing.Literal and str(value) == str(option):  # yaml reads 32 as a number
            return option
    wanted = " or ".join(getattr(o, "__name__", repr(o)) for o in options)
    raise UserError(f"{where}: expected {wanted}, got {value!r}")
