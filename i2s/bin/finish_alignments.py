"""Stage 6 for words and phones: join what the jobs aligned, name the symbols, and write the alignments as units.

Reads UNIT_DIR/{train,dev,test}/parts/{alignment,failures}.J and the length of each spectrogram of DATA_DIR. Writes
UNIT_DIR/<split>/{alignment.ctm,failures}, UNIT_DIR/symbols.txt with the symbols of the training set,
UNIT_DIR/config.yaml, and UNIT_DIR/<split>/parts/{units,unit_durations}.1 for i2s.bin.finish_units.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.archive import Matrices
from i2s.cli import parser, run
from i2s.config import load_config, save_config
from i2s.corpus.ctm import Interval, read_ctm, write_ctm
from i2s.corpus.tables import read_table, write_int_table, write_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.units.aligned import KINDS, UNKNOWN, AlignedConfig, Symbols

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", choices=KINDS, required=True)
    options.add_argument("--config", type=Path, metavar="FILE", help="yaml with fields of AlignedConfig")
    options.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()

    save_config(load_config(AlignedConfig, args.config, args.overrides), args.folder / "config.yaml")
    frame_shift = load_config(SpeechFeatureConfig, args.data / "train" / "features.json").frame_shift  # JSON is yaml
    said = {split: join(args.folder / split) for split in ("train", "dev", "test")}
    symbols = Symbols.of(i.symbol for row in said["train"].values() for i in row)
    symbols.save(args.folder)
    for split, rows in said.items():
        encode(rows, symbols, args.data / split, frame_shift, args.folder / split)


def join(split: Path) -> dict[str, list[Interval]]:
    """Write the tables of one split from its parts, and return its alignment."""
    said = {u: row for part in split.glob("parts/alignment.*") for u, row in read_ctm(part).items()}
    failures = {u: why for part in split.glob("parts/failures.*") for u, why in read_table(part).items()}
    if not said:
        raise UserError(f"{split}: no utterance could be aligned; see {split}/parts/failures.*")
    write_table(split / "failures", failures)
    write_ctm(split / "alignment.ctm", said)
    return said


def encode(said: dict[str, list[Interval]], symbols: Symbols, data: Path, frame_shift: float, folder: Path) -> None:
    """Write the units of a split, each utterance as long as its spectrogram."""
    lengths, units, durations = Matrices(data / "feats.scp"), {}, {}
    for utterance, row in said.items():
        units[utterance], durations[utterance] = symbols.units(row, lengths.rows(utterance), frame_shift)
    new = sorted({i.symbol for row in said.values() for i in row} - set(symbols.names))
    if new:
        log.info("%s: not in the training set, and so %s: %s", folder, UNKNOWN, " ".join(new))
    write_int_table(folder / "parts" / "units.1", units)
    write_int_table(folder / "parts" / "unit_durations.1", durations)


if __name__ == "__main__":
    run(main)
