"""Tell the scenes of the embedded corpus in German: TOLD/{train,dev,test} are the data directories of DRAWN, which were
drawn with this seed, with German captions in `text`."""

from __future__ import annotations

import random
from pathlib import Path

from captions import write_captions

from i2s.bin.draw_corpus import describe
from i2s.cli import parser, run
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.pictograms_scene import SPLITS
from i2s.corpus.tables import read_table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("drawn", type=Path, metavar="DRAWN")
    options.add_argument("told", type=Path, metavar="TOLD")
    args = options.parse_args()
    for split in SPLITS:
        images = read_table(args.drawn / split / "images.scp")
        text: dict[str, str] = {}
        for image in images:
            scene, _ = describe(args.seed, image, split)
            captions = write_captions(scene, random.Random(f"{args.seed} {image} words"))
            text |= {f"{image}-{k}": caption for k, caption in enumerate(captions)}
        write_data_dir(
            args.told / split,
            images=images,
            utt2image=read_table(args.drawn / split / "utt2image"),
            utt2spk=read_table(args.drawn / split / "utt2spk"),
            text=text,
        )


if __name__ == "__main__":
    run(main)
