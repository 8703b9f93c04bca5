"""Prepare a corpus of photos and spoken descriptions, with no text: stage 2 of recipes like egs/TEMPLATE.

PAIRS has a line 'recording photo' for each recording; file names as in the two folders. Writes DATA/{train,dev,test}
with mono wavs in DATA/wavs and links to the photos in DATA/photos. All recordings of a photo are in one split.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.pairs import PHOTOS, RECORDINGS, Folder, make_ids, read_pairs, resolve, split_by_photo
from i2s.corpus.recordings import Source, convert, probe
from i2s.corpus.tables import write_table
from i2s.errors import UserError
from i2s.files import write_text
from i2s.progress import track

log = logging.getLogger(__name__)

SPEAKER = "speaker"  # who speaks is not known
SHOWN = 5


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


def convert_all(wavs: dict[Path, Path], sample_rate: int) -> tuple[dict[Path, Source], list[str]]:
    """Convert every recording on all cores. Returns what they were, and what is wrong with the others."""
    bad: list[str] = []
    sources = {}

    def one(path: Path) -> Source | UserError:
        try:
            # A wav that is there was made by a run that was stopped later on.
            return (probe(path) if wavs[path].is_file() else None) or convert(path, wavs[path], sample_rate)
        except UserError as e:
            return e

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = track(pool.map(one, wavs), "convert", total=len(wavs), unit="recording")
        for path, result in zip(wavs, done, strict=True):
            if isinstance(result, UserError):
                bad.append(str(result))
            else:
                sources[path] = result
    return sources, bad


def report_bad(bad: list[str], on_bad: str, where: Path) -> None:
    """Stop for what is missing or unreadable, or say how much is left out."""
    if not bad:
        return
    shown = bad[:SHOWN]
    if len(bad) > SHOWN:
        shown.append(f"... and {len(bad) - SHOWN} more")
    if on_bad == "error":
        advice = "mend them, or leave them out: --prepare-args '--on-bad skip'"
        raise UserError("\n  ".join([f"{where}: {len(bad)} problem{'s' * (len(bad) > 1)}:", *shown, advice]))
    log.warning("%s: %d left out:\n  %s", where, len(bad), "\n  ".join(shown))


def report_sources(sources: dict[Path, Source], sample_rate: int) -> None:
    """Count what was changed, so that nobody is surprised."""
    rates = Counter(source.sample_rate for source in sources.values())
    stereo = sum(source.channels > 1 for source in sources.values())
    for rate, count in sorted(rates.items()):
        if rate != sample_rate:
            note = "; little is left of such speech above half that" if rate < sample_rate else ""
            log.info("%d recordings resampled from %d to %d Hz%s", count, rate, sample_rate, note)
    if stereo:
        log.info("%d recordings with several channels made mono", stereo)


def link(photo: Path, target: Path) -> Path:
    """A symbolic link under a safe name, so that no table holds odd characters; returns it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(photo.resolve())
    return target


if __name__ == "__main__":
    run(main)
