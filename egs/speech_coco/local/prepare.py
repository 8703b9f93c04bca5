"""Write the data directories DATA/{train,dev,test} of SPEECH-COCO from DOWNLOADS/{train2014,val2014}.

As in Hasegawa-Johnson et al. (2017) there are 6,000, 1,000 and 1,000 photos. No list of theirs is at hand; here a seed
chooses: of train2014 for train and dev, of val2014 for test, those that the voices describe most often first. `text` is
what was spoken, fillers such as "um" and all.

Photos are read from --coco-dir, or fetched one by one into DOWNLOADS/photos. The recordings, 16 kHz, become DATA/wavs.
Beside Kaldi's tables stand `words.ctm` and `phones.ctm`, a line `utterance 1 begin duration symbol` each, in
seconds: the times with which the voices spoke; pauses are phones SIL.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from metadata import Caption, Metadata, Recording, open_metadata, read_caption, read_names

from i2s.cli import parser, run
from i2s.corpus.ctm import write_ctm
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.download import download
from i2s.corpus.recordings import SHOWN, convert_all, report_bad, report_sources
from i2s.errors import UserError
from i2s.files import write_text
from i2s.images import open_image
from i2s.progress import track

log = logging.getLogger(__name__)

VOICES = ("Amanda", "Bronwen", "Bruce", "Elizabeth", "Jenny", "Judith", "Paul", "Phil")
SUBSETS = ("train2014,val2014", "train2014", "val2014")
CAPTIONS = 5  # of nearly all of MSCOCO's photos
SHORTEST = 0.9  # of the time that its last phone ends at: a recording is shorter only if it was cut
CONNECTIONS = 8
SERVERS = ("http://images.cocodataset.org", "https://s3.amazonaws.com/images.cocodataset.org")


@dataclass(frozen=True)
class Utterance:
    """A recording that was chosen, with all that becomes of it."""

    recording: Recording
    metadata: Metadata
    subset: str
    root: Path  # of the subset's folders

    @property
    def image(self) -> str:
        """MSCOCO's name of the photo: COCO_train2014_000000298817."""
        return f"COCO_{self.subset}_{self.recording.image:012d}"

    @property
    def source(self) -> Path:
        return self.root / "wav" / f"{self.recording.name}.wav"

    @property
    def id(self) -> str:
        # The voice comes first, as Kaldi's order asks.
        return f"{self.recording.voice}-{self.recording.image:06d}-{self.recording.caption:06d}"


def main() -> None:
    args = arguments()
    counts = {"train": args.num_train, "dev": args.num_dev, "test": args.num_test}
    if min(counts.values()) < 1:
        raise UserError("--num-train, --num-dev, --num-test: each split needs a photo at least")
    left_out: list[str] = []

    def leave_out(bad: list[str]) -> None:
        report_bad(bad, args.on_bad, args.downloads)
        left_out.extend(bad)

    pools = []
    for subset in args.subsets.split(","):
        found, bad = read_subset(subset, args.downloads / subset, args.metadata)
        leave_out(bad)
        pools.append(by_image(u for u in found if u.recording.fluent or not args.fluent))
    pools = spoken_by(args.voices, pools)
    parts = [counts] if len(pools) == 1 else [{s: counts[s] for s in ("train", "dev")}, {"test": counts["test"]}]
    splits: dict[str, list[Utterance]] = {}
    for pool, part in zip(pools, parts, strict=True):
        splits |= share(pool, part, args.seed)

    captions, bad = read_captions([u for members in splits.values() for u in members])
    leave_out(bad)
    folder, servers = args.downloads / "photos", args.photo_server or SERVERS
    if args.coco_dir:
        folder, servers = args.coco_dir, ()
    photos, bad = get_photos({u.image: u.subset for u in captions}, folder, servers, args.on_bad)
    leave_out(bad)
    wavs = {u.source: args.data / "wavs" / f"{u.id}.wav" for u in captions if u.image in photos}
    sources, bad = convert_all(wavs, args.sample_rate)
    report_sources(sources, args.sample_rate)
    for utterance, caption in captions.items():
        source = sources.get(utterance.source)
        if source and caption.phones and source.seconds < SHORTEST * caption.phones[-1].end:
            ends = caption.phones[-1].end
            bad.append(f"{utterance.source}: lasts {source.seconds:.2f} s, its phones {ends:.2f} s; is it cut short?")
            del sources[utterance.source]
    leave_out(bad)

    for split, members in splits.items():
        here = {u: captions[u] for u in members if u.source in sources}
        if not here:
            raise UserError(f"{args.data / split}: nothing is left of it; see what was left out")
        write_split(args.data / split, here, photos, wavs)
        count, hours = len({u.image for u in here}), sum(sources[u.source].seconds for u in here) / 3600
        log.info("%s: %d photos, %d recordings, %.2f hours", args.data / split, count, len(here), hours)
        if count < counts[split]:
            log.warning("%s: %d photos were wanted", args.data / split, counts[split])
    write_text(args.data / "left_out", "".join(f"{problem}\n" for problem in left_out))


def arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument(
        "--voices",
        default="Bruce",
        metavar="NAMES",
        help=f"with commas, of {', '.join(VOICES)}; or all (default %(default)s: units are best of a single voice; his "
        "accent is US English, which recognisers know best, and his words vary little)",
    )
    options.add_argument(
        "--fluent", action="store_true", help="leave out captions with a filler (um, uh), 30 %% of all"
    )
    options.add_argument("--num-train", type=int, default=6000, metavar="N", help="photos (default %(default)s)")
    options.add_argument("--num-dev", type=int, default=1000, metavar="N", help="photos (default %(default)s)")
    options.add_argument("--num-test", type=int, default=1000, metavar="N", help="photos (default %(default)s)")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="another choice (default %(default)s)")
    options.add_argument(
        "--subsets", choices=SUBSETS, default=SUBSETS[0], metavar="NAMES", help=f"{SUBSETS[0]} (default) or one of them"
    )
    options.add_argument(
        "--metadata", choices=("auto", "json", "sqlite"), default="auto", help="auto: the database, if there is one"
    )
    options.add_argument("--coco-dir", type=Path, metavar="DIR", help="holds photos, in train2014/ and val2014/ or not")
    options.add_argument(
        "--photo-server",
        action="append",
        metavar="URL",
        help=f"where train2014/ and val2014/ are fetched from; may be repeated (default {' '.join(SERVERS)})",
    )
    options.add_argument("--sample-rate", type=int, default=22050, metavar="HZ", help="of the wavs (%(default)s)")
    options.add_argument("--on-bad", choices=("error", "skip"), default="error", help="missing or unreadable files")
    options.add_argument("downloads", type=Path, metavar="DOWNLOADS")
    options.add_argument("data", type=Path, metavar="DATA")
    return options.parse_args()


def read_subset(subset: str, folder: Path, form: str) -> tuple[list[Utterance], list[str]]:
    """All recordings of a subset, and what is wrong with others. Archives differ in the folders around wav/."""
    roots = [path.parent for depth in ("wav", "*/wav", "*/*/wav") for path in sorted(folder.glob(depth))]
    if not roots:
        raise UserError(f"{folder}: holds no folder wav; run stage 1 again")
    root = roots[0]
    metadata = open_metadata(root, form)
    recordings, bad = read_names(metadata.names(), root)
    log.info("%s: %d recordings", root, len(recordings))
    return [Utterance(recording, metadata, subset, root) for recording in recordings], bad


def by_image(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.image, []).append(utterance)
    return groups


def spoken_by(voices: str, pools: list[dict[str, list[Utterance]]]) -> list[dict[str, list[Utterance]]]:
    """Only what these voices (names with commas, or all) say. Raises UserError for a voice that says nothing."""
    heard = Counter(u.recording.voice for pool in pools for us in pool.values() for u in us)
    wanted = set(heard) if voices == "all" else set(voices.split(","))
    for voice in sorted(wanted - set(heard)):
        raise UserError(f"--voices {voices}: no recordings of {voice!r}; there are {', '.join(sorted(heard))}")
    return [by_image(u for us in pool.values() for u in us if u.recording.voice in wanted) for pool in pools]


