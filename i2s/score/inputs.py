"""What a scoring run reads, checked: references, hypotheses and ceilings, by image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from i2s.asr import RECOGNISERS
from i2s.corpus.tables import iter_table, read_int_table, read_table
from i2s.errors import UserError
from i2s.modeldir import load_manifest
from i2s.score.text import Tokeniser
from i2s.units.aligned import KINDS


@dataclass
class Inputs:
    """Sequences are space-separated tokens: words, or units. All dicts are in C-locale order of their keys.

    `references`: image -> utterance -> sequence. `system`: image -> sequence; `predicted`: the same before synthesis
    (units only). `train`, `dev`: the references of each of their images. `voice`, `resynth`: utterance -> sequence
    heard in one recording of each image, and in its units spoken again (or its spectrogram: `again` tells).
    `constant`: the best constant caption, where it was chosen already, and what was heard when it was spoken. `noise`:
    image -> what was heard in noise. `samples`: other things that the system said of an image. `second`: the same of
    another recogniser; `read_by` names this one. `encoded`: the units of `system` are those of its speech. `left_out`:
    images that are not scored, as no utterance of theirs has units.
    """

    references: dict[str, dict[str, str]]
    system: dict[str, str]
    predicted: dict[str, str] = field(default_factory=dict)
    train: list[list[str]] = field(default_factory=list)
    dev: list[list[str]] = field(default_factory=list)
    voice: dict[str, str] = field(default_factory=dict)
    resynth: dict[str, str] = field(default_factory=dict)
    again: str = "units"
    encoded: bool = True
    left_out: list[str] = field(default_factory=list)
    constant: tuple[str, str] | None = None
    noise: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    second: Inputs | None = None
    read_by: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the references: two systems can be compared if theirs are the same."""
        return hashlib.sha256(json.dumps(self.references).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Splits:
    """Folders that a scoring run reads beside the test data and the system: each may be missing."""

    train: Path | None = None
    dev: Path | None = None
    ceilings: Path | None = None


def read_captions(
    data: Path, system: Path, asr: str, splits: Splits, tokens: str = "auto", second: str = ""
) -> tuple[Inputs, Tokeniser]:
    """Read what caption scores need. Raises UserError naming file and id where the tables do not fit together."""
    spoken = read_table(data / "text")
    tokenise = Tokeniser.choose(tokens, spoken.values())

    def words(path: Path) -> dict[str, str]:
        return tokenised(read_table(path, allow_empty_value=True), tokenise)

    def others(split: Path | None) -> list[list[str]]:
        if not split or not (split / "text").is_file():
            return []
        return grouped(read_table(split / "utt2image"), words(split / "text"))

    references = by_image(data / "utt2image", tokenised(spoken, tokenise), data / "text")
    train, dev = others(splits.train), others(splits.dev)

    def heard_by(name: str) -> Inputs:
        heard = system / "transcripts" / name
        constant, noise = None, system / "noise" / "transcripts" / name
        if splits.ceilings and (said := splits.ceilings / "constant" / "text").is_file():
            spoken_again = said.with_name("transcripts") / name
            if spoken_again.is_file():
                constant = (next(iter(words(said).values())), next(iter(words(spoken_again).values())))
        return Inputs(
            references=references,
            system=complete(words(heard), references, heard),
            train=train,
            dev=dev,
            voice=_ceiling(splits.ceilings, f"voice/transcripts/{name}", references, words),
            resynth=_ceiling(splits.ceilings, f"resynth/transcripts/{name}", references, words),
            again=kind_respoken(splits.ceilings),
            constant=constant,
            noise=_known(words(noise), references, noise) if noise.is_file() else {},
            read_by=label(heard),
        )

    inputs = heard_by(asr)
    inputs.second = heard_by(second) if second else None
    return inputs, tokenise


def said_in_units(system: Path, units: Path) -> Path | None:
    """The table of what a system said, in the units of the folder `units`; None where there is none.

    It is of the speech, encoded again, or else of what was predicted. Units of alignments cannot be told from speech
    alone: of them it is always what was predicted, and a table of speech there is one of other units, which were here
    before.
    """
    tables = [system / "units"]
    if can_encode(units):
        tables.insert(0, system / "reencoded_units")
    return next((table for table in tables if table.is_file()), None)


def can_encode(units: Path) -> bool:
    """Whether any speech can be written in these units."""
    return load_manifest(units, "units")["method"] not in KINDS


def read_units(data: Path, system: Path, units: Path, splits: Splits) -> Inputs:
    """Read what unit scores need, from the units of `units`/<name of the data directory>/units.

    Raises UserError where the tables do not fit together, and where `said_in_units` finds none.
    """

    def table_of(split: Path) -> Path:
        return units / split.resolve().name / "units"

    def others(split: Path | None) -> list[list[str]]:
        if not split or not table_of(split).is_file():
            return []
        return grouped(read_table(split / "utt2image"), _units(table_of(split)))

    failures = table_of(data).with_name("failures")  # utterances that were left out as they could not be aligned
    failed = read_table(failures, allow_empty_value=True) if failures.is_file() else {}
    references = by_image(data / "utt2image", _units(table_of(data)), table_of(data), failed)
    left_out = set(read_table(data / "utt2image").values()) - references.keys()

    def said_in(table: Path) -> dict[str, str]:
        return {image: said for image, said in _units(table).items() if image not in left_out}

    said, predicted = said_in_units(system, units), system / "units"
    if said is None:
        raise UserError(f"{system}: holds no units that it said; run its stage again")
    encoded = said != predicted
    heard = splits.ceilings if can_encode(units) else None
    samples = [_known(said_in(table), references, table) for table in sorted(system.glob("samples/[0-9]*"))]
    return Inputs(
        references=references,
        system=complete(said_in(said), references, said),
        predicted=complete(said_in(predicted), references, predicted) if encoded and predicted.is_file() else {},
        samples={i: [table[i] for table in samples if i in table] for i in references if samples},
        train=others(splits.train),
        dev=others(splits.dev),
        voice=_ceiling(heard, "voice/reencoded_units", references, _units),
        resynth=_ceiling(heard, "resynth/reencoded_units", references, _units),
        again=kind_respoken(splits.ceilings),
        encoded=encoded,
        left_out=sorted(left_out, key=str.encode),
    )


def kind_respoken(ceilings: Path | None) -> str:
    """What `ceilings`/resynth holds of the references: "units", or the "spectrograms" that a vocoder made speech of."""
    resynth = ceilings / "resynth" if ceilings else None
    return "spectrograms" if resynth and resynth.is_dir() and not (resynth / "units").is_file() else "units"


@dataclass(frozen=True)
class Files:
    """Plain tables `id text` of any system. Ids are images', or `utt2image` maps them to images.

    An image's references may be in several files, or in several lines of one.
    """

    hypotheses: Path
    references: tuple[Path, ...]
    train: tuple[Path, ...] = ()
    dev: tuple[Path, ...] = ()
    samples: Path | None = None
    utt2image: tuple[Path, ...] = ()


def read_files(files: Files, tokens: str = "auto", units: bool = False) -> tuple[Inputs, Tokeniser]:
    """Read plain tables. Raises UserError naming file and id where they do not fit together."""
    image_of, spoken = read_image_of(files.utt2image), read_rows(files.references)
    tokenise = Tokeniser.choose("words" if units else tokens, (text for _, text in spoken))

    def many(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
        return captions_by_image(read_rows(paths, allow_empty_value=True), image_of, tokenise)

    references = captions_by_image(spoken, image_of, tokenise)
    if not references:
        raise UserError(f"{files.references[0]}: holds no references")
    if bare := [image for image, of_image in references.items() if not of_image]:
        raise UserError(f"{files.references[0]}: {some(bare)} without any word to compare with; complete or drop them")
    heard = tokenised(read_table(files.hypotheses, allow_empty_value=True), tokenise)
    samples = many([files.samples]) if files.samples else {}
    return (
        Inputs(
            references=references,
            system=complete(heard, references, files.hypotheses),
            train=[list(refs.values()) for refs in many(files.train).values() if refs],
            dev=[list(refs.values()) for refs in many(files.dev).values() if refs],
            samples={image: list(said.values()) for image, said in samples.items() if image in references},
        ),
        tokenise,
    )


def read_rows(paths: Iterable[Path], allow_empty_value: bool = False) -> list[tuple[str, str]]:
    """The lines `id text` of several tables; an id may have several."""
    return [row for path in paths for row in iter_table(path, allow_empty_value, unique=False)]


def read_image_of(utt2image: Iterable[Path]) -> dict[str, str]:
    """id -> image, of several tables."""
    return {key: image for path in utt2image for key, image in read_table(path).items()}


def captions_by_image(
    rows: Sequence[tuple[str, str]], image_of: Mapping[str, str], tokenise: Tokeniser
) -> dict[str, dict[str, str]]:
    """image -> a name for each caption of it -> its tokens, empty ones left out."""
    out: dict[str, dict[str, str]] = {}
    for (key, _), said in zip(rows, tokenise([text for _, text in rows]), strict=True):
        of_image = out.setdefault(image_of.get(key, key), {})
        if said:
            of_image[f"{key} {len(of_image)}"] = said
    return {image: out[image] for image in sorted(out, key=str.encode)}


def tokenised(table: dict[str, str], tokenise: Tokeniser) -> dict[str, str]:
    """The table with the tokens of its texts."""
    return dict(zip(table, tokenise(list(table.values())), strict=True))


def by_image(
    utt2image: Path, sequences: dict[str, str], where: Path, failed: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Group sequences by image. Utterances without a sequence and empty ones are left out.

    So is an image all of whose utterances are known to have `failed`. Raises UserError for an utterance that utt2image
    does not know, and for another image without any.
    """
    image_of = read_table(utt2image)
    groups: dict[str, dict[str, str]] = {image: {} for image in sorted(set(image_of.values()), key=str.encode)}
    for utterance in sorted(sequences, key=str.encode):
        if utterance not in image_of:
            raise UserError(f"{where}: {utterance} is not in {utt2image}; run utils/validate_data_dir.sh")
        if sequences[utterance]:
            groups[image_of[utterance]][utterance] = sequences[utterance]
    if not groups:
        raise UserError(f"{utt2image}: names no image")
    found = {image: of_image for image, of_image in groups.items() if of_image}
    expected = {image for utterance, image in image_of.items() if utterance not in failed}
    if bare := [image for image in groups if image in expected and image not in found]:
        raise UserError(f"{where}: {some(bare)} of {utt2image} without any reference; complete it, or drop them")
    if not found:
        raise UserError(f"{where}: no utterance of {utt2image} has any; all of them failed")
    return found


def grouped(image_of: dict[str, str], sequences: dict[str, str]) -> list[list[str]]:
    """The sequences of each image. Images without any are no fault here."""
    groups: dict[str, list[str]] = {}
    for utterance, image in image_of.items():
        if sequences.get(utterance):
            groups.setdefault(image, []).append(sequences[utterance])
    return [groups[image] for image in sorted(groups, key=str.encode)]


def about_recogniser(transcripts: Path) -> dict[str, object]:
    """The recogniser behind a table of transcripts: its name, its options, and whether it knew training captions.

    The stamp of steps/transcribe.sh tells: its options, the wavs, and the captions where the recogniser was offered
    them; None where there is no stamp. Only some recognisers make a language model of captions.
    """
    asr = transcripts.name
    about: dict[str, object] = {"name": asr, "caption_lm": None}
    stamp = transcripts.with_name(f"{asr}.parts") / ".done"
    if stamp.is_file() and asr in RECOGNISERS:
        options, _, *captions = stamp.read_text(encoding="utf-8").splitlines()
        takes_captions = any(field.name == "lm_text" for field in dataclasses.fields(RECOGNISERS.get(asr)))
        about["caption_lm"] = bool(captions) and takes_captions
        about["options"] = " ".join(options.split()[2:-1])  # between "options asr=NAME" and "wavs=HASH"
    return about


def label(transcripts: Path) -> str:
    """The recogniser's name, with its caption language model where it has one: that can write captions by itself."""
    about = about_recogniser(transcripts)
    return f"{about['name']} + caption LM" if about["caption_lm"] else str(about["name"])


def complete(hypotheses: dict[str, str], references: Collection[str], where: Path) -> dict[str, str]:
    """The hypotheses in the order of the references. Raises UserError unless both have the same images."""
    if missing := [image for image in references if image not in hypotheses]:
        raise UserError(f"{where}: lacks {some(missing)} that the references have; run its stage again")
    return _known(hypotheses, references, where)


def _known(hypotheses: dict[str, str], references: Collection[str], where: Path) -> dict[str, str]:
    """The hypotheses in the order of the references. Raises UserError if one is of no image that they know."""
    if unknown := [image for image in hypotheses if image not in references]:
        raise UserError(f"{where}: has {some(unknown)} that the references lack; is it of another split?")
    return {image: hypotheses[image] for image in references if image in hypotheses}


def some(ids: list[str]) -> str:
    """How many, and the first three."""
    shown = ", ".join(ids[:3])
    return f"{len(ids)} ids ({shown}{', ...' if len(ids) > 3 else ''})"


def _units(path: Path) -> dict[str, str]:
    return {key: " ".join(map(str, row)) for key, row in read_int_table(path).items()}


def _ceiling(
    ceilings: Path | None,
    table: str,
    references: dict[str, dict[str, str]],
    read: Callable[[Path], dict[str, str]],
) -> dict[str, str]:
    """What was heard in one utterance of each image; {} where the table is not there."""
    path = ceilings / table if ceilings else None
    if path is None or not path.is_file():
        return {}
    heard = read(path)
    image_of = {utterance: image for image, of_image in references.items() for utterance in of_image}
    if unknown := [utterance for utterance in heard if utterance not in image_of]:
        raise UserError(f"{path}: has {some(unknown)} that the references lack; is it of another split?")
    taken: dict[str, str] = {}
    for utterance in heard:
        if other := taken.get(image_of[utterance]):
            raise UserError(f"{path}: {other} and {utterance} are of one image; expected one utterance an image")
        taken[image_of[utterance]] = utterance
    return {utterance: heard[utterance] for utterance in sorted(heard, key=str.encode)}
