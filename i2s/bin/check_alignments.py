"""Stage 6 for words and phones, before hours of aligning: can all be aligned as the options say?

Whatever they name is opened. Words that the lexicon lacks are all named at once: an error, or with on_failure=skip a
warning.
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from i2s.cli import add_config, parser, run
from i2s.config import load_config
from i2s.corpus.tables import iter_table
from i2s.errors import UserError
from i2s.units.aligned import KINDS, AlignedConfig, Alignments

log = logging.getLogger(__name__)
SHOWN = 20  # words of a message


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", choices=KINDS, required=True)
    add_config(options, "AlignedConfig")
    options.add_argument("splits", nargs="+", type=Path, metavar="DATA_DIR")
    args = options.parse_args()

    config = load_config(AlignedConfig, args.config, args.overrides)
    alignments = Alignments(args.units, config, only=())
    if alignments.reads_text:
        for split in args.splits:
            check_text(split / "text", alignments, config.on_failure)


def check_text(path: Path, alignments: Alignments, on_failure: str) -> None:
    """Name the words that have no pronunciation. Raises UserError unless their utterances are to be skipped."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; units {alignments.kind} are aligned with a text (kmeans, pseudo-phones and "
            "phones-l2 need none)"
        )
    missing: Counter[str] = Counter()
    utterances = lost = 0
    for _, text in iter_table(path, allow_empty_value=True):
        words = alignments.missing(text)
        missing.update(words)
        utterances, lost = utterances + 1, lost + bool(words)
    if not missing:
        return
    words = [word for word, _ in missing.most_common(SHOWN)]
    message = (
        f"{path}: {lost} of {utterances} utterances have words that are not in the lexicon: {', '.join(words)}"
        + (f" and {len(missing) - SHOWN} others" if len(missing) > SHOWN else "")
    )
    if on_failure == "error":
        raise UserError(f"{message}\nadd them to it (lexicon=FILE), or leave such utterances out with on_failure=skip")
    log.warning("%s; they are left out", message)


if __name__ == "__main__":
    run(main)
