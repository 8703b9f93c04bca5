"""SPEECH-COCO's metadata (Havard, Besacier and Rosec, GLU 2017): file names, records, and times of words and phones.

A recording is called IMAGE_CAPTION_VOICE_DISFLUENCY_SPEED.wav, with MSCOCO's ids: 298817_26763_Phil_None_0-9.wav. Its
record is there twice, in json/ (a file a recording) and in *.sqlite3; either is read, to the same effect.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from i2s.corpus.ctm import SILENCE, Interval
from i2s.errors import UserError

PAUSE = "#"  # the corpus's phone of pauses
COLUMNS = {  # of the database, and the JSON keys of the same values
    "captionID": "captionID",
    "imageID": "imgID",
    "wavFilename": "wavFilename",
    "timecode": "timecode",
    "text": "synthesisedCaption",
    "speaker": "speaker",
}
_NAME = re.compile(r"(\d+)_(\d+)_([A-Za-z]+)_([A-Za-z]+)_\d+(?:-\d+)?")


@dataclass(frozen=True)
class Recording:
    """What the name of a recording says; `name` is without .wav."""

    name: str
    image: int
    caption: int
    voice: str
    disfluency: str  # where a filler such as "um" was put in: None, Beginning, Middle, End

    @property
    def fluent(self) -> bool:
        return self.disfluency == "None"


@dataclass(frozen=True)
class Caption:
    """What the record of a recording says. Words and phones lie in time without overlap; pauses are phones SIL."""

    text: str
    words: list[Interval]
    phones: list[Interval]


class Metadata(Protocol):
    """One of the two forms of a subset's metadata."""

    def names(self) -> Iterator[str]:
        """The names of all recordings, without .wav."""
        ...

    def record(self, recording: Recording) -> tuple[str, Mapping[str, Any]]:
        """Where the record stands, for messages, and the record with JSON's keys. Raises UserError."""
        ...


