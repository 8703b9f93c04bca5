"""Stage 6 for words and phones: name the symbols, and write the alignments as units.

Reads UNIT_DIR/{train,dev,test}/{alignment.ctm,failures} and the length of each spectrogram of DATA_DIR. Writes
UNIT_DIR/config.yaml, UNIT_DIR/symbols.txt with the symbols of the training set, and
UNIT_DIR/<split>/parts/{units,unit_durations}.1 for i2s.bin.finish_units.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.archive import Matrices
from i2s.cli import add_config, parser, run
from i2s.config import load_config, save_config
from i2s.corpus.ctm import read_ctm
from i2s.corpus.tables import read_table, write_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.units.aligned import KINDS, UNKNOWN, AlignedConfig, Symbols

log = logging.getLogger(__name__)
SPLITS = ("train", "dev", "test")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", choices=KINDS, required=True)
    add_config(options, "AlignedConfig")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()

    config = load_config(AlignedConfig, args.config, args.overrides)
    for split in SPLITS:
        failures = read_table(args.folder / split / "failures")
        if failures and config.on_failure == "error":
            raise UserError(
                f"{args.folder}/{split}/failures: {len(failures)} utterances cannot be aligned; mend them, or leave "
                "them out with on_failure=skip"
            )
    save_config(config, args.folder / "config.yaml")
    frame_shift = load_config(SpeechFeatureConfig, args.data / "train" / "features.json").frame_shift  # JSON is yaml
    said = read_ctm(args.folder / "train" / "alignment.ctm")
    symbols = Symbols.of(i.symbol for row in said.values() for i in row)
    symbols.save(args.folder)
    del said
    for split in SPLITS:  # one at a time: alignments take more memory than all else
        encode(args.folder / split, symbols, args.data / split, frame_shift)


def encode(split: Path, symbols: Symbols, data: Path, frame_shift: float) -> None:
    """Write the units of a split, each utterance as long as its spectrogram."""
    said = read_ctm(split / "alignment.ctm")
    lengths, units, durations = Matrices(data / "feats.scp"), {}, {}
    for utterance, row in said.items():
        units[utterance], durations[utterance] = symbols.units(row, lengths.rows(utterance), frame_shift)
    new = sorted({i.symbol for row in said.values() for i in row} - set(symbols.names))
    if new:
        log.info("%s: not in the training set, and so %s: %s", split, UNKNOWN, " ".join(new))
    write_int_table(split / "parts" / "units.1", units)
    write_int_table(split / "parts" / "unit_durations.1", durations)


if __name__ == "__main__":
    run(main)
