"""Recognisers, and the step that transcribes with them."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from i2s import asr, tts
from i2s.asr.pocketsphinx import write_lm
from i2s.audio import write_wav
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from tests.conftest import ROOT, run

CAPTIONS = {
    "u1": "A brown dog runs on the grass .",
    "u2": "Two boys are playing in the water .",
    "u3": "A girl in a pink dress plays with a snurfle .",
    "u4": "A woman is walking on the beach .",
}
SAID = ["a brown dog is walking on the grass", "two boys are playing in the water", "a girl runs on the beach"]
# A folder with real weights (vosk-en, whisper-base) for tests of what cannot be made small: I2S_TEST_MODELS=DIR.
MODELS = Path(os.environ.get("I2S_TEST_MODELS", "no-models"))


@pytest.fixture(scope="module")
def wavs() -> list[np.ndarray]:
    """SAID, spoken, at 24 kHz."""
    voice = tts.load("hibari")
    return [voice.speak(text) for text in SAID]


@pytest.fixture(scope="module")
def lm_text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "text"
    write_table(path, CAPTIONS)
    return path


@pytest.fixture(scope="module")
def sphinx(lm_text):
    return asr.load("pocketsphinx", lm_text=str(lm_text))


def test_pocketsphinx_hears_what_the_voice_said(sphinx, wavs):
    assert sphinx.transcribe(wavs, 24000) == SAID


def test_what_is_heard_does_not_depend_on_other_wavs(sphinx, wavs):
    for order in ([2, 0, 1], [1, 1, 0, 2]):
        assert sphinx.transcribe([wavs[i] for i in order], 24000) == [SAID[i] for i in order]
    quiet = [0.05 * wav for wav in wavs]
    alone = [sphinx.transcribe([wav], 24000)[0] for wav in quiet]
    assert sphinx.transcribe([wavs[0], *quiet], 24000)[1:] == alone


def test_nothing_is_heard_in_nothing(sphinx):
    noises = [np.zeros(0, np.float32), np.zeros(10, np.float32), np.zeros(32000, np.float32)]
    assert sphinx.transcribe(noises, 16000) == ["", "", ""]


def test_only_words_of_the_captions_are_heard_and_unknown_ones_reported(lm_text, wavs, caplog):
    with caplog.at_level(logging.INFO):
        recogniser = asr.load("pocketsphinx", lm_text=str(lm_text))
    assert "1 words are not in the dictionary (3.2 % of the text): snurfle" in caplog.text
    words = set(" ".join(CAPTIONS.values()).lower().split())
    heard = recogniser.transcribe([tts.load("pico").speak("Seventeen elephants swallowed my umbrella")], 16000)
    assert set(heard[0].split()) <= words


def test_captions_without_known_words_are_refused(tmp_path):
    write_table(tmp_path / "text", {"u1": "снег", "u2": "."})
    with pytest.raises(UserError, match="no caption with a word of the English dictionary"):
        asr.load("pocketsphinx", lm_text=str(tmp_path / "text"))


def test_language_model_is_a_distribution(tmp_path):
    """Each history's probabilities, with back-off, add up to one (as ARPA defines them)."""
    sentences = [["a", "dog", "runs"], ["a", "dog", "sits"], ["two", "dogs"], ["a", "man", "and", "a", "dog"]]
    write_lm(sentences, tmp_path / "lm")
    grams: dict[tuple[str, ...], tuple[float, float]] = {}
    for line in (tmp_path / "lm").read_text().splitlines():
        fields = line.split()
        if fields and fields[0].startswith("-") and fields[0][1:2].isdigit():
            words = [f for f in fields[1:] if not f.lstrip("-").replace(".", "").isdigit()]
            grams[tuple(words)] = (float(fields[0]), float(fields[-1]) if len(fields) > 1 + len(words) else 0.0)
    words = {gram[0] for gram in grams if len(gram) == 1}
    assert words == {"<s>", "</s>", "a", "dog", "dogs", "runs", "sits", "two", "man", "and"}
    seen = {gram[:2] for gram in grams if len(gram) == 3}
    assert ("a", "dog") in seen and len(seen) >= 5

    def log_prob(history: tuple[str, ...], word: str) -> float:
        if (*history, word) in grams:
            return grams[(*history, word)][0]
        return grams.get(history, (0.0, 0.0))[1] + log_prob(history[1:], word)

    for history in seen:
        known = {gram[2] for gram in grams if gram[:2] == history and len(gram) == 3}
        assert 0.49 < sum(10 ** grams[(*history, word)][0] for word in known) < 0.51  # the rest is for back-off
        assert all(math.isfinite(log_prob(history, word)) for word in words)
        assert max(words - {"<s>"}, key=lambda word: log_prob(history, word)) in known


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pocketsfinx", [], "did you mean pocketsphinx"),
        ("pocketsphinx", ["lmtext=x"], "did you mean lm_text"),
        ("pocketsphinx", ["lm_text=no/text"], "no/text: no such file"),
        ("vosk", [], "which model"),
        ("vosk", ["model=no/model"], "not a Vosk model folder"),
        ("whisper", ["model=enormous"], "neither a faster-whisper folder"),
        ("espnet", ["model=no/such/tag"], "espnet_model_zoo"),
    ],
)
def test_wrong_recognisers_and_options_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        asr.load_from_text(name, options)