def share(pool: dict[str, list[Utterance]], counts: dict[str, int], seed: int) -> dict[str, list[Utterance]]:
    """Utterances of `counts` photos of `pool` for each split.

    Photos with most recordings are chosen (one voice speaks about one caption in eight, and scores want several of a
    photo), then shared out by lot: a hash of seed and name, which does not depend on machine or order of files.
    """

    def lot(image: str) -> str:
        return hashlib.sha256(f"{seed} {image}".encode()).hexdigest()

    total = sum(counts.values())
    if len(pool) < total:
        raise UserError(
            f"{total} photos are wanted for {', '.join(counts)}, {len(pool)} have recordings as wanted; "
            "take fewer (--num-train, --num-dev, --num-test) or more voices (--voices)"
        )
    order = sorted(pool, key=lambda image: (-min(len(pool[image]), CAPTIONS), lot(image)))
    drawn = iter(sorted(order[:total], key=lot))
    return {split: [u for image in itertools.islice(drawn, n) for u in pool[image]] for split, n in counts.items()}


def read_captions(chosen: list[Utterance]) -> tuple[dict[Utterance, Caption], list[str]]:
    captions, bad = {}, []
    for utterance in track(chosen, "read metadata", unit="caption"):
        try:
            captions[utterance] = read_caption(utterance.metadata, utterance.recording)
        except UserError as e:
            bad.append(str(e))
    silent = sum(not caption.phones for caption in captions.values())
    if silent:
        log.warning("%d captions have no timecode: they are in neither words.ctm nor phones.ctm", silent)
    return captions, bad


def get_photos(
    images: dict[str, str], folder: Path, servers: Sequence[str], on_bad: str
) -> tuple[dict[str, Path], list[str]]:
    """The photos of {name: subset}, each opened to see that it is whole, and what is wrong with others.

    They lie in `folder` or in its folders train2014 and val2014; what is missing is fetched from a server, if there are
    any. Only looking tells whether a photo is whole: no list of sizes or checksums is published.
    """
    paths = {image: folder / subset / f"{image}.jpg" for image, subset in images.items()}
    if not any((folder / subset).is_dir() for subset in images.values()) and not servers:
        paths = {image: folder / f"{image}.jpg" for image in images}

    def one(image: str) -> str | None:
        path = paths[image]
        try:
            if servers and not path.is_file():
                download([f"{server}/{images[image]}/{path.name}" for server in servers], path)
            open_image(path)
        except UserError as e:
            if servers:
                path.unlink(missing_ok=True)  # to be fetched again
            return str(e)
        return None

    good: dict[str, Path] = {}
    bad: list[str] = []
    pool = ThreadPoolExecutor(CONNECTIONS)
    try:
        for image, fault in zip(paths, track(pool.map(one, paths), "photos", len(paths), "photo"), strict=True):
            if fault is None:
                good[image] = paths[image]
            else:
                bad.append(fault)
            if len(bad) == SHOWN and on_bad == "error":  # there may be thousands to wait for
                break
    finally:
        pool.shutdown(cancel_futures=True)
    return good, bad


def write_split(data: Path, members: dict[Utterance, Caption], photos: dict[str, Path], wavs: dict[Path, Path]) -> None:
    write_data_dir(
        data,
        images={u.image: str(photos[u.image]) for u in members},
        utt2image={u.id: u.image for u in members},
        utt2spk={u.id: u.recording.voice for u in members},
        text={u.id: caption.text for u, caption in members.items()},
        wavs={u.id: str(wavs[u.source]) for u in members},
    )
    write_ctm(data / "words.ctm", {u.id: caption.words for u, caption in members.items()})
    write_ctm(data / "phones.ctm", {u.id: caption.phones for u, caption in members.items()})


if __name__ == "__main__":
    run(main)
