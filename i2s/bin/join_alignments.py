"""Stage 6 for words and phones: what the jobs aligned of one split as one table.

Reads SPLIT_DIR/parts/{alignment,failures}.* and writes SPLIT_DIR/{alignment.ctm,failures}.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.ctm import read_ctm, write_ctm
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("split", type=Path, metavar="SPLIT_DIR")
    split: Path = options.parse_args().split

    said = {u: row for part in split.glob("parts/alignment.*") for u, row in read_ctm(part).items()}
    failures = {u: why for part in split.glob("parts/failures.*") for u, why in read_table(part).items()}
    if not said:
        why = f"; the first: {next(iter(failures.values()))}" if failures else ""
        raise UserError(f"{split}: no utterance could be aligned{why}; see {split}/parts/failures.*")
    if failures:
        total = len(failures) + len(said)
        log.warning("%s: %d of %d utterances cannot be aligned, see %s/failures", split, len(failures), total, split)
    write_table(split / "failures", failures)
    write_ctm(split / "alignment.ctm", said)


if __name__ == "__main__":
    run(main)
