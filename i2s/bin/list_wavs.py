"""Write a `wav.scp` of the wavs in a folder: `id path` of each FOLDER/id.wav."""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import check_id, write_table
from i2s.errors import UserError


def main() -> None:
    options = parser(__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("out", type=Path)
    args = options.parse_args()
    wavs = {check_id(path.stem, str(path)): path for path in args.folder.glob("*.wav")}
    if not wavs:
        raise UserError(f"{args.folder}: holds no *.wav")
    write_table(args.out, wavs)


if __name__ == "__main__":
    run(main)
