"""Merge tables (`key value` a line), such as the scp files of several jobs, into one sorted table.

A key that appears twice, in one table or in two, is an error. OUT is written whole or not at all.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import iter_table, write_table
from i2s.errors import UserError


def main() -> None:
    options = parser(__doc__)
    options.add_argument("out", type=Path, metavar="OUT")
    options.add_argument("tables", type=Path, nargs="+", metavar="IN")
    args = options.parse_args()

    rows: dict[str, str] = {}
    origin: dict[str, Path] = {}
    for table in args.tables:
        for key, value in iter_table(table, allow_empty_value=True):
            if key in origin:
                raise UserError(f"{table}: {key} is in {origin[key]} already; give each job its own part of the table")
            rows[key], origin[key] = value, table
    write_table(args.out, rows)


if __name__ == "__main__":
    run(main)
