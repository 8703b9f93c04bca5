"""Write speech features as units: run-length collapsed units, and their durations in frames.

Reads the table of matrices SCP and the units in UNIT_DIR; writes the tables UNITS and DURATIONS, which have the same
ids and row lengths; the durations of a row add up to its number of frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from i2s.archive import Matrices
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import write_int_table
from i2s.errors import UserError
from i2s.progress import batches
from i2s.units import load
from i2s.units.inventory import UnitEncoder

BATCH = 32  # utterances


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", metavar="NAME", help="method, where UNIT_DIR is not a finished inventory yet")
    options.add_argument("--job", type=parse_job, default=(1, 1), metavar="J/N", help="the J-th of N slices of SCP")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    options.add_argument("scp", type=Path, metavar="SCP")
    options.add_argument("units_out", type=Path, metavar="UNITS")
    options.add_argument("durations_out", type=Path, metavar="DURATIONS")
    args = options.parse_args()

    encoder = UnitEncoder(args.folder, args.units) if args.units else load(args.folder)
    matrices = Matrices(args.scp)
    units: dict[str, np.ndarray] = {}
    durations: dict[str, np.ndarray] = {}
    for keys in batches(share(list(matrices), args.job), BATCH, "speech to units"):
        feats = {key: matrices[key] for key in keys}
        for key, runs in encoder.encode(feats).items():
            units[key], durations[key] = runs
            if durations[key].sum() != len(feats[key]) or not len(feats[key]):
                raise UserError(
                    f"{args.scp}: {key}: {len(feats[key])} frames became {durations[key].sum()}; extract it again"
                )
    write_int_table(args.durations_out, durations)
    write_int_table(args.units_out, units)


if __name__ == "__main__":
    run(main)
