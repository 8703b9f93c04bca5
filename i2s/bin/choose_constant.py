"""Choose the constant floor of the scores: the training caption that scores best when said of every image, searched on
the training captions and chosen on the dev ones. Writes OUT_DIR/{text,units}, the words and units of it, to be spoken.
Without --units there are none, and the caption is one that has a spectrogram.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.score.floors import best_constant
from i2s.score.inputs import grouped, tokenised
from i2s.score.text import TOKENS, Tokeniser


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tokens", choices=("auto", *TOKENS), default="auto", help="as in scoring")
    options.add_argument("--units", type=Path, metavar="TABLE", help="of the training utterances")
    options.add_argument("train", type=Path, metavar="TRAIN_DIR")
    options.add_argument("dev", type=Path, metavar="DEV_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    text = read_table(args.train / "text")
    tokenise = Tokeniser.choose(args.tokens, text.values())
    where = args.units or args.train / "feats.scp"
    spoken = read_table(where)
    captions = {u: said for u, said in tokenised(text, tokenise).items() if u in spoken}
    if not captions:
        raise UserError(f"{where}: has no utterance of {args.train}/text; run its stage")
    dev = tokenised(read_table(args.dev / "text"), tokenise)
    best = best_constant(
        grouped(read_table(args.train / "utt2image"), captions), grouped(read_table(args.dev / "utt2image"), dev)
    )
    utterance = next(u for u, said in captions.items() if said == best)
    write_table(args.out / "text", {utterance: text[utterance]})
    if args.units:
        write_table(args.out / "units", {utterance: spoken[utterance]})


if __name__ == "__main__":
    run(main)