def test_only_recognisers_that_want_captions_get_them(lm_text):
    assert asr.load_from_text("pocketsphinx", [], str(lm_text)).lm_text == str(lm_text)
    with pytest.raises(UserError, match="own/text: no such file"):  # one's own comes first
        asr.load_from_text("pocketsphinx", ["lm_text=own/text"], str(lm_text))
    with pytest.raises(UserError, match="not a Vosk model"):  # and not: unknown key lm_text
        asr.load_from_text("vosk", ["model=x"], str(lm_text))


def test_resampling_keeps_duration_and_pitch():
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    there = asr.resample(tone, 22050, 16000)
    assert len(there) == 16000 and np.argmax(np.abs(np.fft.rfft(there))) == 440
    assert len(asr.resample(np.zeros(0), 22050, 16000)) == 0
    assert np.frombuffer(asr.pcm16(np.array([0.0, 2.0, -2.0])), "<i2").tolist() == [0, 32767, -32767]


# Recognisers with weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "folder", "file"), [("vosk", "vosk-en", "am"), ("whisper", "whisper-base", "model.bin")]
)
def test_real_weights_hear_what_the_voice_said(name, folder, file, wavs, capfd):
    if not (MODELS / folder / file).exists():
        pytest.skip(f"no real weights: set I2S_TEST_MODELS to a folder with {folder}")
    recogniser = asr.load(name, model=str(MODELS / folder))
    noises = [np.zeros(0, np.float32), np.zeros(100, np.float32)]
    assert recogniser.transcribe([*wavs, *noises], 24000) == [*SAID, "", ""]
    assert recogniser.transcribe([wavs[1]], 24000) == [SAID[1]]
    long = np.concatenate([wavs[1], np.zeros(24000 * 29 - len(wavs[1]), np.float32), np.zeros(24000), wavs[0]])
    assert recogniser.transcribe([long], 24000)[0] == f"{SAID[1]} {SAID[0]}"
    noise = capfd.readouterr()
    assert noise.out == "" and noise.err == ""


@pytest.fixture(scope="module")
def espnet_folder(tmp_path_factory) -> Path:
    """A real recogniser of ESPnet, tiny and untrained, as training leaves it."""
    from i2s.espnet_model import quiet

    folder = tmp_path_factory.mktemp("espnet-asr")
    with quiet():
        from espnet2.tasks.asr import ASRTask

        config = ASRTask.get_default_config()
        config.update(
            token_list=["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyzABC'", "<sos/eos>"],
            **{"token_type": "char", "frontend": "default", "specaug": None, "normalize": "utterance_mvn"},
            frontend_conf={"fs": "8k", "n_fft": 256, "hop_length": 128, "n_mels": 20},
            **{"normalize_conf": {}, "encoder": "rnn", "decoder": "rnn", "decoder_conf": {"hidden_size": 8}},
            encoder_conf={"num_layers": 1, "hidden_size": 8, "output_size": 8},
        )
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        torch.manual_seed(0)
        model, _ = ASRTask.build_model_from_file(folder / "config.yaml", None, "cpu")
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")
    return folder


def test_espnet_transcribes_with_a_model_folder(espnet_folder, wavs, capfd):
    recogniser = asr.load("espnet", model=str(espnet_folder), beam=2)
    heard = recogniser.transcribe([wavs[0], np.zeros(0, np.float32), np.zeros(100, np.float32), wavs[1]], 24000)
    assert heard[1:3] == ["", ""] and heard[0] == heard[0].lower().strip()
    assert recogniser.transcribe([wavs[1]], 24000) == [heard[3]]
    noise = capfd.readouterr()
    assert noise.out == "" and noise.err == ""
    # The checkpoint is what is used: another one hears something else.
    weights = torch.load(espnet_folder / "valid.acc.ave.pth", weights_only=True)
    other = {**weights, **{k: -5 * v for k, v in weights.items() if k.startswith("decoder.output")}}
    torch.save(other, espnet_folder / "valid.acc.ave.pth")
    assert (
        asr.load("espnet", model=str(espnet_folder), beam=2, ctc_weight=0.0).transcribe([wavs[0]], 24000) != heard[:1]
    )


