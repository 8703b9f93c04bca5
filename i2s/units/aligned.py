"""Units that are words or phones of an alignment: what the speech of written languages can be cut into.

`words` and `phones-l1` come from text, by forced alignment; `phones-l2` from a phone recogniser of another language,
without text. Any aligner or phone recogniser can stand in for pocketsphinx: TextGrids or a CTM file are read instead.
(Hasegawa-Johnson et al. 2017 compare image-to-speech over these.)
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from i2s.corpus.ctm import SILENCE, Interval, frame_symbols, read_ctm
from i2s.errors import UserError
from i2s.files import write_text
from i2s.modeldir import load_manifest
from i2s.units.phone_map import PhoneMap, find_map
from i2s.units.phones import Aligner, PhoneRecogniser, Unalignable
from i2s.units.runs import collapse
from i2s.units.textgrid import read_textgrid

UNKNOWN = "<unk>"  # of dev and test, where the training set has no such symbol
_NOISES = {"pau", "int", "spk", "nsn"}  # of phone recognisers: pauses, and what is no speech
KINDS = ("words", "phones-l1", "phones-l2")


@dataclass(frozen=True)
class AlignedConfig:
    """How speech is aligned, and what becomes of utterances that cannot be."""

    bpe_size: int = 0  # pieces of the BPE over units, at least their number; 0: none
    # Read in place of aligning: a folder of TextGrids, one an utterance, in folders of speakers or not; a CTM file;
    # units of the same kind (UNIT_DIR); a data directory with <split>/words.ctm or, for phones-l1, <split>/phones.ctm.
    alignments: str = ""
    tier: str = ""  # of the TextGrids; default: words for words, else phones
    lexicon: str = ""  # pronunciations, 'word phone phone ...' a line; default: pocketsphinx's English
    model: str = ""  # folder of pocketsphinx's acoustic model; default: English
    phone_lm: str = ""  # of phones-l2: language model of its phones; default: English
    phone_map: str = ""  # of phones-l2: whose phones they become (conf/phone_maps: de ...); default: left as heard
    on_failure: Literal["error", "skip"] = "error"  # skip: utterances that cannot be aligned have no units


class Alignments:
    """What is said when, in symbols of one kind. Raises UserError for options that do not belong to it.

    only: utterances, if not all, of which alignments that were made before are kept in memory.
    """

    def __init__(self, kind: str, config: AlignedConfig, only: Container[str] | None = None):
        check_options(kind, config)
        self.kind, self.config = kind, config
        self.reads_text = kind != "phones-l2" and not config.alignments
        self.reads_speech = not config.alignments
        self.tier = config.tier or ("words" if kind == "words" else "phones")
        self._map = PhoneMap(config.phone_map) if config.phone_map else None
        ctms = given_ctms(kind, Path(config.alignments)) if config.alignments else []
        self._ctm = {u: row for ctm in ctms for u, row in read_ctm(ctm, only).items()} if ctms else None
        self._grids = {} if ctms or not config.alignments else textgrids(Path(config.alignments))
        self._aligner = Aligner(config.lexicon, config.model) if self.reads_text else None
        self._loop = None
        if kind == "phones-l2" and not config.alignments:
            self._loop = PhoneRecogniser(config.model, config.phone_lm)

    def missing(self, text: str) -> list[str]:
        """The words of `text` that cannot be aligned, for want of a pronunciation."""
        return self._aligner.missing(text) if self._aligner else []

    def align(self, utterance: str, wav: np.ndarray, sample_rate: int, text: str = "") -> list[Interval]:
        """The symbols of an utterance. `wav`, float32 (N,), counts where `reads_speech`, `text` where `reads_text`.

        Raises Unalignable.
        """
        if self._aligner:
            found = self._aligner.align(wav, sample_rate, text)
            intervals = found.words if self.kind == "words" else found.phones
        elif self._loop:
            intervals = self._loop.recognise(wav, sample_rate)
        else:
            intervals = self._read(utterance)
            if self.kind == "words":
                intervals = [i if i.symbol == SILENCE else i._replace(symbol=i.symbol.lower()) for i in intervals]
            else:
                intervals = [i._replace(symbol=SILENCE) if i.symbol.lower() in _NOISES else i for i in intervals]
        if not any(i.symbol != SILENCE for i in intervals):
            raise Unalignable("its alignment holds nothing but silence")
        return [i._replace(symbol=self._map(i.symbol)) for i in intervals] if self._map else intervals

    def _read(self, utterance: str) -> list[Interval]:
        if self._ctm is not None:
            if utterance not in self._ctm:
                raise Unalignable(f"{self.config.alignments} has no line of it")
            return self._ctm[utterance]
        path = self._grids.get(utterance)
        if path is None:
            raise Unalignable(f"there is no {utterance}.TextGrid in {self.config.alignments}")
        try:
            return read_textgrid(path, self.tier)
        except UserError as e:
            raise Unalignable(str(e)) from e


def check_options(kind: str, config: AlignedConfig) -> None:
    """Raises UserError for options that do not belong to the kind."""
    if kind == "phones-l2" and config.lexicon:
        raise UserError("units phones-l2 read no text, and so have no lexicon")
    if kind != "phones-l2" and (config.phone_lm or config.phone_map):
        raise UserError(f"units {kind} come from text: phone_lm and phone_map are options of phones-l2")


def inputs(kind: str, config: AlignedConfig) -> list[Path]:
    """The files and folders that alignments are made with, speech and text aside; none of them is opened.

    Raises UserError for options that do not belong to the kind, and for alignments that are missing or of another.
    """
    check_options(kind, config)
    given = Path(config.alignments)
    found = (given_ctms(kind, given) or [given]) if config.alignments else []
    phones = [find_map(config.phone_map)] if config.phone_map else []
    return [*found, *phones, *(Path(path) for path in (config.lexicon, config.model, config.phone_lm) if path)]


def given_ctms(kind: str, path: Path) -> list[Path]:
    """The CTM files that `path` is or holds, none of a folder of TextGrids. Raises UserError for units of another kind,
    whatever they are called: words are no phones, and phones that were aligned with a text are not without one."""
    if not path.exists():
        raise UserError(f"{path}: no such folder of TextGrids, or CTM file")
    if path.is_file():
        return [path]
    if (path / "manifest.json").is_file():
        found = load_manifest(path, "units")["method"]
        if found != kind:
            raise UserError(f"{path}: its alignments are of {found}, not of {kind}")
    names = {"words": "words.ctm", "phones-l1": "phones.ctm"}
    return sorted(path.glob("*/alignment.ctm")) or sorted(path.glob(f"*/{names.get(kind, 'alignment.ctm')}"))


def textgrids(folder: Path) -> dict[str, Path]:
    """The TextGrid of each utterance, in whichever folder of a speaker. Raises UserError where one has two."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.TextGrid")):
        if found.setdefault(path.stem, path) != path:
            raise UserError(f"{path}: there is {found[path.stem]}, too; keep the one of that utterance")
    return found


