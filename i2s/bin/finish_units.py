"""Stage 6, last part: check the encoded splits, train the BPE over the training set's units, write the manifest.

Reads UNIT_DIR/{train,dev,test}/{units,unit_durations}; writes UNIT_DIR/bpe.model, if config.yaml asks for one, and
UNIT_DIR/manifest.json.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.config import load_config
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.units.bpe import UnitBpe
from i2s.units.inventory import UnitEncoder, write_manifest


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", default="kmeans", metavar="NAME", help="method (default: %(default)s)")
    options.add_argument("--features", type=Path, metavar="FILE", help="yaml of the speech features")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()

    encoder = UnitEncoder(args.folder, args.units)
    for split in ("train", "dev", "test"):
        check(args.folder / split, encoder.size)
    if encoder.config.bpe_size:
        train = read_int_table(args.folder / "train" / "units")
        bpe = UnitBpe.train(train.values(), encoder.size, encoder.config.bpe_size, args.folder / "bpe.model")
        if bpe.size < encoder.config.bpe_size:
            logging.warning(
                "%s: the training units hold only %d pieces of the %d asked for; going on with these",
                args.folder, bpe.size, encoder.config.bpe_size,
            )  # fmt: skip
    write_manifest(args.folder, args.units, load_config(SpeechFeatureConfig, args.features))


def check(split: Path, size: int) -> None:
    """Refuse tables whose units and durations do not belong together or are not of this inventory."""
    units, durations = read_int_table(split / "units"), read_int_table(split / "unit_durations")
    if units.keys() != durations.keys():
        raise UserError(f"{split}: units and unit_durations name different utterances; run the unit stage again")
    for key, row in units.items():
        if len(row) != len(durations[key]) or min(durations[key]) < 1 or min(row) < 0 or max(row) >= size:
            raise UserError(f"{split}: {key}: units and unit_durations do not fit; run the unit stage again")


if __name__ == "__main__":
    run(main)
