"""Write the list of phones in context that ABX is measured on, a ZeroSpeech .item file, from an alignment.

Reads a CTM file of phones, such as UNIT_DIR/<split>/alignment.ctm of --units phones-l1, and DATA_DIR/utt2spk. Silence
is no phone; as a context it is there before the first phone of an utterance and after its last only.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.ctm import read_ctm
from i2s.corpus.items import EXTENTS, make_items, write_items
from i2s.corpus.tables import read_table
from i2s.errors import UserError


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--extent",
        choices=EXTENTS,
        default=EXTENTS[0],
        help="phones with their neighbours, or alone (default %(default)s)",
    )
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("ctm", type=Path, metavar="CTM")
    options.add_argument("out", type=Path, metavar="ITEM_FILE")
    args = options.parse_args()

    items = make_items(read_ctm(args.ctm), read_table(args.data / "utt2spk"), args.extent)
    if not items:
        raise UserError(f"{args.ctm}: holds no phone that has its neighbours beside it")
    write_items(args.out, items)
    phones, contexts = {i.phone for i in items}, {(i.before, i.after) for i in items}
    logging.info("%s: %d items, %d phones in %d contexts", args.out, len(items), len(phones), len(contexts))


if __name__ == "__main__":
    run(main)
