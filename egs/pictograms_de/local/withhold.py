"""Write the data directories DATA/{train,dev,test} of the recordings in SPOKEN, without the text that was read out."""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.pictograms_scene import SPLITS
from i2s.corpus.tables import read_table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("spoken", type=Path, metavar="SPOKEN")
    options.add_argument("data", type=Path, metavar="DATA")
    args = options.parse_args()
    for split in SPLITS:
        tables = {name: read_table(args.spoken / split / name) for name in ("images.scp", "utt2image", "utt2spk")}
        write_data_dir(
            args.data / split,
            images=tables["images.scp"],
            utt2image=tables["utt2image"],
            utt2spk=tables["utt2spk"],
            wavs=read_table(args.spoken / split / "wav.scp"),
        )


if __name__ == "__main__":
    run(main)
