"""A table over unit inventories: how much they say a second, and how they agree with aligned phones.

Reads UNIT_DIR/stats.json and, where it is there, UNIT_DIR/phones.json (steps/unit_phones.sh); prints Markdown. Units of
like bit rates compare; more of them agree better by their number alone.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import read_json
from i2s.modeldir import load_manifest
from i2s.score.results import grid

COLUMNS = ["units", "kind", "size", "used", "a second", "bits a second", "purity", "phone purity", "NMI"]
BOUNDARIES = ["boundary precision", "recall", "F", "R-value"]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--split", default="test", help="whose statistics (default %(default)s)")
    options.add_argument("folders", nargs="+", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()
    print("\n".join(grid([[*COLUMNS, *BOUNDARIES], *(cells(folder, args.split) for folder in args.folders)], left=2)))


def cells(folder: Path, split: str) -> list[str]:
    """One row. Percent, but for the inventory and what is a second."""
    stats = read_json(folder / "stats.json")
    if split not in stats:
        raise UserError(f"{folder}: stats.json has no split {split}, but {', '.join(stats)}")
    s = stats[split]
    row = [folder.name, load_manifest(folder, "units")["method"], str(s["inventory"]), str(s["used"])]
    row += [f"{s['per_second']:.1f}", f"{s['bits_per_second']:.0f}"]
    if not (folder / "phones.json").is_file():
        return row + [""] * (len(COLUMNS) + len(BOUNDARIES) - len(row))
    phones = read_json(folder / "phones.json")
    edges = phones["boundaries"]
    shares = [phones["purity"], phones["phone_purity"], phones["nmi"]]
    return row + [f"{100 * x:.1f}" for x in (*shares, *(edges[k] for k in ("precision", "recall", "f", "r_value")))]


if __name__ == "__main__":
    run(main)
