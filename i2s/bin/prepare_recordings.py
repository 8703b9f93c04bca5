"""Prepare a corpus of photos and spoken descriptions, with no text: stage 2 of recipes like egs/TEMPLATE.

PAIRS has a line 'recording photo' for each recording; file names as in the two folders. Writes DATA/{train,dev,test}
with mono wavs in DATA/wavs and links to the photos in DATA/photos. All recordings of a photo are in one split.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.pairs import PHOTOS, RECORDINGS, Folder, make_ids, read_pairs, resolve, split_by_photo
from i2s.corpus.recordings import convert_all, report_bad, report_sources
from i2s.corpus.tables import write_table
from i2s.files import write_text

log = logging.getLogger(__name__)

SPEAKER = "speaker"  # who speaks is not known


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--photos", type=Path, required=True, metavar="DIR")
    options.add_argument("--recordings", type=Path, required=True, metavar="DIR")
    options.add_argument("--pairs", type=Path, required=True, metavar="FILE")
    options.add_argument("--dev", type=float, default=10.0, metavar="PERCENT", help="of the photos (%(default)g)")
    options.add_argument("--test", type=float, default=10.0, metavar="PERCENT", help="of the photos (%(default)g)")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="another split (%(default)s)")
    options.add_argument("--sample-rate", type=int, default=22050, metavar="HZ", help="of the wavs (%(default)s)")
    options.add_argument("--on-bad", choices=("error", "skip"), default="error", help="missing or unreadable files")
    options.add_argument("data", type=Path, metavar="DATA")
    args = options.parse_args()

    pairs = read_pairs(args.pairs)
    recordings = Folder(args.recordings, RECORDINGS, "recording")
    photos = Folder(args.photos, PHOTOS, "photo")
    found, missing = resolve(args.pairs, pairs, recordings, photos)
    report_bad(missing, args.on_bad, args.pairs)
    log.info("%s: %d recordings of %d photos", args.pairs, len(found), len(set(found.values())))
    for folder, used in ((recordings, set(found)), (photos, set(found.values()))):
        unused = [path for path in folder.files if path not in used]
        if unused:
            log.info("%s: %d %ss are in no pair, for one %s", folder.folder, len(unused), folder.what, unused[0].name)

    utterances = make_ids(args.recordings, found)
    wavs = {path: args.data / "wavs" / f"{utterance}.wav" for path, utterance in utterances.items()}
    sources, bad = convert_all(wavs, args.sample_rate)
    report_bad(bad, args.on_bad, args.recordings)
    report_sources(sources, args.sample_rate)
    found = {recording: photo for recording, photo in found.items() if recording in sources}

    images = make_ids(args.photos, sorted(set(found.values())))
    links = {path: link(path, args.data / "photos" / f"{image}{path.suffix.lower()}") for path, image in images.items()}
    for split, chosen in split_by_photo(images.values(), args.dev, args.test, args.seed).items():
        keep = set(chosen)
        here = {recording: photo for recording, photo in found.items() if images[photo] in keep}
        write_data_dir(
            args.data / split,
            images={images[photo]: str(links[photo]) for photo in here.values()},
            utt2image={utterances[recording]: images[photo] for recording, photo in here.items()},
            utt2spk={utterances[recording]: SPEAKER for recording in here},
            wavs={utterances[recording]: str(wavs[recording]) for recording in here},
        )
        hours = sum(sources[recording].seconds for recording in here) / 3600
        log.info("%s: %d photos, %d recordings, %.2f hours", args.data / split, len(keep), len(here), hours)
    write_table(args.data / "recording_ids", {utterances[path]: path for path in found})
    write_table(args.data / "photo_ids", {image: path for path, image in images.items()})
    write_text(args.data / "left_out", "".join(f"{problem}\n" for problem in missing + bad))
    write_text(args.data / ".recorded", "")  # stage 3 has nothing to speak


def link(photo: Path, target: Path) -> Path:
    """A symbolic link under a safe name, so that no table holds odd characters; returns it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(photo.resolve())
    return target


if __name__ == "__main__":
    run(main)
