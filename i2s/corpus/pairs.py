"""A user's own corpus: which recording describes which photo, ids for both, and a split by photo."""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from i2s.errors import UserError

log = logging.getLogger(__name__)

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma", ".3gp", ".amr")


@dataclass(frozen=True)
class Pair:
    """Line `line` of the pairs file, with the names as they stand there."""

    line: int
    recording: str
    photo: str


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a file of two columns, recording and photo, separated by tabs, commas or (names without spaces) spaces.

    Windows line ends, a byte order mark and empty lines do no harm. Raises UserError naming file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; it has a line 'recording photo' for each recording")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 (byte {e.start}); save it as UTF-8, or convert it with iconv") from e
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise UserError(f"{path}: is empty; expected a line 'recording photo' for each recording")
    separators = ("\t", ",", None)
    for separator in separators:
        rows = [(number, _columns(line, separator)) for number, line in lines]
        if all(len(columns) == 2 and all(columns) for _, columns in rows):
            return [Pair(number, *columns) for number, columns in rows]
    # No separator fits every line: name a line that does not fit the separator that fits most.
    best = max(separators, key=lambda s: sum(len(_columns(line, s)) == 2 for _, line in lines))
    number, line = next((n, s) for n, s in lines if len(c := _columns(s, best)) != 2 or not all(c))
    raise UserError(
        f"{path}:{number}: expected two columns, 'recording photo', got {line[:80]!r}; "
        "names with spaces need a tab or a comma between the columns"
    )


def _columns(line: str, separator: str | None) -> list[str]:
    columns = line.split(separator)
    if separator:
        columns = [column.strip() for column in columns]
        columns = [c[1:-1] if len(c) > 1 and c[0] == c[-1] == '"' else c for c in columns]
    return columns


class Folder:
    """The files of a folder and its sub-folders, found by how people write their names.

    A name may have its sub-folder and its extension or lack them; upper and lower case, and how accents are encoded,
    make no difference. Nothing outside of the folder is ever found.
    """

    def __init__(self, folder: str | Path, suffixes: Iterable[str], what: str):
        self.folder, self.what = Path(folder), what
        if not self.folder.is_dir():
            raise UserError(f"{folder}: no such folder of {what}s")
        wanted = set(suffixes)
        self.files = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in wanted and p.is_file())
        if not self.files:
            raise UserError(f"{folder}: holds no {what}s ({', '.join(sorted(wanted))})")
        self._index: dict[str, set[Path]] = {}
        for path in self.files:
            inside = path.relative_to(self.folder)
            for name in {str(inside), str(inside.with_suffix("")), path.name, path.stem}:
                self._index.setdefault(_fold(name), set()).add(path)

    def find(self, name: str) -> Path | None:
        """The file that `name` means, or None. Raises UserError where it means several."""
        found = self._index.get(_fold(name.replace("\\", "/").removeprefix("./")), set())
        if len(found) > 1:
            exact = [path for path in found if str(path.relative_to(self.folder)) == name]
            if len(exact) != 1:
                names = ", ".join(sorted(str(path.relative_to(self.folder)) for path in found)[:3])
                raise UserError(f"{name!r} can mean several {self.what}s: {names}; write folder and extension too")
            return exact[0]
        return next(iter(found), None)


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def resolve(path: Path, pairs: list[Pair], recordings: Folder, photos: Folder) -> tuple[dict[Path, Path], list[str]]:
    """Find the files of `pairs`: ({recording: photo}, what is wrong, each with file and line).

    A first line of which neither name is a file, or ends like one, is taken for a header. Raises UserError for
    ambiguous names, for a recording that stands there twice and for columns the wrong way round.
    """
    found: dict[Path, Path] = {}
    lines: dict[Path, int] = {}
    missing: list[str] = []
    swapped = 0
    for pair in pairs:
        where = f"{path}:{pair.line}"
        try:
            recording, photo = recordings.find(pair.recording), photos.find(pair.photo)
        except UserError as e:
            raise UserError(f"{where}: {e}") from None
        if recording is None and photo is None and pair is pairs[0] and len(pairs) > 1 and not _has_suffix(pair):
            log.info("%s: %s, %s: taken for a header", where, pair.recording, pair.photo)
            continue
        if recording is None and photo is None:
            swapped += photos.find(pair.recording) is not None and recordings.find(pair.photo) is not None
        if recording is None:
            missing.append(f"{where}: no recording {pair.recording!r} in {recordings.folder}")
        elif photo is None:
            missing.append(f"{where}: no photo {pair.photo!r} in {photos.folder}")
        elif recording in lines:
            raise UserError(
                f"{where}: {pair.recording} stands in line {lines[recording]} already; a recording describes one photo"
            )
        else:
            found[recording], lines[recording] = photo, pair.line
    if swapped and not found:
        raise UserError(f"{path}: the columns are the wrong way round; expected 'recording photo'")
    return found, missing


def _has_suffix(pair: Pair) -> bool:
    return Path(pair.recording).suffix.lower() in RECORDINGS or Path(pair.photo).suffix.lower() in PHOTOS


def make_ids(folder: Path, files: Iterable[Path]) -> dict[Path, str]:
    """An id for each file: its name within `folder` without the extension, safe as a file name and in tables.

    Anything but letters, digits, `.`, `_` and `-` becomes `_`. Files whose ids would be the same get a few digits of
    the hash of their whole name, so that an id depends on nothing but the names.
    """
    ids = {path: _safe(path.relative_to(folder).with_suffix("")) for path in files}
    count: dict[str, int] = {}
    for value in ids.values():
        count[value.casefold()] = count.get(value.casefold(), 0) + 1
    return {
        path: value if count[value.casefold()] == 1 else f"{value}-{_digest(str(path.relative_to(folder)))[:8]}"
        for path, value in ids.items()
    }


def _safe(name: Path) -> str:
    text = unicodedata.normalize("NFC", "_".join(name.parts))
    text = re.sub(r"[^\w.-]", "_", text)
    return re.sub(r"\.{2,}", "_", text).lstrip(".-") or "file"


def split_by_photo(
    photos: Iterable[str], dev: float = 10.0, test: float = 10.0, seed: int = 0
) -> Mapping[str, list[str]]:
    """Share image ids out to train, dev and test, `dev` and `test` in per cent, at least one each.

    The order is that of a hash of id and seed, so that it does not depend on the machine or on the order of files.
    Raises UserError for fewer than three photos and for shares that leave nothing to train on.
    """
    if not (dev > 0 and test > 0 and dev + test < 100):
        raise UserError(f"--dev {dev:g} --test {test:g}: shares in per cent, above 0 and together below 100")
    order = sorted(photos, key=lambda photo: _digest(f"{seed} {photo}"))
    if len(order) < 3:
        raise UserError(f"{len(order)} photos with recordings: train, dev and test need at least one each")
    counts = {name: max(1, round(len(order) * share / 100)) for name, share in (("test", test), ("dev", dev))}
    at = counts["test"] + counts["dev"]
    if at >= len(order):
        raise UserError(f"--dev {dev:g} --test {test:g}: of {len(order)} photos none would be left to train on")
    return {"train": order[at:], "dev": order[counts["test"] : at], "test": order[: counts["test"]]}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
