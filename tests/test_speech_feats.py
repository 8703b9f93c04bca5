"""Stage 4: log-mel and MFCC against their definitions, and the step from wavs to archives."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s.archive import Matrices
from i2s.audio import read_wav, write_wav
from i2s.bin import extract_speech
from i2s.config import load_config
from i2s.corpus.tables import write_table
from i2s.errors import UserError
from i2s.features.speech import BLOCK, SpeechFeatureConfig, log_mel, mel_filters, mfcc
from i2s.pipes import pipe_output
from i2s.tts import load
from tests.conftest import ROOT, run

CONFIG = SpeechFeatureConfig()
OTHERS = [
    CONFIG,
    SpeechFeatureConfig(sample_rate=16000, n_fft=512, win_length=400, hop_length=160, n_mels=40, fmin=20, fmax=7600),
    SpeechFeatureConfig(
        hop_length=275, n_mels=128, fmax=11025.0, n_mfcc=20, deltas=1
    ),  # hop and n_fft of unlike parity
]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """A spoken sentence, float32 at 22.05 kHz."""
    voice = load("hibari")
    return soxr.resample(voice.speak("Two brown dogs run over the wet grass."), voice.sample_rate, CONFIG.sample_rate)


def by_hifi_gan(wav: np.ndarray, c: SpeechFeatureConfig) -> np.ndarray:
    """HiFi-GAN's log-mel (Kong et al. 2020), by torch.stft in double precision."""
    total = c.n_fft - c.hop_length
    padded = np.pad(wav.astype(np.float64), (total // 2, total - total // 2), mode="reflect")
    window = torch.hann_window(c.win_length, dtype=torch.float64)
    stft = torch.stft(
        torch.from_numpy(padded), c.n_fft, c.hop_length, c.win_length, window, center=False, return_complex=True
    )
    filters = librosa.filters.mel(
        sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.n_mels, fmin=c.fmin, fmax=c.fmax, dtype=np.float64
    )
    return np.log(np.maximum(filters @ stft.abs().numpy(), 1e-5)).T


@pytest.mark.parametrize("config", OTHERS)
def test_mel_filters_are_librosas(config):
    c = config
    theirs = librosa.filters.mel(sr=c.sample_rate, n_fft=c.n_fft, n_mels=c.n_mels, fmin=c.fmin, fmax=c.fmax)
    np.testing.assert_allclose(mel_filters(config), theirs, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("config", OTHERS)
def test_log_mel_is_hifi_gans(speech, config):
    long = np.tile(speech, 1 + BLOCK * 300 // len(speech))  # more than one block of frames
    for wav in (speech, long):
        mel = log_mel(wav, config)
        assert mel.dtype == np.float32 and mel.shape == (len(wav) // config.hop_length, config.n_mels)
        # Where speech is digital silence, rounding errors of single precision are as large as the signal.
        np.testing.assert_allclose(np.exp(mel), np.exp(by_hifi_gan(wav, config)), rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(mel, by_hifi_gan(wav, config), atol=1e-3)
    noisy = speech + 1e-3 * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    np.testing.assert_allclose(log_mel(noisy, config), by_hifi_gan(noisy, config), atol=1e-4)


@pytest.mark.parametrize("config", OTHERS)
def test_mfcc_is_librosas(speech, config):
    theirs = librosa.feature.mfcc(S=log_mel(speech, config).T, n_mfcc=config.n_mfcc, dct_type=2, norm="ortho")
    deltas = [librosa.feature.delta(theirs, order=k + 1, mode="nearest") for k in range(config.deltas)]
    np.testing.assert_allclose(mfcc(speech, config), np.vstack([theirs, *deltas]).T, atol=1e-3)


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 4000), hop=st.integers(1, 400), seed=st.integers(0, 2**31))
def test_every_length_gives_whole_hops(samples, hop, seed):
    config = SpeechFeatureConfig(hop_length=hop)
    wav = np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)
    if samples < hop:
        with pytest.raises(UserError, match="too short"):
            log_mel(wav, config)
    else:
        features = mfcc(wav, config)
        assert features.shape == (samples // hop, 39) and np.isfinite(features).all()


def test_a_frame_depends_on_its_surroundings_alone(speech):
    cut = speech[: 100 * CONFIG.hop_length]
    np.testing.assert_allclose(log_mel(cut, CONFIG)[:95], log_mel(speech, CONFIG)[:95], atol=1e-4)


@pytest.mark.parametrize(
    "fault", ["hop_length=0", "win_length=2048", "fmax=12000", "fmin=9000", "n_mfcc=81", "deltas=3"]
)
def test_impossible_configurations_are_refused(fault):
    with pytest.raises(UserError, match=fault.split("=")[0]):
        load_config(SpeechFeatureConfig, overrides=[fault])


def test_conf_file_holds_the_defaults():
    assert load_config(SpeechFeatureConfig, ROOT / "conf/features.yaml") == CONFIG


# ---- the step ----


@pytest.fixture
def data(tmp_path, speech) -> Path:
    """A data directory of three wavs of different lengths."""
    folder = tmp_path / "data"
    rows = {}
    for i in (1, 2, 3):
        rows[f"u{i}"] = str(folder / "wav" / f"u{i}.wav")
        write_wav(rows[f"u{i}"], speech[: i * 10000], CONFIG.sample_rate)
    write_table(folder / "wav.scp", rows)
    return folder


def extract(monkeypatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["extract_speech", *map(str, arguments)])
    extract_speech.main()


def test_step(data):
    step = ROOT / "steps/speech_feats.sh"
    options = ["--nj", "1", "--config", ROOT / "conf/features.yaml"]
    run(step, *options, data)
    mels, mfccs = Matrices(data / "feats.scp"), Matrices(data / "unit_feats.scp")
    assert list(mels) == list(mfccs) == ["u1", "u2", "u3"]
    wav, _ = read_wav(data / "wav/u3.wav")
    np.testing.assert_array_equal(mels["u3"], log_mel(wav, CONFIG))
    np.testing.assert_array_equal(mfccs["u3"], mfcc(wav, CONFIG))
    assert json.loads((data / "features.json").read_text())["hop_length"] == 256

    before = (data / "feats.scp").stat().st_mtime_ns
    assert "up to date" in run(step, *options, data).stderr
    assert (data / "feats.scp").stat().st_mtime_ns == before
    shutil.copy(data / "wav/u1.wav", data / "wav/u2.wav")  # another wav under the old name
    run(step, *options, data)
    np.testing.assert_array_equal(mels["u1"], Matrices(data / "feats.scp")["u2"])


def test_a_job_that_is_done_is_skipped(data, monkeypatch, tmp_path):
    extract(monkeypatch, "--kind", "mfcc", "--job", "2/2", data / "wav.scp", tmp_path / "out")
    scp = tmp_path / "out/mfcc.2.scp"
    assert list(Matrices(scp)) == ["u2", "u3"] and not (tmp_path / "out/logmel.2.scp").exists()
    before = scp.stat().st_mtime_ns
    extract(monkeypatch, "--kind", "mfcc", "--job", "2/2", data / "wav.scp", tmp_path / "out")
    assert scp.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("wav", "rate", "message"),
    [
        (b"", None, "cannot read audio"),
        (b"RIFF....not a wav", None, "cannot read audio"),
        (np.zeros((9000, 2)), 22050, "2 channels"),
        (np.zeros(9000), 8000, "8000 Hz, expected 22050 Hz"),
        (np.full(9000, np.nan), 22050, "NaN"),
        (np.zeros(0), 22050, "no samples"),
        (np.zeros(255), 22050, "too short"),
        (None, None, "cannot read audio"),
    ],
)
def test_bad_wavs_are_named(data, monkeypatch, wav, rate, message):
    path = data / "wav/u2.wav"
    if wav is None:
        path.unlink()
    elif isinstance(wav, bytes):
        path.write_bytes(wav)
    else:
        soundfile.write(path, wav, rate, subtype="FLOAT")
    with pytest.raises(UserError, match=message) as error:
        extract(monkeypatch, data / "wav.scp", data / "out")
    assert "u2: " in str(error.value) and str(error.value).count(str(path)) == 1
    assert not list((data / "out").glob("*"))  # nothing half-written


def test_pipes_run_only_if_allowed_and_without_a_shell(data, monkeypatch):
    path = data / "wav/u1.wav"
    write_table(data / "wav.scp", {"u1": f"cat '{path}' | cat |"})
    with pytest.raises(UserError, match=r"u1: .*is a pipe.*--allow-pipes"):
        extract(monkeypatch, data / "wav.scp", data / "out")
    extract(monkeypatch, "--allow-pipes", data / "wav.scp", data / "out")
    wav, _ = read_wav(path)
    np.testing.assert_array_equal(Matrices(data / "out/logmel.1.scp")["u1"], log_mel(wav, CONFIG))

    assert pipe_output("echo '$HOME; touch x' `id` > y |") == b"$HOME; touch x `id` > y\n"
    for entry, message in {
        "|": "expected",
        "cat || cat |": "expected",
        "cat 'x |": "No closing quotation",
        "no-such-program-here |": "cannot run no-such-program-here",
        "ls /no/such/file |": "No such file",
        "ls /no/such/file | cat |": "No such file",
    }.items():
        with pytest.raises(UserError, match=message):
            pipe_output(entry)
