"""Other toolkits read our data directories as they are: lhotse's `kaldi import`, ESPnet's readers and dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from i2s.archive import Matrices
from i2s.corpus.datadir import write_data_dir
from i2s.corpus.tables import read_int_table, write_int_table

from .conftest import ROOT, run

RATE = 22050


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe folder with data/train as stages 2 to 6 leave it."""
    folder = tmp_path_factory.mktemp("compat")
    (folder / "wavs").mkdir()
    utterances = {f"{image}-{k}": image for image in ("katze_ä", "dog") for k in range(2)}
    for i, utterance in enumerate(utterances):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 50 * i) * np.arange(RATE // 2) / RATE)
        soundfile.write(folder / "wavs" / f"{utterance}.wav", tone, RATE)
    for image in ("katze_ä", "dog"):
        (folder / f"{image}.jpg").write_bytes(b"jpeg")
    data = folder / "data" / "train"
    write_data_dir(
        data,
        images={image: f"{image}.jpg" for image in ("katze_ä", "dog")},
        utt2image=utterances,
        utt2spk=dict.fromkeys(utterances, "voice"),
        text={u: f"eine {image} läuft" for u, image in utterances.items()},
        wavs={u: f"wavs/{u}.wav" for u in utterances},
    )
    run(ROOT / "steps" / "speech_feats.sh", "--nj", "2", "data/train", cwd=folder)
    write_int_table(data / "units", {key: [5, 3, 17] for key in utterances})
    write_int_table(data / "unit_durations", {key: [10, 20, 13] for key in utterances})
    run(ROOT / "utils" / "validate_data_dir.sh", "data/train", cwd=folder)
    return folder


def test_lhotse_imports_them(recipe, monkeypatch):
    run("lhotse", "kaldi", "import", "data/train", str(RATE), "manifests", cwd=recipe)
    monkeypatch.chdir(recipe)
    from lhotse import load_manifest

    recordings = load_manifest("manifests/recordings.jsonl.gz")
    supervisions = load_manifest("manifests/supervisions.jsonl.gz")
    assert sorted(recordings.ids) == ["dog-0", "dog-1", "katze_ä-0", "katze_ä-1"]
    assert recordings["katze_ä-1"].load_audio().shape == (1, RATE // 2)
    segment = next(s for s in supervisions if s.id == "katze_ä-1")
    assert (segment.text, segment.speaker, segment.duration) == ("eine katze_ä läuft", "voice", 0.5)


def test_espnet_trains_from_them(recipe, monkeypatch):
    monkeypatch.chdir(recipe)
    dataset = pytest.importorskip("espnet2.train.dataset")
    data = "data/train"
    sources = [
        (f"{data}/wav.scp", "speech", "sound"),
        (f"{data}/feats.scp", "feats", "kaldi_ark"),
        (f"{data}/unit_feats.scp", "mfcc", "kaldi_ark"),
        (f"{data}/units", "units", "text_int"),
        (f"{data}/unit_durations", "durations", "text_int"),
    ]
    utterance, values = dataset.ESPnetDataset(sources, preprocess=None)["katze_ä-1"]
    assert utterance == "katze_ä-1"
    assert values["speech"].shape == (RATE // 2,)
    assert values["feats"].shape == (RATE // 2 // 256, 80)
    assert np.array_equal(values["feats"], Matrices(f"{data}/feats.scp")["katze_ä-1"])
    assert len(values["mfcc"]) == len(values["feats"])
    assert values["units"].tolist() == read_int_table(f"{data}/units")["katze_ä-1"]


def test_espnet_readers(recipe, monkeypatch):
    monkeypatch.chdir(recipe)
    text = pytest.importorskip("espnet2.fileio.read_text")
    sound = pytest.importorskip("espnet2.fileio.sound_scp")
    assert text.read_2columns_text("data/train/text")["dog-0"] == "eine dog läuft"
    assert text.read_2columns_text("data/train/utt2spk")["dog-0"] == "voice"
    assert text.read_2columns_text("data/train/images.scp")["dog"] == "dog.jpg"
    rate, wav = sound.SoundScpReader("data/train/wav.scp")["dog-1"]
    assert rate == RATE and wav.shape == (RATE // 2,)
