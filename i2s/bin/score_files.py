"""Score plain files `id text` of any system, any data set, any language, beside floors and ceilings.

An id is an image's (or any item's), or --utt2image maps it to one. An id has one hypothesis; its references may be in
several files, or in several lines of one file. --train and --dev give the constant floors, --samples more things that
the system said, for diversity. Writes OUT_DIR/{results.json,results.md,per_image.json,statistics.npz}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from i2s.cli import parser, run
from i2s.score.inputs import Files, about_recogniser, label, read_files
from i2s.score.run import Run, add_options


def main() -> None:
    options = parser(__doc__)
    more: dict[str, Any] = {"type": Path, "action": "append", "default": [], "metavar": "FILE"}
    options.add_argument("--utt2image", **more, help="`id image` of ids that are not images' (may be repeated)")
    options.add_argument("--train", **more, help="captions of other images, for floors (may be repeated)")
    options.add_argument("--dev", **more, help="captions of yet other images (may be repeated)")
    options.add_argument("--samples", type=Path, metavar="FILE", help="more hypotheses, several lines an id")
    options.add_argument("--units", choices=("true", "false"), default="false", help="tokens are units, not words")
    add_options(options)
    options.add_argument("hypotheses", type=Path, metavar="HYPOTHESES")
    options.add_argument("references", type=Path, nargs="+", metavar="REFERENCES")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()

    units = args.units == "true"
    files = Files(
        args.hypotheses,
        tuple(args.references),
        tuple(args.train),
        tuple(args.dev),
        args.samples,
        tuple(args.utt2image),
    )
    inputs, tokeniser = read_files(files, args.tokens, units)
    scoring = Run(str(args.hypotheses), args)
    if units:
        scoring.units(inputs)
    else:
        if args.hypotheses.with_name(f"{args.hypotheses.name}.parts").is_dir():  # made by steps/transcribe.sh
            inputs.read_by = label(args.hypotheses)
            scoring.settings["asr"] = about_recogniser(args.hypotheses)
        scoring.captions(inputs, tokeniser)
    if not inputs.train:
        scoring.note("without --train there is no constant floor, and no place between floor and ceiling")
    scoring.write(args.out)


if __name__ == "__main__":
    run(main)
