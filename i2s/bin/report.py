"""Stage 11: a page to look at and listen to what a system says: OUT_DIR/index.html, with OUT_DIR/media beside it.

Open it from disk; it needs no network. It shows the scores between floors and ceilings, and of each image: the photo
with the attention over it, generated and reference speech, what the recogniser heard and how it matches the references,
and units; then learning curves and unit statistics. With --other a second system stands beside the first.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import atomic_dir
from i2s.report.collect import Source, collect
from i2s.report.curves import learning_curves, unit_statistics
from i2s.report.media import Media
from i2s.report.page import render

_MARK = ".i2s-report"  # in a folder that this command made, and may replace


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--num-items", type=int, default=60, metavar="N", help="images on the page (default 60)")
    options.add_argument("--other", type=Path, metavar="DIR", help="a second system, described the same images")
    options.add_argument("--embed", choices=("true", "false"), default="false", help="media in the page: one file")
    options.add_argument(
        "--ceilings", type=Path, metavar="DIR", help="holds resynth/: let it be heard too; default: as scored"
    )
    options.add_argument("--unit-dir", type=Path, metavar="DIR", help="its statistics; default: as scored")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("system", type=Path, metavar="SYSTEM_DIR", help="the generated split: exp/<system>/<split>")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    if args.num_items < 1:
        raise UserError(f"--num-items {args.num_items}: expected at least 1")
    if args.out.exists() and not (args.out / _MARK).is_file() and any(args.out.iterdir()):
        raise UserError(f"{args.out}: holds something else than a report; name another folder")

    source = Source(args.data, args.system, args.ceilings, args.other, args.unit_dir)
    with atomic_dir(args.out) as folder:
        media = Media(folder, args.embed == "true")
        items = collect(source, source.choose(args.num_items), media)
        curves = learning_curves([system.folder for system in source.systems])
        page = render(source, items, curves, unit_statistics(source.unit_dir), phone_plot(source.unit_dir, media))
        (folder / "index.html").write_text(page, encoding="utf-8")
        (folder / _MARK).touch()


def phone_plot(units: Path | None, media: Media) -> list[tuple[str, str]]:
    """(title, address) of the picture of units against phones, where it was drawn."""
    plot = units / "phones.png" if units else None
    return [("Units against phones", media.add(plot.name, plot.read_bytes()))] if plot and plot.is_file() else []


if __name__ == "__main__":
    run(main)
