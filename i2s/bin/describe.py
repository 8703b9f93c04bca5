"""Describe photos in speech.

describe --model exp/SYSTEM photo.jpg out.wav
describe --model exp/SYSTEM photo.jpg another.png ... FOLDER      one FOLDER/<photo's name>.wav each
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.audio import write_wav
from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.images import open_image
from i2s.progress import track

log = logging.getLogger(__name__)
BATCH = 16  # photos held in memory at a time


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", required=True, type=Path, metavar="DIR", help="a system's folder, made by stage 9")
    options.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    options.add_argument("out", type=Path, metavar="OUT", help="a .wav file for one photo, else a folder")
    args = options.parse_args()
    outs = targets(args.photos, args.out)
    for photo in args.photos:
        open_image(photo)  # a bad photo is named before the models are loaded

    from i2s.system import System  # after the checks: loading the models takes seconds

    system = System(args.model)
    batches = range(0, len(outs), BATCH)
    for at in track(batches, "photos", unit="batch") if len(batches) > 1 else batches:
        photos = [open_image(p) for p in args.photos[at : at + BATCH]]
        for description, out in zip(system.describe(photos), outs[at : at + BATCH], strict=True):
            write_wav(out, description.wav, system.sample_rate)
            print(out)
            if not description.stopped:
                log.warning("%s: the description did not come to an end by itself and was cut", out)


def targets(photos: list[Path], out: Path) -> list[Path]:
    """The wav of each photo. Raises UserError if two photos would go to the same file."""
    if out.suffix.lower() == ".wav":
        if len(photos) > 1:
            raise UserError(f"{out}: one wav file for {len(photos)} photos; name a folder instead")
        return [out]
    outs = [out / f"{photo.stem}.wav" for photo in photos]
    for photo, target in zip(photos, outs, strict=True):
        if outs.count(target) > 1:
            raise UserError(f"{photo}: another photo would be written to {target} too; give them different names")
    return outs


if __name__ == "__main__":
    run(main)
