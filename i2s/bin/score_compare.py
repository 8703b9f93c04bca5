"""Compare two systems that were scored on the same images and references: is A better than B?

Prints, for each measure that both have, the scores, A minus B, its 95 % interval and a two-sided p-value: paired
bootstrap over images (Koehn 2004; Riezler and Maxwell 2005).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import write_text
from i2s.score.compare import compare, markdown


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--resamples", type=int, default=10_000, metavar="N", help="(10000)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", type=Path, metavar="FILE", help="write what is printed there, too")
    options.add_argument("a", type=Path, metavar="A", help="a folder with results.json and statistics.npz")
    options.add_argument("b", type=Path, metavar="B")
    args = options.parse_args()
    if args.resamples < 1:
        raise UserError(f"--resamples {args.resamples}: expected 1 or more")
    found: dict[str, Any] = compare(args.a, args.b, args.resamples, args.seed)
    if args.json:
        write_text(args.json, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    print(markdown(found), end="")


if __name__ == "__main__":
    run(main)