# The step ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, wavs, lm_text) -> Path:
    for i, wav in enumerate(wavs):
        write_wav(tmp_path / "wav" / f"u{i}.wav", wav, 24000)
    write_wav(tmp_path / "wav" / "silence.wav", np.zeros(8000), 8000)
    write_table(tmp_path / "wav.scp", {name: f"wav/{name}.wav" for name in ("u0", "u1", "u2", "silence")})
    write_table(tmp_path / "lm", read_table(lm_text))
    return tmp_path


def step(folder: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [ROOT / "steps" / "transcribe.sh", *options, "wav.scp", "out/words"]
    return run(*command, cwd=folder, check=check, OMP_NUM_THREADS="1")


def test_step_transcribes_resumes_and_notices_changes(folder, wavs):
    expected = {"silence": "", **{f"u{i}": said for i, said in enumerate(SAID)}}
    step(folder, "--nj", "2", "--lm-text", "lm")
    assert read_table(folder / "out/words", allow_empty_value=True) == expected
    assert "up to date" in step(folder, "--nj", "1", "--lm-text", "lm").stderr

    # Stopped in the middle: the words that are there are kept, as the mark shows, and only the rest is transcribed.
    work = folder / "out" / "words.parts"
    (work / ".done").rename(work / ".done.begun")
    (folder / "out" / "words").unlink()
    write_table(work / "of2" / "2", {"u1": "marked"})
    step(folder, "--nj", "2", "--lm-text", "lm")
    assert read_table(folder / "out/words", allow_empty_value=True) == {**expected, "u1": "marked"}

    # The same names with other speech in them.
    write_wav(folder / "wav" / "u0.wav", wavs[2], 24000)
    step(folder, "--nj", "5", "--lm-text", "lm")
    assert read_table(folder / "out/words", allow_empty_value=True) == {**expected, "u0": SAID[2]}


def test_the_same_wavs_are_not_heard_twice(folder, wavs):
    """A cache knows wavs by their content, wherever they lie, and by who listens."""
    options = ("--nj", "1", "--lm-text", "lm", "--cache", "cache")
    assert "transcribes 4 wavs" in step(folder, *options).stderr
    heard = read_table(folder / "out/words", allow_empty_value=True)
    shutil.rmtree(folder / "out")
    (folder / "wav").rename(folder / "moved")
    write_table(folder / "wav.scp", {name: f"moved/{name}.wav" for name in ("u0", "u1", "u2", "silence")})
    done = step(folder, *options)
    assert "is known" in done.stderr and "transcribes" not in done.stderr
    assert read_table(folder / "out/words", allow_empty_value=True) == heard
    assert "up to date" in step(folder, *options).stderr

    assert "transcribes" in step(folder, *options, "--asr-options", "beam=1e-40").stderr  # another listener
    # A listener of its own words, by name, and the same name with other words in it.
    (folder / "own").write_text((folder / "lm").read_text())
    named = ("--nj", "1", "--cache", "cache", "--asr-options", "lm_text=own")
    assert "transcribes" in step(folder, *named).stderr
    assert "up to date" in step(folder, *named).stderr
    (folder / "own").write_text((folder / "lm").read_text() + "u9 a cat sleeps\n")
    assert "transcribes" in step(folder, *named).stderr
    write_wav(folder / "moved" / "u0.wav", wavs[2], 24000)
    assert "transcribes" in step(folder, *options).stderr
    assert read_table(folder / "out/words", allow_empty_value=True) == {**heard, "u0": SAID[2]}


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda f: (f / "wav" / "u1.wav").unlink(), [], "wav.scp names wavs that cannot be read"),
        (lambda f: (f / "wav" / "u1.wav").write_bytes(b""), [], "wav/u1.wav: cannot read audio"),
        (lambda f: (f / "wav.scp").unlink(), [], "wav.scp: no such file"),
        (lambda f: None, ["--lm-text", "nowhere"], "nowhere: no such file"),
        (lambda f: None, ["--asr", "ears"], "no such part"),
        (lambda f: None, ["--model", "x"], "unknown option --model"),
    ],
)
def test_step_shows_mistakes_in_one_line(folder, spoil, options, message):
    spoil(folder)
    done = step(folder, "--nj", "1", *options, check=False)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "out" / "words").exists()
