"""Count document frequencies for CIDEr's idf: in how many images' captions each n-gram is. For --cider-df."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from i2s.cli import parser, run
from i2s.score.captions import DocumentFrequencies, write_frequencies
from i2s.score.inputs import captions_by_image, read_image_of, read_rows
from i2s.score.text import TOKENS, Tokeniser


def main() -> None:
    options = parser(__doc__)
    more: dict[str, Any] = {"type": Path, "action": "append", "default": [], "metavar": "FILE"}
    options.add_argument("--utt2image", **more, help="`id image` of ids that are not images' (may be repeated)")
    options.add_argument("--tokens", choices=("auto", *TOKENS), default="auto", help="as in scoring")
    options.add_argument("captions", type=Path, nargs="+", metavar="CAPTIONS", help="tables `id text`")
    options.add_argument("out", type=Path, metavar="OUT_FILE")
    args = options.parse_args()
    rows = read_rows(args.captions)
    tokenise = Tokeniser.choose(args.tokens, (text for _, text in rows))
    captions = captions_by_image(rows, read_image_of(args.utt2image), tokenise)
    frequencies = DocumentFrequencies.of(list(of_image.values()) for of_image in captions.values())
    write_frequencies(args.out, frequencies)
    print(f"{args.out}: {len(frequencies.counts)} n-grams of {frequencies.documents} images")


if __name__ == "__main__":
    run(main)
