"""Check the names of the parts that a recipe is to use; the name `help` lists what there is and stops."""

from __future__ import annotations

import sys

from i2s import parts
from i2s.cli import parser, run
from i2s.errors import UserError


def main() -> None:
    options = parser(__doc__)
    for option in parts.options():
        options.add_argument(f"--{option}", metavar="NAME")
    chosen = vars(options.parse_args())
    for option in parts.options():
        name = chosen[option.replace("-", "_")]
        registry = parts.registry(option)
        if name == "help":
            print(f"--{option}:\n{registry.describe()}")
            sys.exit(3)
        if name is not None and name not in registry:
            raise UserError(registry.unknown(name))


if __name__ == "__main__":
    run(main)
