"""Stage 11: a page to look at and listen to what a system says: OUT_DIR/index.html, with OUT_DIR/media beside it.

Open it from disk; it needs no network. It shows the score table, and of each image: the photo with the attention over
it, generated and reference speech, what the recogniser heard, references and units.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import atomic_dir
from i2s.report.collect import Source, collect, copy_plots
from i2s.report.page import render

_MARK = ".i2s-report"  # in a folder that this command made, and may replace


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--num-items", type=int, default=60, metavar="N", help="images on the page (default 60)")
    options.add_argument(
        "--ceilings", type=Path, metavar="DIR", help="holds resynth/: let it be heard too; default: as scored"
    )
    options.add_argument("--unit-dir", type=Path, metavar="DIR", help="its plots; default: as scored")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("system", type=Path, metavar="SYSTEM_DIR", help="the generated split: exp/<system>/<split>")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    if args.num_items < 1:
        raise UserError(f"--num-items {args.num_items}: expected at least 1")
    if args.out.exists() and not (args.out / _MARK).is_file() and any(args.out.iterdir()):
        raise UserError(f"{args.out}: holds something else than a report; name another folder")

    source = Source(args.data, args.system, args.ceilings)
    with atomic_dir(args.out) as folder:
        items = collect(source, source.choose(args.num_items), folder)
        plots = copy_plots(args.unit_dir or source.unit_dir, folder)
        title = "/".join(args.system.resolve().parts[-2:])
        page = render(title, source.results, items, plots, described=len(source.speech))
        (folder / "index.html").write_text(page, encoding="utf-8")
        (folder / _MARK).touch()


if __name__ == "__main__":
    run(main)
