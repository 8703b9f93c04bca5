"""Choosing a part by name: one table a kind of part, which also prints what there is."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from i2s.errors import UserError


@dataclass(frozen=True)
class Part:
    """Where a part lives (`module:attribute`, imported only when chosen) and what it is, in one line."""

    target: str
    help: str

    def load(self) -> Any:
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Registry:
    """The parts of one kind, e.g. voices. `option` is the command-line option that chooses among them."""

    def __init__(self, option: str, parts: dict[str, Part]):
        self.option = option
        self.parts = parts

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def get(self, name: str) -> Any:
        """The class or function behind `name`. Raises UserError that lists the choices."""
        if name not in self.parts:
            raise UserError(self.unknown(name))
        return self.parts[name].load()

    def unknown(self, name: str) -> str:
        """The message for a name that is not there."""
        near = difflib.get_close_matches(name, self.parts, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"--{self.option} {name}: no such part{hint}; choose from\n{self.describe()}"

    def describe(self) -> str:
        """One line a part."""
        width = max(map(len, self.parts))
        return "\n".join(f"  {name:<{width}}  {part.help}" for name, part in self.parts.items())