class Symbols:
    """The inventory: unit n is the symbol `names[n]`. The file symbols.txt is Kaldi's: `symbol n` a line."""

    Config = AlignedConfig
    WEIGHTS = "symbols.txt"

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self._index = {name: i for i, name in enumerate(self.names)}

    @classmethod
    def of(cls, symbols: Iterable[str]) -> Self:
        """Silence, the unknown symbol, and what else there is in alphabetical order."""
        return cls([SILENCE, UNKNOWN, *sorted(set(symbols) - {SILENCE, UNKNOWN})])

    @property
    def size(self) -> int:
        return len(self.names)

    def units(self, intervals: Sequence[Interval], frames: int, frame_shift: float) -> tuple[np.ndarray, np.ndarray]:
        """Collapsed units (N,) and their durations in frames (N,), which add up to `frames`.

        The same symbol twice in a row becomes one longer unit, as of all units.
        """
        unknown = self._index[UNKNOWN]
        return collapse([self._index.get(s, unknown) for s in frame_symbols(intervals, frames, frame_shift)])

    def save(self, folder: Path) -> None:
        write_text(folder / self.WEIGHTS, "".join(f"{name} {i}\n" for i, name in enumerate(self.names)))

    @classmethod
    def load(cls, folder: Path, config: AlignedConfig | None = None) -> Self:
        """Raises UserError for a file that is missing, or does not number its symbols from 0."""
        path = folder / cls.WEIGHTS
        try:
            rows = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"{path}: cannot be read: {e}; run the unit stage again") from e
        if [row[1:] for row in rows] != [[str(i)] for i in range(len(rows))] or len({row[0] for row in rows}) < 2:
            raise UserError(f"{path}: expected 'symbol number' lines, numbered from 0; run the unit stage again")
        return cls([row[0] for row in rows])

    def manifest(self) -> dict[str, Any]:
        return {}
