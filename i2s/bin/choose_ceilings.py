"""Choose one utterance of each image, by a seed: what the ceilings of the scores are measured on.

Writes OUT_DIR/voice/{wav.scp,utt2image,units}, the recordings, and OUT_DIR/resynth/{utt2image,units}, to be spoken
again. Without --units there are none, and utterances with a spectrogram are chosen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import read_table, write_table


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--units", type=Path, metavar="TABLE", help="of utterances of DATA_DIR")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    wavs, spoken = read_table(args.data / "wav.scp"), read_table(args.units or args.data / "feats.scp")
    by_image = defaultdict(list)
    for utterance, image in read_table(args.data / "utt2image").items():
        if utterance in wavs and utterance in spoken:
            by_image[image].append(utterance)
    chosen = {
        # Each image draws by itself, so that one image more or less changes no other choice.
        random.Random(f"{args.seed} {image}").choice(sorted(utterances)): image
        for image, utterances in by_image.items()
    }
    for name in ("voice", "resynth"):
        write_table(args.out / name / "utt2image", chosen)
        if args.units:
            write_table(args.out / name / "units", {u: spoken[u] for u in chosen})
    write_table(args.out / "voice" / "wav.scp", {u: wavs[u] for u in chosen})


if __name__ == "__main__":
    run(main)
