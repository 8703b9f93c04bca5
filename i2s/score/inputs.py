"""What a scoring run reads, checked: references, hypotheses and ceilings, by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from i2s.asr import RECOGNISERS
from i2s.corpus.tables import read_int_table, read_table
from i2s.errors import UserError
from i2s.score.text import normalise


@dataclass
class Inputs:
    """Sequences are space-separated tokens: normalised words, or units. All dicts are in C-locale order of their keys.

    `references`: image -> utterance -> sequence. `system`: image -> sequence; `predicted`: the same before synthesis
    (units only). `train`: the references of each training image. `voice`, `resynth`: utterance -> sequence heard in
    one recording of each image, and in its units spoken again.
    """

    references: dict[str, dict[str, str]]
    system: dict[str, str]
    predicted: dict[str, str] = field(default_factory=dict)
    train: list[list[str]] = field(default_factory=list)
    voice: dict[str, str] = field(default_factory=dict)
    resynth: dict[str, str] = field(default_factory=dict)


def read_captions(data: Path, system: Path, asr: str, train: Path | None, ceilings: Path | None) -> Inputs:
    """Read what caption scores need. Raises UserError naming file and id where the tables do not fit together."""
    references = by_image(data / "utt2image", _words(data / "text"), data / "text")
    heard = system / "transcripts" / asr
    return Inputs(
        references=references,
        system=_complete(_words(heard, allow_empty=True), references, heard),
        train=_train(train, _words(train / "text")) if train and (train / "text").is_file() else [],
        voice=_ceiling(ceilings, f"voice/transcripts/{asr}", references),
        resynth=_ceiling(ceilings, f"resynth/transcripts/{asr}", references),
    )


def read_units(data: Path, system: Path, units: Path, train: Path | None, ceilings: Path | None) -> Inputs:
    """Read what unit scores need, from the units of `units`/<name of the data directory>/units."""
    table = units / data.resolve().name / "units"
    references = by_image(data / "utt2image", _units(table), table)
    said = system / "reencoded_units"
    predicted = system / "units"
    train_table = units / train.resolve().name / "units" if train else None
    return Inputs(
        references=references,
        system=_complete(_units(said), references, said),
        predicted=_complete(_units(predicted), references, predicted) if predicted.is_file() else {},
        train=_train(train, _units(train_table)) if train and train_table and train_table.is_file() else [],
        voice=_ceiling(ceilings, "voice/reencoded_units", references),
        resynth=_ceiling(ceilings, "resynth/reencoded_units", references),
    )


def by_image(utt2image: Path, sequences: dict[str, str], where: Path) -> dict[str, dict[str, str]]:
    """Group sequences by image. Utterances without a sequence and empty ones are left out.

    Raises UserError for an utterance that utt2image does not know, and for an image left without any.
    """
    image_of = read_table(utt2image)
    grouped: dict[str, dict[str, str]] = {image: {} for image in sorted(set(image_of.values()), key=str.encode)}
    for utterance in sorted(sequences, key=str.encode):
        if utterance not in image_of:
            raise UserError(f"{where}: {utterance} is not in {utt2image}; run utils/validate_data_dir.sh")
        if sequences[utterance]:
            grouped[image_of[utterance]][utterance] = sequences[utterance]
    if not grouped:
        raise UserError(f"{utt2image}: names no image")
    if bare := [image for image, of_image in grouped.items() if not of_image]:
        raise UserError(f"{where}: {_some(bare)} of {utt2image} without any reference; complete it, or drop them")
    return grouped


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


def _words(path: Path, allow_empty: bool = False) -> dict[str, str]:
    return {key: normalise(value) for key, value in read_table(path, allow_empty_value=allow_empty).items()}


def _units(path: Path) -> dict[str, str]:
    return {key: " ".join(map(str, row)) for key, row in read_int_table(path).items()}


def _train(train: Path | None, sequences: dict[str, str]) -> list[list[str]]:
    """Grouped by image. Training images without a reference are no fault here."""
    assert train is not None
    grouped: dict[str, list[str]] = {}
    for utterance, image in read_table(train / "utt2image").items():
        if sequences.get(utterance):
            grouped.setdefault(image, []).append(sequences[utterance])
    return [grouped[image] for image in sorted(grouped, key=str.encode)]


def _complete(hypotheses: dict[str, str], references: Collection[str], where: Path) -> dict[str, str]:
    """The hypotheses in the order of the references. Raises UserError unless both have the same images."""
    if missing := [image for image in references if image not in hypotheses]:
        raise UserError(f"{where}: lacks {_some(missing)} that the references have; run its stage again")
    if unknown := [image for image in hypotheses if image not in references]:
        raise UserError(f"{where}: has {_some(unknown)} that the references lack; is it of another split?")
    return {image: hypotheses[image] for image in references}


def _ceiling(ceilings: Path | None, table: str, references: dict[str, dict[str, str]]) -> dict[str, str]:
    """What was heard in one utterance of each image; {} where the table is not there."""
    path = ceilings / table if ceilings else None
    if path is None or not path.is_file():
        return {}
    heard = _units(path) if path.name == "reencoded_units" else _words(path, allow_empty=True)
    image_of = {utterance: image for image, of_image in references.items() for utterance in of_image}
    if unknown := [utterance for utterance in heard if utterance not in image_of]:
        raise UserError(f"{path}: has {_some(unknown)} that the references lack; is it of another split?")
    taken: dict[str, str] = {}
    for utterance in heard:
        if other := taken.get(image_of[utterance]):
            raise UserError(f"{path}: {other} and {utterance} are of one image; expected one utterance an image")
        taken[image_of[utterance]] = utterance
    return {utterance: heard[utterance] for utterance in sorted(heard, key=str.encode)}


def _some(ids: list[str]) -> str:
    shown = ", ".join(ids[:3])
    return f"{len(ids)} ids ({shown}{', ...' if len(ids) > 3 else ''})"
