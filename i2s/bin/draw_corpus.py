"""Draw the embedded corpus: scenes of pictograms with five captions each, split into train, dev and test.

Writes DATA_DIR/images/*.jpg and, for every split, DATA_DIR/SPLIT/{images.scp,utt2image,utt2spk,spk2utt,text}.
The same numbers and seed give the same bytes. Dev and test scenes hold combinations that training never shows.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.pictograms_draw import draw_scene
from i2s.corpus.pictograms_grammar import write_captions
from i2s.corpus.pictograms_scene import SPLITS, Scene, sample_scene
from i2s.corpus.tables import write_table
from i2s.errors import UserError
from i2s.files import atomic_dir
from i2s.progress import track

SPEAKER = "voice"  # one voice will speak every caption
MOST = 9999  # of one split: image ids have four digits, so that they sort as they count


def main() -> None:
    options = parser(__doc__)
    for split, number in zip(SPLITS, (900, 60, 60), strict=True):
        options.add_argument(f"--num-{split}", type=int, default=number, help="images (default %(default)s)")
    options.add_argument("--seed", type=int, default=0, help="of all random choices (default %(default)s)")
    options.add_argument("data_dir", type=Path, metavar="DATA_DIR")
    draw_corpus(options.parse_args())


def draw_corpus(args: argparse.Namespace) -> None:
    """Draw and write everything. Raises UserError for an impossible number of images."""
    numbers = {split: getattr(args, f"num_{split}") for split in SPLITS}
    for split, number in numbers.items():
        if not 1 <= number <= MOST:
            raise UserError(f"--num-{split} {number}: choose from 1 to {MOST}")
    images = args.data_dir / "images"
    todo = [(split, i) for split, number in numbers.items() for i in range(1, number + 1)]
    rows: dict[str, dict[str, list[tuple[str, str]]]] = {
        split: {name: [] for name in ("images.scp", "utt2image", "utt2spk", "text")} for split in SPLITS
    }
    with atomic_dir(images) as folder:
        for split, i in track(todo, "draw", unit="image"):
            image_id = f"{split}_{i:04d}"
            scene, captions = describe(args.seed, image_id, split)
            # JPEG at full colour resolution: pictograms have sharp edges between saturated colours.
            image = draw_scene(scene, _random(args.seed, image_id, "picture"))
            image.save(folder / f"{image_id}.jpg", quality=92, subsampling=0)
            tables = rows[split]
            tables["images.scp"].append((image_id, f"{images}/{image_id}.jpg"))
            for k, caption in enumerate(captions):
                utterance = f"{image_id}-{k}"
                tables["utt2image"].append((utterance, image_id))
                tables["utt2spk"].append((utterance, SPEAKER))
                tables["text"].append((utterance, caption))
    for split, tables in rows.items():
        for name, table in tables.items():
            write_table(args.data_dir / split / name, table)
        utterances = " ".join(utterance for utterance, _ in tables["utt2spk"])
        write_table(args.data_dir / split / "spk2utt", {SPEAKER: utterances})


def describe(seed: int, image_id: str, split: str) -> tuple[Scene, list[str]]:
    """The scene of an image and its captions; they depend on seed and id alone, not on how many images there are."""
    scene = sample_scene(_random(seed, image_id, "scene"), split)
    return scene, write_captions(scene, _random(seed, image_id, "words"))


def _random(seed: int, image_id: str, what: str) -> random.Random:
    """A stream of its own for every decision, so that another grammar, say, leaves the pictures as they are."""
    return random.Random(f"{seed} {image_id} {what}")


if __name__ == "__main__":
    run(main)
