"""Stage 6, last part: join and check what the jobs encoded, train the BPE over the training set's units.

Reads UNIT_DIR/{train,dev,test}/parts/{units,unit_durations}.J; writes UNIT_DIR/{train,dev,test}/{units,unit_durations},
UNIT_DIR/bpe.model, if config.yaml asks for one, and at last UNIT_DIR/manifest.json.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import read_int_table, write_int_table
from i2s.errors import UserError
from i2s.units.bpe import UnitBpe
from i2s.units.inventory import UnitEncoder, write_manifest


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", default="kmeans", metavar="NAME", help="method (default: %(default)s)")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    options.add_argument("features", type=Path, metavar="FEATURES_JSON", help="how the speech features were made")
    args = options.parse_args()

    try:
        features = json.loads(args.features.read_text(encoding="utf-8"))
        assert features["hop_length"] and features["sample_rate"]
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise UserError(f"{args.features}: does not describe speech features; run stage 4 again") from None
    encoder = UnitEncoder(args.folder, args.units)
    train: list[list[int]] = []
    for split in ("train", "dev", "test"):
        units = join(args.folder / split, encoder.size)
        if split == "train":
            train = list(units.values())
    if encoder.config.bpe_size:
        bpe = UnitBpe.train(train, encoder.size, encoder.config.bpe_size, args.folder / "bpe.model")
        if bpe.size < encoder.config.bpe_size:
            logging.warning(
                "asked for %d pieces, but the training units hold only %d", encoder.config.bpe_size, bpe.size
            )
    write_manifest(args.folder, args.units, features)


def join(split: Path, size: int) -> dict[str, list[int]]:
    """Write the tables of one split from its parts, and return its units."""
    tables: dict[str, dict[str, list[int]]] = {}
    for name in ("units", "unit_durations"):
        parts = [read_int_table(path) for path in split.glob(f"parts/{name}.*")]
        tables[name] = {key: row for part in parts for key, row in part.items()}
        if not tables[name] or len(tables[name]) != sum(map(len, parts)):
            raise UserError(f"{split}: no speech, or an utterance in two parts; run the unit stage again")
    units, durations = tables.values()
    if units.keys() != durations.keys():
        raise UserError(f"{split}: units and unit_durations name different utterances; run the unit stage again")
    for key, row in units.items():
        if len(row) != len(durations[key]) or min(durations[key]) < 1 or min(row) < 0 or max(row) >= size:
            raise UserError(f"{split}: {key}: units and unit_durations do not fit; run the unit stage again")
    write_int_table(split / "units", units)
    write_int_table(split / "unit_durations", durations)
    return units


if __name__ == "__main__":
    run(main)
