"""Check a data directory against the project's contract: Kaldi's tables, plus images.

What Kaldi's own validate_data_dir.sh accepts is accepted, with four exceptions that this project needs: ids must be
fit for file names, tables must be UTF-8, the files that a table names must exist, and a command in place of a file
(`sox in.flac -t wav - |`) needs `allow_pipes`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from i2s.corpus.datadir import invert
from i2s.corpus.tables import iter_table
from i2s.errors import UserError

SHOWN = 10  # problems in one message

Row = tuple[int, str]  # line number, value


@dataclass(frozen=True)
class Demands:
    """What must be there. What is there without being demanded is checked too, but for `text`: without the demand
    for it, it is not even opened."""

    text: bool = True
    feats: bool = True
    wav: bool = True
    images: bool = True
    speaker_order: bool = True
    printable: bool = True
    allow_pipes: bool = False


@dataclass
class Findings:
    """Problems, each naming file and line and what to do; warnings for what may be meant so; and counts."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    utterances: int = 0
    images: int = 0
    speakers: int = 0


def check_data_dir(data: str | Path, demands: Demands = Demands()) -> Findings:
    """Check `data`. Raises UserError listing up to ten problems; returns counts and warnings when there are none."""
    data = Path(data)
    if not data.is_dir():
        raise UserError(f"{data}: no such directory")
    findings = _Checker(data, demands).run()
    problems = findings.problems
    if problems:
        more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        raise UserError("\n  ".join([f"{data}: not a valid data directory, {count}:", *problems[:SHOWN], *more]))
    return findings


