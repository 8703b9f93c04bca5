"""Stage 6 for words and phones: what alignments are made with, by the options alone.

Prints a line with all options but those of what comes after aligning, and then the files and folders that are read, one
a line.
"""

from __future__ import annotations

import json
from dataclasses import replace

from i2s.cli import add_config, parser, run
from i2s.config import load_config, to_dict
from i2s.units.aligned import KINDS, AlignedConfig, inputs


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", choices=KINDS, required=True)
    add_config(options, "AlignedConfig")
    args = options.parse_args()

    config = load_config(AlignedConfig, args.config, args.overrides)
    # Failures and pieces are dealt with when all is aligned.
    print(json.dumps(to_dict(replace(config, on_failure="error", bpe_size=0))))
    for path in inputs(args.units, config):
        print(path)


if __name__ == "__main__":
    run(main)
