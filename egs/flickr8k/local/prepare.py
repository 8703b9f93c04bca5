"""Write the data directories DATA/{train,dev,test} of Flickr8k (Hodosh, Young and Hockenmaier, 2013).

DOWNLOADS holds Flickr8k_Dataset (photos) and Flickr8k_text (Flickr8k.token.txt and Flickr_8k.*Images.txt), at any
depth. Captions stay as their authors typed them, but for runs of spaces. The caption key that names no photo
(2258277193_586949ec62.jpg.1) is reported, as is everything else that is left out.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.tables import check_id
from i2s.errors import UserError

log = logging.getLogger(__name__)

OFFICIAL = {"train": 6000, "dev": 1000, "test": 1000}  # photos
SPEAKER = "voice"  # one voice speaks all captions


def main() -> None:
    options = parser(__doc__)
    options.add_argument("downloads", type=Path, metavar="DOWNLOADS")
    options.add_argument("data", type=Path, metavar="DATA")
    args = options.parse_args()

    photos = find_photos(args.downloads / "Flickr8k_Dataset")
    texts = args.downloads / "Flickr8k_text"
    captions = read_captions(find(texts, "Flickr8k.token.txt"))
    for name in captions.keys() - photos.keys():
        log.warning("%d captions of %s, which is no photo of the archive: left out", len(captions[name]), name)
    splits = {split: read_names(find(texts, f"Flickr_8k.{split}Images.txt")) for split in OFFICIAL}
    check_splits(splits, photos, captions)
    for split, names in splits.items():
        images = {stem(name): str(photos[name]) for name in names}
        text = {f"{stem(name)}-{k}": words for name in names for k, words in captions[name].items()}
        write_data_dir(
            args.data / split,
            images=images,
            utt2image={utterance: utterance.rpartition("-")[0] for utterance in text},
            utt2spk=dict.fromkeys(text, SPEAKER),
            text=text,
        )
        log.info("%s: %d photos, %d captions", args.data / split, len(images), len(text))
        if len(images) != OFFICIAL[split]:
            log.warning("%s: the official split has %d photos", args.data / split, OFFICIAL[split])


def find(folder: Path, name: str) -> Path:
    """The file `name` at any depth of `folder`."""
    found = sorted(folder.rglob(name))
    if not found:
        raise UserError(f"{folder}: holds no {name}; run stage 1 again")
    return found[0]


def find_photos(folder: Path) -> dict[str, Path]:
    """Photos by file name."""
    photos = {path.name: path for path in sorted(folder.rglob("*.jpg"))}
    if not photos:
        raise UserError(f"{folder}: holds no photos (*.jpg); run stage 1 again")
    return photos


def read_captions(path: Path) -> dict[str, dict[int, str]]:
    """Captions by photo and number, from lines `name.jpg#k<TAB>caption`. Empty ones are reported and left out."""
    captions: dict[str, dict[int, str]] = {}
    for number, line in lines(path):
        match = re.fullmatch(r"(\S+)#(\d+)\t(.*)", line)
        if not match:
            raise UserError(f"{path}:{number}: expected 'name.jpg#k<TAB>caption', got {line[:60]!r}")
        name, k, words = match[1], int(match[2]), " ".join(match[3].split())
        if k in captions.setdefault(name, {}):
            raise UserError(f"{path}:{number}: {name}#{k} appears twice")
        if words:
            captions[name][k] = words
        else:
            log.warning("%s:%d: %s#%d is empty: left out", path, number, name, k)
    return captions


def read_names(path: Path) -> list[str]:
    """File names, one a line."""
    return [line.strip() for _, line in lines(path) if line.strip()]


def lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 (byte {e.start}); fetch the archive again") from e
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line]


def check_splits(splits: dict[str, list[str]], photos: dict[str, Path], captions: dict[str, dict[int, str]]) -> None:
    """Every photo of a split is there, has captions, and is in no other split."""
    owner: dict[str, str] = {}
    for split, names in splits.items():
        for name in names:
            check_id(stem(name), f"{split}Images.txt")
            if name in owner:
                raise UserError(f"{split}Images.txt: {name} is in the {owner[name]} split already")
            owner[name] = split
        missing = [name for name in names if name not in photos]
        if missing:
            raise UserError(
                f"{split}Images.txt: {len(missing)} photos are not in the archive, the first is {missing[0]}; "
                "fetch Flickr8k_Dataset.zip again"
            )
        silent = [name for name in names if not captions.get(name)]
        if silent:
            raise UserError(f"{split}Images.txt: {len(silent)} photos have no caption, the first is {silent[0]}")


def stem(name: str) -> str:
    return name.removesuffix(".jpg")


if __name__ == "__main__":
    run(main)