class _Checker:
    def __init__(self, data: Path, demands: Demands):
        self.data, self.demands = data, demands
        self.found = Findings()

    def run(self) -> Findings:
        demands = self.demands
        utt2spk = self.table("utt2spk", required="every utterance needs a speaker: 'utterance-id speaker-id'")
        spk2utt = self.table("spk2utt", required="it is the inverse of utt2spk: utils/fix_data_dir.sh writes it")
        if utt2spk is None or spk2utt is None:
            return self.found
        self.speakers(utt2spk, spk2utt)
        self.found.utterances, self.found.speakers = len(utt2spk), len(spk2utt)

        if demands.text:
            text = self.table("text", allow_empty_value=True, required="if by design, give --no-text")
            self.same_keys("text", text, utt2spk, "utt2spk")
            self.words(text)
        self.recordings(utt2spk)
        feats = self.table("feats.scp", required="if by design, give --no-feats" if demands.feats else None)
        self.same_keys("feats.scp", feats, utt2spk, "utt2spk")
        self.archives("feats.scp", feats)
        self.images(utt2spk)
        self.units(utt2spk)
        self.optional(utt2spk, spk2utt)
        return self.found

    # What every table must be

    def table(
        self, name: str, *, required: str | None = None, allow_empty_value: bool = False
    ) -> dict[str, Row] | None:
        """Rows by key, or None where the table is missing or unreadable; says so where it matters."""
        path = self.data / name
        if not path.is_file():
            if required:
                self.problem(f"{path}: no such file ({required})")
            return None
        rows: dict[str, Row] = {}
        previous = ""
        try:
            # iter_table refuses empty lines, so that rows and lines count alike.
            for number, (key, value) in enumerate(iter_table(path, allow_empty_value), 1):
                if key.encode() < previous.encode():
                    self.problem(
                        f"{path}:{number}: {key} comes after {previous}: not sorted in C locale; "
                        "run utils/fix_data_dir.sh, or sort with LC_ALL=C"
                    )
                    return None
                previous = key
                rows[key] = number, value
        except UserError as e:
            self.problem(str(e))
            return None
        if not rows:
            self.problem(f"{path}: is empty")
            return None
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            self.problem(f"{path}:{len(rows)}: the last line has no line end; add one")
        if b"\r" in content:
            number = content[: content.index(b"\r")].count(b"\n") + 1
            self.problem(f"{path}:{number}: Windows line ends; take them out: sed -i 's/\\r$//' {path}")
        return rows

    def same_keys(self, name: str, rows: dict[str, Row] | None, others: dict[str, Row] | None, other: str) -> None:
        """Both tables must list the same ids."""
        if rows is None or others is None:
            return
        extra = [f"{self.data}/{name}:{rows[key][0]}: {key} is not in {other}" for key in rows if key not in others]
        missing = [f"{self.data}/{other}:{others[key][0]}: {key} is not in {name}" for key in others if key not in rows]
        for first, *rest in filter(None, (extra, missing)):
            more = f" (nor are {len(rest)} others)" if rest else ""
            self.problem(f"{first}{more}; both must list the same ids: utils/fix_data_dir.sh keeps those in all tables")

    def rows_hold(self, name: str, rows: dict[str, Row] | None, good: Callable[[str], bool], wanted: str) -> None:
        """The value of every row must be what is wanted; the first that is not is a problem."""
        for key, (number, value) in (rows or {}).items():
            if not good(value):
                self.problem(f"{self.data}/{name}:{number}: {key}: expected {wanted}, got {value[:60]!r}")
                return

    # The tables one by one

    def speakers(self, utt2spk: dict[str, Row], spk2utt: dict[str, Row]) -> None:
        self.rows_hold("utt2spk", utt2spk, lambda v: len(v.split()) == 1, "'utterance-id speaker-id'")
        stated = {u: s for s, (_, value) in spk2utt.items() for u in value.split()}
        inverse = {s: " ".join(us) for s, us in invert({u: s for u, (_, s) in utt2spk.items()}).items()}
        for speaker, (number, value) in spk2utt.items():
            if " ".join(value.split()) != inverse.get(speaker):
                self.problem(
                    f"{self.data}/spk2utt:{number}: {speaker}: not what utt2spk says; utils/fix_data_dir.sh mends it"
                )
                break
        else:
            for utterance, (number, speaker) in utt2spk.items():
                if utterance not in stated:
                    self.problem(
                        f"{self.data}/utt2spk:{number}: {utterance} of {speaker} is not in spk2utt; "
                        "utils/fix_data_dir.sh mends it"
                    )
                    break
        if self.demands.speaker_order:
            for (_, (_, before)), (utterance, (number, speaker)) in pairwise(utt2spk.items()):
                if speaker.encode() < before.encode():
                    self.problem(
                        f"{self.data}/utt2spk:{number}: sorted by utterance, not speaker ({speaker} after {before}); "
                        f"begin utterance ids with the speaker's ({speaker}-{utterance}), or give --no-spk-sort"
                    )
                    break

    def words(self, text: dict[str, Row] | None) -> None:
        path = self.data / "text"
        empty = []
        for key, (number, value) in (text or {}).items():
            where = f"{path}:{number}: {key}:"
            symbols = {"<s>", "</s>", "#0"}.intersection(value.split())
            odd = [c for c in value if c != "\t" and c != " " and (c.isspace() or unicodedata.category(c) == "Cc")]
            if symbols:
                self.problem(
                    f"{where} {symbols.pop()} is a symbol of language models and cannot be a word; take it out"
                )
            elif any(c.isspace() for c in odd):
                space = next(c for c in odd if c.isspace())
                self.problem(f"{where} holds the space U+{ord(space):04X} ({_name(space)}); use plain spaces")
            elif odd and self.demands.printable:
                self.problem(
                    f"{where} holds the control character U+{ord(odd[0]):04X}; take it out, or give --non-print"
                )
            elif not value:
                empty.append(f"{path}:{number}: {key}")
        if empty:
            self.found.warnings.append(f"{empty[0]}: no words ({len(empty)} such); a voice cannot speak it")

    def recordings(self, utt2spk: dict[str, Row]) -> None:
        wav = self.table("wav.scp", required="if by design, give --no-wav" if self.demands.wav else None)
        segments = self.table("segments")
        if segments is None:
            self.same_keys("wav.scp", wav, utt2spk, "utt2spk")
        elif not (self.data / "wav.scp").is_file():
            self.problem(f"{self.data}/segments: there is no wav.scp beside it")
        else:
            self.rows_hold("segments", segments, _is_segment, "'utterance-id recording-id begin end' with begin < end")
            self.same_keys("segments", segments, utt2spk, "utt2spk")
            used = {value.split()[0]: (number, "") for number, value in segments.values()}
            self.same_keys("wav.scp", wav, used, "segments")
        self.files("wav.scp", wav)
        for name, good, wanted in (
            ("reco2dur", _is_positive, "a number of seconds above 0"),
            ("reco2file_and_channel", lambda v: v.split()[1:] in (["A"], ["B"], ["1"]), "'file A' or 'file B'"),
        ):
            rows = self.table(name)
            self.same_keys(name, rows, wav, "wav.scp")
            self.rows_hold(name, rows, good, wanted)

    def images(self, utt2spk: dict[str, Row]) -> None:
        required = "if this directory has no images, give --no-images" if self.demands.images else None
        images = self.table("images.scp", required=required)
        if images is not None:
            required = "'utterance-id image-id': which utterance describes which image"
        utt2image = self.table("utt2image", required=required)
        self.same_keys("utt2image", utt2image, utt2spk, "utt2spk")
        self.files("images.scp", images)
        if images is not None and utt2image is not None:
            for utterance, (number, image) in utt2image.items():
                if image not in images:
                    self.problem(
                        f"{self.data}/utt2image:{number}: {utterance} describes {image}, which is not in images.scp; "
                        "add the image or take the utterance out"
                    )
                    break
            described = {image for _, image in utt2image.values()}
            bare = [image for image in images if image not in described]
            if bare:
                more = f" (nor do {len(bare) - 1} others)" if len(bare) > 1 else ""
                self.problem(
                    f"{self.data}/images.scp:{images[bare[0]][0]}: no utterance describes {bare[0]}{more}; "
                    "utils/fix_data_dir.sh takes such images out"
                )
            self.found.images = len(images)
        feats = self.table("image_feats.scp")
        self.same_keys("image_feats.scp", feats, images, "images.scp")
        self.archives("image_feats.scp", feats)

    def units(self, utt2spk: dict[str, Row]) -> None:
        units, durations = self.table("units"), self.table("unit_durations")
        for name, rows, least in (("units", units, 0), ("unit_durations", durations, 1)):
            self.same_keys(name, rows, utt2spk, "utt2spk")
            self.rows_hold(
                name,
                rows,
                lambda v, least=least: all(word.isdecimal() and int(word) >= least for word in v.split()),  # type: ignore[misc]
                f"whole numbers from {least}",
            )
        if units is None or durations is None:
            return
        for key, (number, value) in units.items():
            if key in durations and len(value.split()) != len(durations[key][1].split()):
                self.problem(f"{self.data}/units:{number}: {key} has another number of units than of unit_durations")
                return
            if any(a == b for a, b in pairwise(value.split())):
                self.problem(f"{self.data}/units:{number}: {key} repeats a unit; runs must be collapsed")
                return

    def optional(self, utt2spk: dict[str, Row], spk2utt: dict[str, Row]) -> None:
        """Tables that Kaldi knows and this project seldom uses."""
        warp: _Rule = (lambda v: _is_positive(v) and 0.5 < float(v) < 1.5, "a number between 0.5 and 1.5")
        rules: dict[str, _Rule] = {
            "utt2dur": (_is_positive, "a number of seconds above 0"),
            "utt2num_frames": (lambda v: _is_positive(v) and float(v).is_integer(), "a whole number above 0"),
            "utt2warp": warp,
            "spk2warp": warp,
            "spk2gender": (lambda v: v in ("m", "f"), "m or f"),
        }
        for name in ("unit_feats.scp", "vad.scp", "utt2lang", "utt2uniq", "utt2dur", "utt2num_frames", "utt2warp"):
            self.optional_table(name, utt2spk, "utt2spk", rules.get(name))
        for name in ("cmvn.scp", "spk2warp", "spk2gender"):
            self.optional_table(name, spk2utt, "spk2utt", rules.get(name))

    def optional_table(self, name: str, others: dict[str, Row], other: str, rule: _Rule | None) -> None:
        rows = self.table(name, allow_empty_value=name in ("utt2lang", "utt2uniq"))
        self.same_keys(name, rows, others, other)
        if name.endswith(".scp"):
            self.archives(name, rows)
        if rule:
            self.rows_hold(name, rows, *rule)

    # Files that tables name

    def files(self, name: str, rows: dict[str, Row] | None) -> None:
        """Plain files must be there and hold something; commands only where they are allowed."""
        for where, key, value in self.plain(name, rows):
            if value.startswith("~"):
                self.problem(f"{where}: {key}: write the path without ~; programs do not expand it")
            else:
                self.file_exists(where, key, value)

    def archives(self, name: str, rows: dict[str, Row] | None) -> None:
        """`file.ark:offset`, with or without Kaldi's row and column range: the offset must lie within the file."""
        sizes: dict[str, int | None] = {}
        for where, key, value in self.plain(name, rows):
            match = re.fullmatch(r"(.+?)(?::(\d+))?(\[[\d:,]*\])?", value)
            path, offset = (match[1], int(match[2] or 0)) if match else (value, 0)
            if path not in sizes:
                sizes[path] = Path(path).stat().st_size if self.file_exists(where, key, path) else None
            size = sizes[path]
            if size is not None and offset >= size:
                self.problem(f"{where}: {key}: {path} ends before {offset}; run the stage that makes {name} again")
                return

    def plain(self, name: str, rows: dict[str, Row] | None) -> Iterator[tuple[str, str, str]]:
        """(where, key, path) of the rows that name files."""
        for key, (number, value) in (rows or {}).items():
            where = f"{self.data}/{name}:{number}"
            if not value.endswith("|"):
                yield where, key, value
            elif not self.demands.allow_pipes:
                self.problem(f"{where}: {key}: a command, not a file; write it to a file, or give --allow-pipes")
                return

    def file_exists(self, where: str, key: str, value: str) -> bool:
        path = Path(value)
        if not path.is_file():
            hint = "" if path.is_absolute() else " (paths count from the recipe's folder, where you run this)"
            self.problem(f"{where}: {key}: no such file: {value}{hint}")
        elif not path.stat().st_size:
            self.problem(f"{where}: {key}: empty file: {value}; make it again or take {key} out")
        else:
            return True
        return False

    def problem(self, text: str) -> None:
        self.found.problems.append(text)


_Rule = tuple[Callable[[str], bool], str]


def _is_positive(value: str) -> bool:
    try:
        return float(value) > 0
    except ValueError:
        return False


def _is_segment(value: str) -> bool:
    words: Sequence[str] = value.split()
    try:
        return len(words) == 3 and float(words[1]) < float(words[2])
    except ValueError:
        return False


def _name(character: str) -> str:
    return unicodedata.name(character, "unnamed").lower()
