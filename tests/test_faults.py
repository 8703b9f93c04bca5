"""Bad input: one row a fault. Each gets one clear message that names the place, no traceback, and a failing status.

Commands run in this process, as `python -m i2s.bin.<command>` would run them; shell scripts run as they are.
"""
# ruff: noqa: E501 (a row of the table stays a row)

from __future__ import annotations

import io
import json
import os
import re
import runpy
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from i2s.archive import write_ark
from i2s.corpus.datadir import write_data_dir
from i2s.modeldir import save_manifest

from .conftest import ROOT, run

RATE = 22050


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe folder as current directory: data/train is valid, with two photos, four recordings and their text."""
    monkeypatch.chdir(tmp_path)
    images = {"cat": "photos/cat.jpg", "dog": "photos/dog.jpg"}
    utterances = {"ann-1": "cat", "ann-2": "dog", "bob-1": "cat", "bob-2": "dog"}
    for folder in ("photos", "wavs"):
        Path(folder).mkdir()
    for path in images.values():
        Image.effect_noise((64, 64), 60).convert("RGB").save(path)
    wavs = {u: f"wavs/{u}.wav" for u in utterances}
    for path in wavs.values():
        soundfile.write(path, tone(), RATE)
    write_data_dir(
        "data/train",
        images=images,
        utt2image=utterances,
        utt2spk={u: u[:3] for u in utterances},
        text={u: f"a {image}" for u, image in utterances.items()},
        wavs=wavs,
    )
    return tmp_path


def tone(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


# Faults: each changes the world.

Fault = Callable[[], None]


def nothing() -> None:
    pass


def change(path: str, old: str, new: str) -> Fault:
    def fault() -> None:
        text = Path(path).read_text()
        assert old in text
        Path(path).write_text(text.replace(old, new, 1))

    return fault


def write(path: str, content: bytes) -> Fault:
    def fault() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)

    return fault


def cut(path: str, share: float) -> Fault:
    return lambda: os.truncate(path, int(share * Path(path).stat().st_size))


def remove(path: str) -> Fault:
    return lambda: Path(path).unlink()


def audio(path: str, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Fault:
    return lambda: soundfile.write(path, samples, rate, subtype=subtype)


def full_disk(target: str) -> Fault:
    """Writing `target` really fails with "no space left": the name it is first written under leads to /dev/full."""

    def fault() -> None:
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.stem}.tmp{os.getpid()}{path.suffix}").symlink_to("/dev/full")

    return fault


def evil_zip() -> None:
    with zipfile.ZipFile("evil.zip", "w") as z:
        z.writestr("../evil.txt", "x")


def features(scp: str, frames: int, dim: int = 39) -> None:
    with write_ark(scp.replace(".scp", ".ark"), scp) as out:
        for key in ("ann-1", "ann-2"):
            out(key, np.random.default_rng(0).normal(size=(frames, dim)))


def units_folder(size: int = 4) -> None:
    """A finished inventory of units, learned from noise."""
    features("unit_feats.scp", 50)
    command("train_units", "unit_feats.scp", "exp/units", "--overrides", f"num_units={size}")
    command("finish_units", "exp/units", "data")


UNITS = {"kind": "units", "inventory": "aaaa", "size": 8, "features": {"sample_rate": RATE}, "frame_shift": 0.0116}


def models(i2u_units: dict, u2s_units: dict) -> None:
    """The manifests of two trained models, and image features for them."""
    image_feats = {"kind": "resnet50", "dim": 4, "weights": "1234"}
    common = {"checkpoint": "checkpoints/best.ckpt"}
    save_manifest("exp/i2u", {"kind": "i2u", "units": i2u_units, "image_feats": image_feats, **common})
    save_manifest("exp/u2s", {"kind": "u2s", "units": u2s_units, "features": u2s_units["features"], **common})
    Path("data/train/image_feats.json").write_text(json.dumps(image_feats))


def models_of_two_inventories() -> None:
    models(UNITS, UNITS | {"inventory": "bbbb"})


def model_of_other_image_features() -> None:
    models(UNITS, UNITS)
    Path("data/train/image_feats.json").write_text(json.dumps({"kind": "vgg16", "dim": 4, "weights": "9"}))


def too_few_frames() -> None:
    features("unit_feats.scp", 3)


def archive_cut_short() -> None:
    features("unit_feats.scp", 50)
    cut("unit_feats.ark", 0.7)()


def pairs(*lines: str) -> Fault:
    return write("pairs.tsv", "".join(f"{line}\n" for line in lines).encode())


VALIDATE = ("validate", "--no-feats", "data/train")
SPEECH = ("extract_speech", "data/train/wav.scp", "data/train/speech_feats")
IMAGES = ("extract_images", "data/train/images.scp", "data/train/image_feats")
GENERATE = ("generate", "data/train", "exp/i2u", "exp/u2s", "exp/system", "exp/system/train")
PREPARE = ("prepare_recordings", "--photos", "photos", "--recordings", "wavs", "--pairs", "pairs.tsv", "own")


@dataclass(frozen=True)
class Row:
    """A fault, the command that meets it, what the message must hold (a pattern), and the exit status."""

    fault: Fault
    command: tuple[str, ...]
    message: str
    status: int = 1


TABLE = {
    # photos
    "truncated JPEG": Row(cut("photos/dog.jpg", 0.5), IMAGES, r"images.scp:2: dog: photos/dog.jpg: truncated or damaged"),
    "empty JPEG": Row(write("photos/dog.jpg", b""), IMAGES, r"photos/dog.jpg: the image file is empty"),
    "text named .jpg": Row(write("photos/dog.jpg", b"hello"), IMAGES, r"photos/dog.jpg: not an image"),
    "missing photo": Row(remove("photos/dog.jpg"), IMAGES, r"photos/dog.jpg: no such image file"),
    "truncated photo to describe": Row(
        cut("photos/dog.jpg", 0.5), ("describe", "--model", "m", "photos/dog.jpg", "o.wav"), r"dog.jpg: truncated"),
    "two photos, one wav": Row(
        nothing, ("describe", "--model", "m", "photos/cat.jpg", "photos/dog.jpg", "o.wav"), r"one wav file for 2 photos"),
    "unknown image features": Row(nothing, (*IMAGES, "--image-feats", "resnet5"), r"no such part.*did you mean resnet50"),
    # recordings
    "zero-byte wav": Row(write("wavs/ann-2.wav", b""), SPEECH, r"wavs/ann-2.wav: cannot read audio"),
    "text named .wav": Row(write("wavs/ann-2.wav", b"hello" * 99), SPEECH, r"wavs/ann-2.wav: cannot read audio"),
    "missing wav": Row(remove("wavs/ann-2.wav"), SPEECH, r"wavs/ann-2.wav: cannot read audio"),
    "wav without samples": Row(audio("wavs/ann-2.wav", tone(0)), SPEECH, r"wavs/ann-2.wav: holds no samples"),
    "stereo wav": Row(
        audio("wavs/ann-2.wav", np.stack([tone()] * 2, 1)), SPEECH, r"ann-2.wav: has 2 channels; make it mono"),
    "8 kHz wav": Row(audio("wavs/ann-2.wav", tone(rate=8000), 8000), SPEECH, r"rate is 8000 Hz, expected 22050 Hz"),
    "NaN audio": Row(
        audio("wavs/ann-2.wav", np.full(9999, np.nan), subtype="FLOAT"), SPEECH, r"ann-2.wav: holds NaN or infinite"),
    "command in wav.scp": Row(
        change("data/train/wav.scp", "wavs/ann-2.wav", "touch evil |"), SPEECH, r"ann-2.*allow-pipes"),
    # tables
    "duplicate id": Row(change("data/train/text", "ann-2", "ann-1"), VALIDATE, r"text:2: ann-1 appears twice"),
    "unsorted ids": Row(change("data/train/text", "ann-1", "zoe"), VALIDATE, r"text:2: ann-2 comes after zoe"),
    "id with a space": Row(
        change("data/train/utt2spk", "ann-1", "ann 1"), VALIDATE, r"utt2spk:1: ann: expected 'utterance-id speaker-id'"),
    "../ as id": Row(change("data/train/images.scp", "dog ", "../dog "), VALIDATE, r"images.scp:2: '../dog' cannot be"),
    "shell metacharacters as id": Row(
        change("data/train/text", "bob-2", "b;$(rm)"), VALIDATE, r"text:4: 'b;\$\(rm\)' cannot be an id"),
    "unknown image": Row(change("data/train/utt2image", "ann-2 dog", "ann-2 cow"), VALIDATE, r"utt2image:2: ann-2.*cow"),
    "missing column": Row(change("data/train/wav.scp", " wavs/bob-2.wav", ""), VALIDATE, r"wav.scp:4: bob-2 has no value"),
    "empty line": Row(change("data/train/text", "ann-2 a dog", ""), VALIDATE, r"text:2: empty line"),
    "not UTF-8": Row(write("data/train/text", b"ann-1 caf\xe9\n"), VALIDATE, r"text:1: not UTF-8.*iconv"),
    "Windows line ends": Row(change("data/train/text", "a dog\n", "a dog\r\n"), VALIDATE, r"text:2: Windows line ends"),
    "utterance in one table only": Row(
        change("data/train/text", "ann-2 a dog\n", ""), VALIDATE, r"utt2spk:2: ann-2 is not in text"),
    "empty caption": Row(change("data/train/text", "ann-2 a dog", "ann-2"), VALIDATE, r"warning.*text:2: ann-2: no words", 0),
    "no data directory": Row(nothing, ("validate", "data/tain"), r"data/tain: no such directory"),
    "the same utterance from two jobs": Row(
        nothing, ("merge_tables", "out", "data/train/text", "data/train/text"), r"ann-1 is in data/train/text already"),
    # options and configurations
    "unknown option": Row(nothing, (*VALIDATE, "--no-txt"), r"unrecognized arguments: --no-txt", 2),
    "unknown part": Row(nothing, ("check_parts", "--tts", "hibary"), r"--tts hibary: no such part \(did you mean hibari"),
    "job beyond the number of jobs": Row(nothing, (*SPEECH, "--job", "3/2"), r"--job 3/2: expected J/N"),
    "unknown configuration key": Row(
        write("conf.yaml", b"n_mel: 80\n"), (*SPEECH, "--config", "conf.yaml"),
        r"conf.yaml: unknown key 'n_mel'; did you mean n_mels"),
    "configuration value of another type": Row(
        write("conf.yaml", b"n_mels: many\n"), (*SPEECH, "--config", "conf.yaml"), r"conf.yaml: n_mels: expected int"),
    "configuration that is not yaml": Row(
        write("conf.yaml", b"{n_mels: [\n"), (*SPEECH, "--config", "conf.yaml"), r"conf.yaml: not valid yaml"),
    "missing configuration": Row(nothing, (*SPEECH, "--config", "none.yaml"), r"none.yaml: no such configuration file"),
    "configuration that contradicts itself": Row(
        write("conf.yaml", b"fmax: 20000\n"), (*SPEECH, "--config", "conf.yaml"), r"fmin < fmax <= sample_rate / 2"),
    "override without a value": Row(
        too_few_frames, ("train_units", "unit_feats.scp", "exp/units", "--overrides", "num_units"), r"'num_units': expected key=value"),
    # units and models
    "units that are not learned": Row(
        nothing, ("train_units", "--units", "words", "unit_feats.scp", "exp/units"), r"words are not learned but aligned"),
    "more units than frames": Row(
        too_few_frames, ("train_units", "unit_feats.scp", "exp/units", "--overrides", "num_units=50"), r"only 6 frames.*lower --num-units"),
    "features cut short": Row(
        archive_cut_short, ("train_units", "unit_feats.scp", "exp/units", "--overrides", "num_units=4"), r"unit_feats.scp: ann-2: cannot"),
    "model folder without a model": Row(nothing, GENERATE, r"exp/i2u: no finished model here.*run its training stage"),
    "model of another kind": Row(
        lambda: save_manifest("exp/i2u", UNITS), GENERATE, r"exp/i2u: holds a model of kind 'units', expected 'i2u'"),
    "models of two unit inventories": Row(
        models_of_two_inventories, GENERATE, r"do not fit together: their unit inventory differ(.|\n)*aaaa(.|\n)*bbbb"),
    "model of other image features": Row(
        model_of_other_image_features, GENERATE, r"do not fit together: their image features differ(.|\n)*vgg16"),
    # downloads, and a corpus of one's own
    "no server": Row(
        nothing, ("download", "--tries", "1", "a.zip", "http://127.0.0.1:9/a.zip"), r"could not be downloaded:(.|\n)*no connec"),
    "archive that climbs out": Row(
        evil_zip, ("download", "--local", "evil.zip", "--unpack", "sub/in", "a.zip", "http://x"), r"'../evil.txt' would land"),
    "archive that is none": Row(
        write("a.zip", b"<html>"), ("download", "--local", "a.zip", "--unpack", "in", "b.zip", "http://x"), r"not a zip or tar"),
    "recording in no folder": Row(
        pairs("ann-1 cat.jpg", "ann-7.wav dog.jpg"), PREPARE, r"pairs.tsv:2: no recording 'ann-7.wav' in wavs"),
    "recording twice": Row(pairs("ann-1 cat", "ann-1.wav dog"), PREPARE, r"pairs.tsv:2: ann-1.wav stands in line 1 already"),
    "three columns": Row(pairs("ann-1 cat x", "ann-2 dog x"), PREPARE, r"pairs.tsv:1: expected two columns"),
    # disk
    "no disk space for a table": Row(
        full_disk("out"), ("merge_tables", "out", "data/train/text"), r"no disk space left; free some and run again"),
    "no disk space for features": Row(
        full_disk("data/train/speech_feats/logmel.1.ark"), SPEECH, r"no disk space left; free some and run again"),
    "no disk space for a wav": Row(
        lambda: [f() for f in (pairs(*(f"{u}-{k} {i}" for u in ("ann", "bob") for k, i in ((1, "cat"), (2, "dog")))),
                               full_disk("own/wavs/ann-1.wav"))],  # type: ignore[arg-type, return-value]
        PREPARE, r"no disk space left; free some and run again"),
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str


def command(name: str, *arguments: str) -> Done:
    """Run i2s.bin.<name> as a program. Whatever is not turned into a message and a status is raised."""
    argv, stdout, stderr = sys.argv, sys.stdout, sys.stderr
    sys.argv, sys.stdout, sys.stderr = [name, *arguments], io.StringIO(), io.StringIO()
    sys.modules.pop(f"i2s.bin.{name}", None)  # another test may have imported it; runpy warns of that
    try:
        runpy.run_module(f"i2s.bin.{name}", run_name="__main__", alter_sys=True)
        status: int | str | None = 0
    except SystemExit as e:
        status = e.code
        if isinstance(status, str):  # as the interpreter does
            sys.stderr.write(status)
            status = 1
    finally:
        out, err = sys.stdout.getvalue(), sys.stderr.getvalue()  # type: ignore[attr-defined]
        sys.argv, sys.stdout, sys.stderr = argv, stdout, stderr
    return Done(int(status or 0), out, err)


@pytest.mark.parametrize("name", TABLE)
def test_fault_gets_a_clear_message(world, name):
    row = TABLE[name]
    row.fault()
    before = {path for path in world.rglob("*") if path.is_file()}
    done = command(*row.command)
    assert re.search(row.message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert done.status == row.status
    made = {path for path in world.rglob("*") if path.is_file()} - before
    # Nothing half done lies under a final name, and nothing landed elsewhere.
    half_done = [path for path in made if path.name.startswith(".") and "tmp" in path.name]
    assert not half_done and not Path("evil").exists() and not (world / "sub" / "evil.txt").exists()


def test_without_a_fault_the_commands_work(world):
    assert command(*VALIDATE).status == 0
    assert command(*SPEECH).status == 0
    pairs(*(f"{u}-{k} {i}" for u in ("ann", "bob") for k, i in ((1, "cat"), (2, "dog"))))()
    done = command(*PREPARE)
    assert done.status == 1 and "2 photos with recordings: train, dev and test need at least one each" in done.stderr


def test_units_of_another_feature_are_refused(world):
    units_folder()
    features("mel.scp", 50, dim=13)
    done = command("encode_units", "--units", "kmeans", "exp/units", "mel.scp", "units", "durations")
    assert done.status == 1 and re.search(r"13|39", done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not Path("units").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["run.sh", "--stag", "3"], 2, "unknown option --stag"),
        (["run.sh", "--stage"], 2, "option --stage needs a value"),
        (["run.sh", "surplus"], 2, "unexpected argument: surplus"),
        (["run.sh", "--stage", "nine"], 2, "--stage nine: expected a whole number"),
        (["run.sh", "--stop-stage=3x"], 2, "--stop-stage 3x: expected a whole number"),
        (["run.sh", "--stage", ""], 2, "--stage : expected a whole number"),
        (["run.sh", "--stage", "0"], 2, "stages 0 to 11: there are 1 to 11"),
        (["run.sh", "--stage", "12"], 2, "stages 12 to 11: there are 1 to 11"),
        (["run.sh", "--stop-stage", "12"], 2, "stages 1 to 12: there are 1 to 11"),
        (["run.sh", "--stage", "9", "--stop-stage", "8"], 2, "stages 9 to 8: there are 1 to 11"),
        (["run.sh", "--nj", "0"], 2, "--nj 0: expected a whole number, 1 or more"),
        (["run.sh", "--ngpu", "-1"], 2, "--ngpu -1: expected a whole number, 0 or more"),
        (["run.sh", "--split", "tset"], 2, "--split tset: train, dev or test"),
        (["run.sh", "--i2u-config", "nowhere.yaml"], 2, "--i2u-config nowhere.yaml: no such file"),
        (["run.sh", "--unit-config", "conf"], 2, "--unit-config conf: no such file"),
        (["steps/speech_feats.sh", "--nj", "two", "data/train"], 2, "--nj two: expected a whole number"),
        (["steps/train_i2u.sh", "--ngpu", "x", "data", "units", "model"], 2, "--ngpu x: expected a whole number"),
        (["steps/speech_feats.sh"], 2, "Usage: steps/speech_feats.sh"),
        (["steps/speech_feats.sh", "nowhere"], 1, "wav.scp: no such file"),
        (["steps/speech_feats.sh", "data/train", "lpc"], 2, "kind of features: lpc; choose"),
        (["utils/validate_data_dir.sh", "nowhere"], 1, "nowhere: no such directory"),
    ],
)
def test_shell_scripts(world, words, status, message):
    done = run(ROOT / words[0], *words[1:], cwd=world, check=False, I2S_VENV="none")
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr


def test_there_are_enough_rows():
    assert len(TABLE) >= 25
