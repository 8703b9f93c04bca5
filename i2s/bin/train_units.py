"""Stage 6, first part: learn units from the speech features of the training set.

Writes UNIT_DIR/config.yaml and the units. The folder becomes a finished inventory with i2s.bin.finish_units.
SCP is a table of feature matrices; KEY=VALUE are fields of the method's Config.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.archive import Matrices
from i2s.cli import add_config, parser, run
from i2s.config import load_config, save_config
from i2s.errors import UserError
from i2s.units import UNIT_METHODS
from i2s.units.aligned import KINDS
from i2s.units.base import UnitMethod


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", default="kmeans", metavar="NAME", help="method (default: %(default)s)")
    add_config(options, "the method's Config")
    options.add_argument("scp", type=Path, metavar="SCP")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()

    part: type[UnitMethod] = UNIT_METHODS.get(args.units)
    if args.units in KINDS:
        raise UserError(f"units {args.units} are not learned but aligned: steps/align_units.sh")
    config = load_config(part.Config, args.config, args.overrides)
    (args.folder / "manifest.json").unlink(missing_ok=True)  # not finished any more
    save_config(config, args.folder / "config.yaml")
    method = part.train(Matrices(args.scp), config)
    method.save(args.folder)
    logging.info("%s: %d units", args.folder, method.size)


if __name__ == "__main__":
    run(main)
