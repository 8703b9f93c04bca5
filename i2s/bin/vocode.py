"""Speak spectrograms as they are, through a vocoder: the ceiling of a system that draws them.

Writes, of this job's share of the utterances that the table IDS names: OUT_DIR/wav/<id>.wav, wav.J.scp, and
OUT_DIR/mel.J.{ark,scp}, copies of the spectrograms in DATA_DIR/feats.scp.
"""

from __future__ import annotations

from pathlib import Path

from i2s.archive import Matrices
from i2s.cli import parser, run
from i2s.config import load_config
from i2s.corpus.jobs import share
from i2s.corpus.tables import read_table
from i2s.features.speech import SpeechFeatureConfig
from i2s.progress import batches
from i2s.u2s.base import Speech
from i2s.vocoder.speak import add_options, write_speech


def main() -> None:
    options = parser(__doc__)
    add_options(options)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("ids", type=Path, metavar="IDS", help="table whose keys are utterances of DATA_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()

    mels = Matrices(args.data / "feats.scp")
    features = load_config(SpeechFeatureConfig, args.data / "features.json")  # JSON is yaml, too
    todo = share(list(read_table(args.ids)), args.job)
    spoken = ((names, [Speech(mels[name]) for name in names]) for names in batches(todo, args.batch_size, "vocoder"))
    write_speech(args.out, spoken, features, args)


if __name__ == "__main__":
    run(main)
