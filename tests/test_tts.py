"""Voices, and the step that speaks captions with them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from i2s import tts
from i2s.bin.speak import FOLDER_SIZE, PEAK, speak, utterance_seed, wav_paths
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.tts import CannotSpeak
from tests.conftest import ROOT, run

SENTENCES = ["A dog runs .", "Two men & a boy , at 3 o'clock .", "a woman 's red hat", "Stairs ."]
# A folder with real weights (piper/*.onnx here) for tests of what cannot be made small: I2S_TEST_MODELS=DIR.
MODELS = Path(os.environ.get("I2S_TEST_MODELS", "no-models"))


@pytest.fixture(scope="module")
def hibari():
    return tts.load("hibari")


@pytest.mark.parametrize(
    ("caption", "tidied"),
    [
        ("A child in a pink dress .", "A child in a pink dress."),
        ("  two   dogs ,one\tcat ", "two dogs,one cat"),
        ('a "red" <speed level="9"> [[x]] hat', "a red speed level 9 x hat"),
        ("a man 's hat and the boys ' hats", "a man's hat and the boys ' hats"),
        (". black & white !", "black & white!"),
        ("cafe\u0301 — niño", "café niño"),
    ],
)
def test_captions_are_tidied_for_voices(caption, tidied):
    assert tts.tidy(caption) == tidied


@pytest.mark.parametrize("caption", ["", " . ", "&", "?!", "\u0301", "<>"])
def test_captions_without_letters_cannot_be_spoken(caption):
    with pytest.raises(CannotSpeak, match="no letters"):
        tts.tidy(caption)


@given(st.text())
def test_tidying_twice_changes_nothing(text):
    try:
        once = tts.tidy(text)
    except CannotSpeak:
        return
    assert tts.tidy(once) == once


@pytest.mark.parametrize(("name", "options"), [("hibari", []), ("pico", []), ("pico", ["voice=de-DE", "speed=1.2"])])
def test_a_voice_repeats_itself_in_any_order(name, options):
    voice = tts.load_from_text(name, options)
    first = [voice.speak(text, seed=3) for text in SENTENCES]
    order = list(range(len(SENTENCES))) * 3
    random.Random(0).shuffle(order)
    for i in order:
        np.testing.assert_array_equal(voice.speak(SENTENCES[i], seed=3), first[i])
    for wav in first:
        assert wav.dtype == np.float32 and wav.ndim == 1
        assert 0.3 < len(wav) / voice.sample_rate < 6
        assert 0.02 < np.abs(wav).max() < 1  # there is sound, and it is not clipped


def test_pico_languages_differ_and_say_when_they_cannot_read():
    spoken = [tts.load("pico", voice=name).speak("Hotel Casino") for name in ("en-US", "en-GB", "de-DE", "it-IT")]
    assert len({wav.tobytes() for wav in spoken}) == 4
    with pytest.raises(CannotSpeak, match="no sounds"):
        tts.load("pico").speak("жук")


def test_hibari_says_when_it_cannot_read(hibari):
    with pytest.raises(CannotSpeak, match="no sounds"):
        hibari.speak("日本語")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hibary", [], "did you mean hibari"),
        ("hibari", ["sped=1"], "did you mean speed"),
        ("hibari", ["speed=fast"], "speed: expected float"),
        ("hibari", ["speed=9"], "outside"),
        ("hibari", ["voice=nobody"], "choose from heart"),
        ("hibari", ["sample_rate=8000"], "unknown key"),
        ("pico", ["voice=nl-NL"], "choose from en-US"),
        ("piper", [], "which voice"),
        ("espnet", [], "--tts-options model=FOLDER"),
        ("piper", ["model=nowhere.onnx"], "nowhere.onnx: no such file"),
        ("espnet", ["model=no/such/tag"], "espnet_model_zoo"),
    ],
)
def test_wrong_voices_and_options_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        tts.load_from_text(name, options)


def test_every_voice_is_described():
    assert set(tts.VOICES) == {"hibari", "pico", "piper", "espnet"}
    assert all(name in tts.VOICES.describe() for name in tts.VOICES)


class Loud:
    """A voice whose output is whatever the test wants."""

    sample_rate = 16000

    def __init__(self, wav):
        self.wav = np.asarray(wav, np.float32)

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        return self.wav


def test_speech_is_resampled_without_clipping():
    square = np.sign(np.sin(np.arange(16000) * 0.05)) * 1.5
    wav = speak(Loud(square), "x", 0, 22050)
    assert len(wav) == 22050 and np.abs(wav).max() == pytest.approx(PEAK)
    quiet = 0.3 * np.sin(np.arange(16000) * 0.05)
    np.testing.assert_allclose(np.abs(speak(Loud(quiet), "x", 0, 16000)).max(), 0.3, atol=1e-3)


@pytest.mark.parametrize("wav", [np.zeros(16000), np.full(16000, np.nan), np.zeros(0)])
def test_bad_output_of_a_voice_is_a_failure_of_the_caption(wav):
    with pytest.raises(CannotSpeak, match="the voice gave"):
        speak(Loud(wav), "x", 0, 22050)


def test_many_wavs_go_into_sub_folders():
    names = [f"u{i:05d}" for i in range(2 * FOLDER_SIZE + 1)]
    paths = wav_paths(names, Path("wav"))
    assert len(set(paths.values())) == len(names)
    assert max(sum(p.parent == folder for p in paths.values()) for folder in {p.parent for p in paths.values()}) == 1000
    assert wav_paths(names[:5], Path("wav"))["u00000"] == Path("wav/u00000.wav")


def test_seeds_depend_on_the_utterance_and_the_seed_only():
    assert utterance_seed("a", 0) == utterance_seed("a", 0) != utterance_seed("b", 0)
    assert utterance_seed("a", 0) != utterance_seed("a", 1)


# The step ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path) -> Path:
    """A data directory with captions; b2 and b3 cannot be spoken."""
    folder = tmp_path / "data" / "train"
    captions = {"a1": SENTENCES[0], "a2": SENTENCES[1], "b1": SENTENCES[2], "b2": ".", "b3": "日本語", "c1": "a cat"}
    write_table(folder / "text", captions)
    write_table(folder / "utt2image", {u: u[0] for u in captions})
    write_table(folder / "utt2spk", {u: "voice" if u != "b3" else "other" for u in captions})
    write_table(folder / "spk2utt", {"voice": "a1 a2 b1 b2 c1", "other": "b3"})
    return folder


def step(data: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess:
    return run(
        ROOT / "steps" / "speak.sh", *options, "data/train", cwd=data.parent.parent, check=check, OMP_NUM_THREADS="1"
    )


def wavs(data: Path) -> dict[str, bytes]:
    root = data.parent.parent
    return {u: (root / path).read_bytes() for u, path in read_table(data / "wav.scp").items()}


def test_step_speaks_reports_resumes_and_starts_afresh(data):
    done = step(data, "--nj", "2")
    assert "4 captions spoken, 2 not" in done.stderr and "b2 b3" in done.stderr
    assert read_table(data / "speak_failures") == {
        "b2": "no letters or digits",
        "b3": "the voice found no sounds in it",
    }
    for name in ("text", "utt2image", "utt2spk", "wav.scp"):
        assert list(read_table(data / name)) == ["a1", "a2", "b1", "c1"]
    assert read_table(data / "spk2utt") == {"voice": "a1 a2 b1 c1"}
    first, scp = wavs(data), (data / "wav.scp").read_text()
    info = soundfile.info(data.parent.parent / read_table(data / "wav.scp")["a1"])
    assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")

    # Once finished it is left alone, although the step itself has changed the captions.
    assert "up to date" in step(data, "--nj", "1").stderr

    # Stopped in the middle: what is there is kept, the rest comes back the same, with another number of jobs.
    paths = {u: data.parent.parent / path for u, path in read_table(data / "wav.scp").items()}
    (data / "wav.scp").unlink()
    paths["a2"].unlink()
    (paths["a2"].parent / ".a2.tmp99.wav").write_bytes(b"half")
    # The captions that remain are other captions than those begun with: this is a new beginning, in a new folder.
    step(data, "--nj", "1")
    assert wavs(data) == first and not list((data / "wav").rglob(".*.tmp*"))
    kept = {u: data.parent.parent / path for u, path in read_table(data / "wav.scp").items()}
    times = {u: path.stat().st_mtime_ns for u, path in kept.items()}
    (data / "wav.scp").unlink()
    (data / "wav" / ".done").rename(data / "wav" / ".done.begun")
    kept["a2"].unlink()
    step(data, "--nj", "3")
    assert wavs(data) == first
    assert [u for u, path in kept.items() if path.stat().st_mtime_ns != times[u]] == ["a2"]

    # Another voice: other speech under other names, so that later stages notice; the old speech is gone.
    step(data, "--nj", "1", "--tts", "pico", "--sample-rate", "16000")
    assert (data / "wav.scp").read_text() != scp
    assert wavs(data)["a1"] != first["a1"]
    assert len(list((data / "wav").rglob("*.wav"))) == 4


def test_step_refuses_to_replace_recordings(data):
    write_table(data / "wav.scp", {"a1": "recordings/a1.wav"})
    done = step(data, check=False)
    assert done.returncode == 1 and "names recordings that this step did not make" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tts", "nobody"], "no such part"),
        (["--tts-options", "speed=9"], "outside 0.5"),
        (["--volume", "3"], "unknown option --volume"),
    ],
)
def test_step_shows_mistakes_in_one_line(data, options, message):
    done = step(data, "--nj", "1", *options, check=False)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


def test_step_fails_where_nothing_can_be_spoken(data):
    write_table(data / "text", {"b2": ".", "b3": "日本語"})
    done = step(data, "--nj", "1", check=False)
    assert done.returncode == 1 and "could speak none of 2 captions" in done.stderr


# Voices with weights -----------------------------------------------------------------------------------------------


def test_piper_refuses_what_is_no_voice(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"broken\.onnx\.json: no such file"):
        tts.load("piper", model=str(tmp_path / "broken.onnx"))
    (tmp_path / "broken.onnx.json").write_text("{}")
    with pytest.raises(UserError, match="not a Piper voice"):
        tts.load("piper", model=str(tmp_path / "broken.onnx"))


def test_real_piper_voice():
    found = sorted(MODELS.glob("piper/*.onnx"))
    if not found:
        pytest.skip("no real Piper voice: set I2S_TEST_MODELS to a folder with piper/VOICE.onnx")
    voice = tts.load("piper", model=str(found[0]))
    wav = voice.speak("A dog runs up the stairs.")
    assert 1 < len(wav) / voice.sample_rate < 4
    np.testing.assert_array_equal(wav, voice.speak("A dog runs up the stairs ."))
    with pytest.raises(UserError, match="no speaker 'bob'"):
        tts.load("piper", model=str(found[0]), speaker="bob")


@pytest.fixture(scope="module")
def espnet_folder(tmp_path_factory) -> Path:
    """A real Tacotron 2 of ESPnet, tiny and untrained, as training leaves it."""
    from i2s.espnet_model import quiet

    folder = tmp_path_factory.mktemp("espnet") / "exp" / "tts"
    folder.mkdir(parents=True)
    with quiet():
        from espnet2.tasks.tts import TTSTask

        config = TTSTask.get_default_config()
        stats = folder / "stats.npz"
        np.savez(stats, count=1.0, sum=np.zeros(20), sum_square=np.ones(20))
        config.update(
            token_list=["<blank>", "<unk>", *"abcdefghijklmnopqrstuvwxyzA .,'", "<sos/eos>"],
            **{"token_type": "char", "cleaner": None, "g2p": None, "feats_extract": "fbank"},
            feats_extract_conf={"n_fft": 256, "hop_length": 128, "fs": 8000, "fmin": 80, "fmax": 3800, "n_mels": 20},
            **{"normalize": "global_mvn", "normalize_conf": {"stats_file": str(stats)}},
            **{"pitch_extract": None, "energy_extract": None, "tts": "tacotron2"},
            tts_conf={
                **{"embed_dim": 8, "elayers": 1, "eunits": 8, "econv_layers": 1, "econv_chans": 8, "dlayers": 1},
                **{"dunits": 8, "prenet_units": 8, "postnet_layers": 1, "postnet_chans": 8, "adim": 8},
            },
        )
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        torch.manual_seed(0)
        model, _ = TTSTask.build_model_from_file(folder / "config.yaml", None, "cpu")
    model.tts.dec.prob_out.bias.data -= 10  # an untrained model may stop at its first frame
    torch.save(model.state_dict(), folder / "train.loss.ave.pth")
    # In a packed model the configuration names files relative to the folder that the model was unpacked in.
    config["normalize_conf"]["stats_file"] = "exp/tts/stats.npz"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    packed = {
        "files": {"model_file": "exp/tts/train.loss.ave.pth"},
        "yaml_files": {"train_config": "exp/tts/config.yaml"},
    }
    (folder.parent.parent / "meta.yaml").write_text(yaml.safe_dump(packed))
    return folder.parent.parent


def test_espnet_speaks_with_a_packed_model(espnet_folder, tmp_path, capfd):
    voice = tts.load("espnet", model=str(espnet_folder), max_length=3.0)
    assert voice.sample_rate == 8000
    wav = voice.speak("A dog runs .", seed=1)
    assert wav.dtype == np.float32 and len(wav) > 1000 and np.isfinite(wav).all()
    np.testing.assert_array_equal(wav, voice.speak("A dog runs.", seed=1))
    other = voice.speak("A dog runs.", seed=2)
    assert len(other) != len(wav) or np.abs(other - wav).max() > 0
    noise = capfd.readouterr()
    assert noise.out == "" and "INFO" not in noise.err

    # A training folder is a model too, where the paths in its configuration hold.
    config = yaml.safe_load((espnet_folder / "exp/tts/config.yaml").read_text())
    config["normalize_conf"]["stats_file"] = str(espnet_folder / "exp/tts/stats.npz")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(espnet_folder / "exp/tts/train.loss.ave.pth", tmp_path / "best.pth")
    again = tts.load("espnet", model=str(tmp_path), max_length=3.0)
    np.testing.assert_array_equal(wav, again.speak("A dog runs.", seed=1))


def test_espnet_refuses_bad_models(espnet_folder, tmp_path):
    shutil.copy(espnet_folder / "exp/tts/config.yaml", tmp_path)
    with pytest.raises(UserError, match=r"expected one of .*or a single \.pth"):
        tts.load("espnet", model=str(tmp_path))
    torch.save({"weights": Path("code")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="not a checkpoint of weights only"):
        tts.load("espnet", model=str(tmp_path))
    with pytest.raises(UserError, match=r"config\.yml: cannot read"):
        tts.load("espnet", model=str(espnet_folder), vocoder=str(tmp_path / "evil.pth"))
    (tmp_path / "config.yml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(UserError, match="not valid yaml"):
        tts.load("espnet", model=str(espnet_folder), vocoder=str(tmp_path / "evil.pth"))
    (tmp_path / "config.yaml").write_text("{")
    with pytest.raises(UserError, match="not valid yaml"):
        tts.load("espnet", model=str(tmp_path))
