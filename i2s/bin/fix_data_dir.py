"""Mend a data directory: sort its tables, keep the utterances that all of them hold, write spk2utt anew.

Images that no utterance describes go too. What is left out is counted; wavs, photos and archives stay where they are.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import UTTERANCE_TABLES, filter_data_dir
from i2s.corpus.tables import iter_table, read_table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    data: Path = options.parse_args().data

    all_utterances = set(read_table(data / "utt2spk"))
    kept = set(all_utterances)
    for name in UTTERANCE_TABLES:
        # With `segments`, wav.scp lists recordings.
        if (data / name).is_file() and not (name == "wav.scp" and (data / "segments").is_file()):
            kept &= {key for key, _ in iter_table(data / name, allow_empty_value=True)}
    utterances, images = filter_data_dir(data, kept)
    logging.info("%s: kept %d of %d utterances, %d images", data, utterances, len(all_utterances), images)


if __name__ == "__main__":
    run(main)
