"""A table over unit inventories: how much they say a second, and how they agree with aligned phones.

Reads UNIT_DIR/stats.json and, where it is there and of the same split, UNIT_DIR/phones.json (steps/unit_phones.sh);
prints Markdown. Units of like bit rates compare; more of them agree better by their number alone. With --abx also the
ABX error (i2s.units.abx), for which less is better.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.items import Item, read_items
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.files import read_json
from i2s.modeldir import load_manifest
from i2s.score.results import grid
from i2s.units.abx import abx_errors

COLUMNS = ["units", "kind", "size", "used", "a second", "bits a second", "purity", "phone purity", "NMI"]
BOUNDARIES = ["boundary precision", "recall", "F", "R-value"]
MODES = ("within", "across")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--split", default="test", help="whose statistics (default %(default)s)")
    options.add_argument("--abx", type=Path, metavar="ITEM_FILE", help="phones of the split, in ZeroSpeech's form")
    options.add_argument(
        "--abx-cell", type=int, default=10, metavar="N", help="tokens drawn of each (default %(default)s)"
    )
    options.add_argument("folders", nargs="+", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()
    if args.abx_cell < 2:
        raise UserError("--abx-cell must be at least 2: A and X are two tokens of one phone")

    table = [[*COLUMNS, *BOUNDARIES], *(cells(folder, args.split) for folder in args.folders)]
    if args.abx:
        items = read_items(args.abx)
        errors = [abx(items, folder, args.split, args.abx_cell) for folder in args.folders]
        modes = [mode for mode in MODES if any(mode in found for found in errors)]
        table[0] += [f"ABX {mode}" for mode in modes]
        for row, found in zip(table[1:], errors, strict=True):
            row += [f"{100 * found[mode]:.1f}" if mode in found else "" for mode in modes]
    print("\n".join(grid(table, left=2)))


def cells(folder: Path, split: str) -> list[str]:
    """One row. Percent, but for the inventory and what is a second."""
    stats = read_json(folder / "stats.json")
    if split not in stats:
        raise UserError(f"{folder}: stats.json has no split {split}, but {', '.join(stats)}")
    s = stats[split]
    row = [folder.name, load_manifest(folder, "units")["method"], str(s["inventory"]), str(s["used"])]
    row += [f"{s['per_second']:.1f}", f"{s['bits_per_second']:.0f}"]
    phones = read_json(folder / "phones.json") if (folder / "phones.json").is_file() else {}
    if phones.get("split") != split:
        return row + [""] * (len(COLUMNS) + len(BOUNDARIES) - len(row))
    edges = phones["boundaries"]
    shares = [phones["purity"], phones["phone_purity"], phones["nmi"]]
    return row + [f"{100 * x:.1f}" for x in (*shares, *(edges[k] for k in ("precision", "recall", "f", "r_value")))]


def abx(items: list[Item], folder: Path, split: str, most: int) -> dict[str, float]:
    """The ABX errors of the units of one split."""
    units, durations = (read_int_table(folder / split / name) for name in ("units", "unit_durations"))
    try:
        return abx_errors(items, units, durations, load_manifest(folder, "units")["frame_shift"], most)
    except UserError as e:
        raise UserError(f"{folder / split}: {e}") from e


if __name__ == "__main__":
    run(main)