class JsonFiles:
    """A folder with a file NAME.json for each recording."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> Iterator[str]:
        for path in self.folder.iterdir():
            if path.suffix == ".json" and not path.name.startswith("."):
                yield path.stem

    def record(self, recording: Recording) -> tuple[str, Mapping[str, Any]]:
        path = self.folder / f"{recording.name}.json"
        try:
            record = json.loads(path.read_bytes())
        except (ValueError, OSError) as e:
            raise UserError(f"{path}: not JSON ({e}); unpack the archive again") from e
        if not isinstance(record, dict):
            raise UserError(f"{path}: expected a JSON object with imgID, captionID and so on")
        return str(path), record


class Sqlite:
    """A database, opened for reading only, whose table `captions` has a row for each recording."""

    def __init__(self, path: Path):
        self.path = path
        quoted = urllib.parse.quote(str(path.resolve()))
        # immutable: no journal, so that a folder that cannot be written to does no harm.
        self.connection = sqlite3.connect(f"file:{quoted}?mode=ro&immutable=1", uri=True)
        columns = [row[1] for row in self._rows("PRAGMA table_info(captions)")]
        missing = [column for column in COLUMNS if column not in columns]
        if not columns:
            tables = ", ".join(row[0] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'"))
            raise UserError(f"{path}: has no table captions (with the columns {', '.join(COLUMNS)}), but {tables}")
        if missing:
            raise UserError(f"{path}: table captions has no {', '.join(missing)}, but {', '.join(columns)}")

    def names(self) -> Iterator[str]:
        for (name,) in self._rows("SELECT wavFilename FROM captions"):
            yield str(name).removesuffix(".wav")

    def record(self, recording: Recording) -> tuple[str, Mapping[str, Any]]:
        query = f"SELECT {', '.join(COLUMNS)} FROM captions WHERE captionID = ? AND wavFilename = ?"
        where = f"{self.path}: {recording.name}"
        rows = list(self._rows(query, recording.caption, f"{recording.name}.wav"))
        if len(rows) != 1:
            raise UserError(f"{where}: {len(rows)} rows of the table captions have its captionID and wavFilename")
        record = dict(zip(COLUMNS.values(), rows[0], strict=True))
        try:
            record["timecode"] = json.loads(record["timecode"]) if record["timecode"] else None
        except (ValueError, TypeError) as e:
            raise UserError(f"{where}: timecode is not JSON ({e})") from e
        return where, record

    def _rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(self.connection.cursor()) as cursor:
                yield from cursor.execute(query, values)
        except sqlite3.Error as e:
            raise UserError(f"{self.path}: cannot read the database: {e}; unpack the archive again") from e


def open_metadata(folder: Path, form: str) -> Metadata:
    """The metadata of an unpacked subset: `form` json, sqlite, or auto (the database, if there is one)."""
    databases = sorted(path for path in folder.glob("*.sqlite3") if not path.name.startswith("."))
    if len(databases) > 1:
        raise UserError(f"{folder}: holds several databases: {', '.join(path.name for path in databases)}")
    if databases and form != "json":
        return Sqlite(databases[0])
    if (folder / "json").is_dir() and form != "sqlite":
        return JsonFiles(folder / "json")
    wanted = {"json": "no folder json", "sqlite": "no *.sqlite3"}.get(form, "neither *.sqlite3 nor a folder json")
    raise UserError(f"{folder}: holds {wanted}; unpack the archive again, or see --metadata")


def read_names(names: Iterable[str], where: Path) -> tuple[list[Recording], list[str]]:
    """Recordings sorted by name, and what is wrong with other names: not understood, or of a caption that is there."""
    recordings: dict[int, Recording] = {}
    bad = []
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if not match:
            bad.append(f"{where}: {name[:80]!r}: expected IMAGE_CAPTION_VOICE_DISFLUENCY_SPEED")
            continue
        recording = Recording(name, int(match[1]), int(match[2]), match[3], match[4])
        first = recordings.setdefault(recording.caption, recording)
        if first is not recording:
            bad.append(f"{where}: {name}: caption {recording.caption} is there already, {first.name}")
    return list(recordings.values()), bad


def read_caption(metadata: Metadata, recording: Recording) -> Caption:
    """The record of `recording`. Raises UserError where it is of another recording, lacks a key or has no words."""
    where, record = metadata.record(recording)
    stated = {
        "imgID": recording.image,
        "captionID": recording.caption,
        "speaker": recording.voice,
        "wavFilename": f"{recording.name}.wav",
    }
    for key, value in stated.items():
        if key not in record:
            raise UserError(f"{where}: has no {key}")
        if str(record[key]) != str(value):
            raise UserError(f"{where}: {key} is {record[key]!r}, but the file name says {value!r}")
    text = " ".join(str(record.get("synthesisedCaption") or "").split())
    if not text:
        raise UserError(f"{where}: synthesisedCaption is empty")
    words, phones = align(record.get("timecode") or [], where)
    return Caption(text, words, phones)


def align(timecode: Any, where: str) -> tuple[list[Interval], list[Interval]]:
    """Words and phones of a timecode, a list of events [milliseconds, kind, value] in the order of time.

    A phone (PHO) lasts until the next one or the end of a pause (SIL); the last until the last event. A word (WORD)
    lasts as long as the phones up to the next word, pauses at its edges left out. What takes no time is left out.
    Raises UserError for anything else than such a list.
    """
    events = []
    try:
        for at, kind, value in timecode:
            events.append((float(at) / 1000, kind, "_".join(str(value).split())))
    except (TypeError, ValueError) as e:
        raise UserError(f"{where}: timecode: expected a list of [milliseconds, kind, value] ({e})") from e
    times = [at for at, _, _ in events]
    if any(not math.isfinite(at) or at < 0 for at in times) or times != sorted(times):
        raise UserError(f"{where}: timecode: times are not in order")
    phones: list[Interval] = []
    words: list[tuple[str, list[Interval]]] = []
    for i, (begin, kind, value) in enumerate(events):
        if kind == "WORD":
            words.append((value, []))
        if kind != "PHO":
            continue
        end = next((at for at, later, _ in events[i + 1 :] if later in ("PHO", "SIL")), times[-1])
        if end > begin and value:
            phone = Interval(SILENCE if value == PAUSE else value, begin, end)
            phones.append(phone)
            if value != PAUSE and words:
                words[-1][1].append(phone)
    return [Interval(word, ps[0].begin, ps[-1].end) for word, ps in words if word and ps], phones
