"""Data directories: which table is keyed by what, references of each image, and taking utterances or images out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from i2s.corpus.tables import iter_table, read_table, write_table
from i2s.errors import UserError

# Tables by the kind of id that their lines begin with: Kaldi's, and this project's own.
UTTERANCE_TABLES = (
    *("utt2spk", "utt2image", "wav.scp", "text", "segments", "feats.scp", "unit_feats.scp", "units", "unit_durations"),
    *("utt2dur", "utt2num_frames", "utt2lang", "utt2uniq", "utt2warp", "vad.scp"),
)
IMAGE_TABLES = ("images.scp", "image_feats.scp", "image_regions.scp", "image_views.scp")
SPEAKER_TABLES = ("spk2utt", "cmvn.scp", "spk2gender", "spk2warp")


def invert(table: Mapping[str, str]) -> dict[str, list[str]]:
    """Group the keys of `table` by their value: utt2spk becomes spk2utt, utt2image becomes image -> utterances.

    Values, and the keys of each value, come in C-locale order.
    """
    groups: dict[str, list[str]] = {}
    for key in sorted(table, key=str.encode):
        groups.setdefault(table[key], []).append(key)
    return {value: groups[value] for value in sorted(groups, key=str.encode)}


def references(data: str | Path) -> dict[str, list[str]]:
    """The utterances that describe each image: {image id: [utterance id, ...]}, both sorted.

    Raises UserError if `utt2image` or `images.scp` is missing or they do not fit together.
    """
    data = Path(data)
    groups = invert(read_table(data / "utt2image"))
    images = read_table(data / "images.scp")
    for image, utterances in groups.items():
        if image not in images:
            raise UserError(
                f"{data}/utt2image: {utterances[0]} describes {image}, which {data}/images.scp does not list"
            )
    return groups


def write_speakers(data: str | Path, utt2spk: Mapping[str, str]) -> None:
    """Write `utt2spk` and its inverse `spk2utt`."""
    write_table(Path(data) / "utt2spk", utt2spk)
    write_table(Path(data) / "spk2utt", ((s, " ".join(us)) for s, us in invert(utt2spk).items()))


def filter_data_dir(
    data: str | Path, utterances: Collection[str] | None = None, images: Collection[str] | None = None
) -> tuple[int, int]:
    """Keep only these utterances and these images (None: all) in every table of `data` that is there.

    An utterance goes with its image, an image with its last utterance, a speaker likewise; `spk2utt` follows. Lines
    end up sorted. Each table changes whole or not at all, and the same call repeated changes nothing more: after a
    kill, call again. Wavs, photos and archives stay where they are. Returns the numbers of utterances and images left.

    Raises UserError if nothing would be left, before anything is changed.
    """
    data = Path(data)
    kept = set(read_table(data / "utt2spk"))
    if utterances is not None:
        kept &= set(utterances)
    kept_images: set[str] = set()
    if (data / "utt2image").is_file():
        utt2image = read_table(data / "utt2image")
        kept = {u for u in kept if u in utt2image and (images is None or utt2image[u] in images)}
        kept_images = {utt2image[u] for u in kept}
        if (data / "images.scp").is_file():
            kept_images &= set(read_table(data / "images.scp"))
            kept = {u for u in kept if utt2image[u] in kept_images}
    if not kept:
        raise UserError(f"{data}: no utterance would be left; see what was reported for the others")

    speakers = {s for u, s in iter_table(data / "utt2spk") if u in kept}
    # With `segments`, wav.scp lists recordings, not utterances.
    segmented = (data / "segments").is_file()
    recordings = {line.split()[0] for u, line in iter_table(data / "segments") if u in kept} if segmented else kept
    for name, keys in (
        *((name, kept) for name in UTTERANCE_TABLES if name != "wav.scp"),
        *((name, kept_images) for name in IMAGE_TABLES),
        *((name, recordings) for name in ("wav.scp", "reco2dur", "reco2file_and_channel")),
        *((name, speakers) for name in SPEAKER_TABLES if name != "spk2utt"),
    ):
        _filter_table(data / name, keys)
    write_speakers(data, read_table(data / "utt2spk"))
    return len(kept), len(kept_images)


def _filter_table(path: Path, keep: Collection[str]) -> None:
    """Rewrite a table, sorted, with the keys in `keep` only; leave it untouched where that is what it holds."""
    if not path.is_file():
        return
    rows = list(iter_table(path, allow_empty_value=True))
    kept = [row for row in rows if row[0] in keep]
    if len(kept) < len(rows) or not is_sorted(key for key, _ in kept):
        write_table(path, kept)


def is_sorted(keys: Iterable[str]) -> bool:
    """Whether keys are in C-locale order."""
    encoded = [key.encode() for key in keys]
    return all(a < b for a, b in itertools.pairwise(encoded))


def write_data_dir(
    data: str | Path,
    *,
    images: Mapping[str, str],
    utt2image: Mapping[str, str],
    utt2spk: Mapping[str, str],
    text: Mapping[str, str] | None = None,
    wavs: Mapping[str, str] | None = None,
) -> None:
    """Write the tables that stage 2 makes, and remove those that later stages made from other data.

    Images that no utterance of `utt2image` describes are left out. Folders (wavs, archives) stay: each stage knows
    by its stamp whether they are still good.
    """
    data = Path(data)
    for name in (*UTTERANCE_TABLES, *IMAGE_TABLES, *SPEAKER_TABLES, "reco2dur", "reco2file_and_channel"):
        (data / name).unlink(missing_ok=True)
    described = set(utt2image.values())
    write_table(data / "images.scp", {image: path for image, path in images.items() if image in described})
    write_table(data / "utt2image", utt2image)
    write_speakers(data, utt2spk)
    if text is not None:
        write_table(data / "text", text)
    if wavs is not None:
        write_table(data / "wav.scp", wavs)
