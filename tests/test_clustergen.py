"""Clustergen: WORLD there and back, parameter generation, forests as arrays, training, files, and the recipe."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyworld
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesRegressor

from i2s import u2s
from i2s.archive import Matrices, write_ark
from i2s.audio import read_wav, write_wav
from i2s.bin import synthesise, train_u2s
from i2s.config import to_dict
from i2s.corpus.tables import read_int_table, read_table, write_int_table, write_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig, log_mel
from i2s.features.world import World
from i2s.modeldir import save_manifest
from i2s.u2s.clustergen import Clustergen, ClustergenConfig, frame_contexts, unit_contexts
from i2s.u2s.data import UnitSpeech
from i2s.u2s.forest import Forest
from i2s.u2s.mlpg import generate, with_deltas

from .conftest import ROOT, refuses_units_that_do_not_fit, run, tiny_options
from .test_recipe import relocate

FEATURES = SpeechFeatureConfig(sample_rate=16000, hop_length=200, n_fft=512, win_length=512, n_mels=20, n_mfcc=13)
RATE, HOP = FEATURES.sample_rate, FEATURES.hop_length
TINY = ["order=16", "profile=4", "trees=5", "duration_trees=10", "duration_min_leaf=2", "workers=2"]
PITCHES = [0, 110, 160, 220]  # Hz, of each unit; the first is noise
SIZE = len(PITCHES)
WORLD = World(RATE, HOP, 24)


def voice(pitch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A waveform of harmonics of the pitch (Hz, one a sample), louder near its fifth; noise where the pitch is 0."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    gains = np.exp(-0.5 * (np.arange(1, 13) - 5) ** 2 / 8) + 0.1
    harmonics = sum(g * np.sin(k * phase) for k, g in enumerate(gains, 1))
    return (0.1 * np.where(pitch > 0, harmonics, 0.5 * rng.normal(size=len(pitch)))).astype(np.float32)


# WORLD


def test_speech_comes_back() -> None:
    pitch = np.repeat([110.0, 0.0, 180.0], RATE // 2)
    wav = voice(pitch, np.random.default_rng(0))
    frames = WORLD.analyse(wav)
    assert frames.shape == (len(wav) // HOP, WORLD.width) and frames.dtype == np.float32
    middle = pitch[np.arange(len(frames)) * HOP + HOP // 2]
    steady = np.ones(len(frames), bool)  # not where the pitch jumps
    steady[[i + k for i in (0, 40, 80, 120) for k in range(-4, 4) if 0 <= i + k < 120]] = False
    assert ((frames[steady, -1] > 0.5) == (middle[steady] > 0)).mean() > 0.97
    voiced = steady & (middle > 0) & (frames[:, -1] > 0.5)
    np.testing.assert_allclose(np.exp(frames[voiced, -2]), middle[voiced], rtol=0.02)
    again = WORLD.synthesise(frames)
    assert len(again) == len(frames) * HOP and np.abs(again).max() <= 1
    before, after = log_mel(wav, FEATURES)[steady], log_mel(again, FEATURES)[steady]
    assert np.abs(before - after).mean() < 0.3 * np.abs(before - before.mean(0)).mean()


def test_frames_lie_in_the_middle_of_their_hops() -> None:
    """A click in frame 30 is loudest in frame 30, on the way there and on the way back."""
    wav = np.zeros(60 * HOP, np.float32)
    wav[30 * HOP + HOP // 2 + np.arange(-30, 30)] = 0.5 * np.random.default_rng(0).normal(size=60).clip(-1, 1)
    frames = WORLD.analyse(wav)
    assert frames[:, 0].argmax() == 30
    again = WORLD.synthesise(frames)
    assert abs(np.average(np.arange(len(again)), weights=again**2) - 30.5 * HOP) < HOP / 2


@pytest.mark.parametrize("samples", [HOP, HOP + 1, 3 * HOP - 1])
def test_the_shortest_speech(samples: int) -> None:
    frames = WORLD.analyse(np.full(samples, 0.1, np.float32))
    assert len(frames) == samples // HOP and np.isfinite(frames).all()
    assert len(WORLD.synthesise(frames)) == len(frames) * HOP
    with pytest.raises(UserError, match="too short"):
        WORLD.analyse(np.zeros(HOP - 1, np.float32))


def test_silence_and_noise_have_no_voice() -> None:
    silence = WORLD.analyse(np.zeros(RATE, np.float32))
    assert not silence[:, -1].any() and np.isfinite(silence).all() and np.abs(WORLD.synthesise(silence)).max() < 1e-4
    noise = WORLD.analyse(voice(np.zeros(RATE), np.random.default_rng(0)))
    assert noise[:, -1].mean() < 0.1
    with pytest.raises(UserError, match="12000 Hz"):
        World(8000, 100, 24)


# parameter generation


@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 2**31))
@settings(deadline=None)
def test_parameter_generation_equals_the_dense_solution(lengths: list[int], width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(sum(lengths), 3 * width))
    variance = np.exp(rng.normal(size=mean.shape))
    found = generate(mean, variance, lengths)
    at = 0
    for length in lengths:
        here = slice(at, at + length)
        at += length
        operator = with_deltas(np.eye(length), [length]).reshape(length, 3, length).astype(np.float64)
        for d in range(width):
            w = operator.transpose(1, 0, 2).reshape(3 * length, length)
            precision = np.diag(1 / variance[here, d::width].T.ravel())
            dense = np.linalg.solve(w.T @ precision @ w, w.T @ precision @ mean[here, d::width].T.ravel())
            np.testing.assert_allclose(found[here, d], dense, atol=1e-8)


def test_deltas_of_a_trajectory_lead_back_to_it() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2))
    deltas = with_deltas(values, [1, 3, 5])
    np.testing.assert_allclose(deltas[5, 2:4], (values[6] - values[4]) / 2, rtol=1e-5)
    step = values[5] - values[4]
    np.testing.assert_allclose(deltas[4], [*values[4], *step / 2, *step], rtol=1e-5)
    np.testing.assert_allclose(generate(deltas, np.ones_like(deltas), [1, 3, 5]), values, atol=1e-6)
    some = np.array([8, 0, 3, 3])
    assert np.array_equal(with_deltas(values, [1, 3, 5], some), deltas[some])
    many = [np.random.default_rng(i).normal(size=(i, 2)) for i in range(1, 99)]
    each = [with_deltas(values, [len(values)]) for values in many]
    assert np.array_equal(with_deltas(np.concatenate(many), [len(values) for values in many]), np.concatenate(each))


# forests


def test_forest_predicts_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (400, 6)).astype(np.float32) / 7  # many ties
    y = np.stack([x[:, 0] + x[:, 1] ** 2, rng.normal(size=400)], 1)
    new = np.vstack([rng.random((50, 6)).astype(np.float32), x[:50]])
    for min_leaf in (1, 7):
        theirs = ExtraTreesRegressor(6, min_samples_leaf=min_leaf, max_features=0.5, random_state=3).fit(x, y)
        forest = Forest.grow(x, y, 6, min_leaf, 0.5, seed=3, workers=2)
        nodes = np.stack([tree.tree_.apply(new) for tree in theirs.estimators_], 1)
        assert np.array_equal(forest.leaves(new) - forest.roots, nodes)
        weights = forest.weights(new)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
        np.testing.assert_allclose(weights @ y, theirs.predict(new), atol=1e-5)
        again = Forest.from_arrays(forest.arrays("f"), "f", 6, 400)
        assert np.array_equal((again.weights(new) @ y), weights @ y)


@pytest.mark.parametrize("fault", ["children", "circle", "feature", "members", "begin", "threshold", "empty leaf"])
def test_damaged_forests_are_refused(fault: str) -> None:
    rng = np.random.default_rng(0)
    forest = Forest.grow(rng.random((40, 3)), rng.random((40, 2)), 3, 2, 1.0, seed=0)
    arrays = {name: array.copy() for name, array in forest.arrays("f").items()}
    if fault == "circle":
        arrays["f_children"][1] = 0
    elif fault == "threshold":
        arrays["f_threshold"] = arrays["f_threshold"][:-1]
    elif fault == "empty leaf":
        arrays["f_begin"][1:-1] = 0
    else:
        arrays[f"f_{fault}"].flat[-1] += 1000
    with pytest.raises(UserError, match="no forest over 3 features and 40 exemplars"):
        Forest.from_arrays(arrays, "f", 3, 40)


# contexts


def test_contexts_end_where_the_utterance_does() -> None:
    units, durations = [[1, 2, 0], [3]], [[1, 2, 1], [3]]
    profiles = np.arange(1, 5, dtype=np.float32)[:, None]
    assert unit_contexts(units, profiles, 1).tolist() == [
        [0, 2, 3, 0, 2], [2, 3, 1, 1, 1], [3, 1, 0, 2, 0], [0, 4, 0, 0, 0],
    ]  # fmt: skip
    frames = frame_contexts(units, durations, profiles, 1)
    assert frames[:, :5].tolist() == [
        row for row, n in zip(unit_contexts(units, profiles, 1).tolist(), [1, 2, 1, 3], strict=True) for _ in range(n)
    ]
    assert frames[:, 5:10].tolist() == [
        [0, 1, 2, 0, 0], [1, 2, 1, 0, 1], [1, 2, 1, 1, 0], [2, 1, 0, 0, 0],
        [0, 3, 0, 0, 2], [0, 3, 0, 1, 1], [0, 3, 0, 2, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(frames[2, 10:], [0.75, 0.5])


# training and files


def make_corpus(root: Path, rng: np.random.Generator, kinds: list[int] | None = None) -> tuple[Path, Path]:
    """Data directories and units: unit k has PITCHES[k], and lasts 3 + 4 k frames or one more."""
    for split, count in (("train", 30), ("dev", 6)):
        data, wavs, units, durations = root / "data" / split, {}, {}, {}
        with write_ark(data / "feats.ark", data / "feats.scp") as write:
            for i in range(count):
                name = f"{split}{i:02d}"
                row = [int(u) for u in rng.choice(kinds or SIZE, rng.integers(3, 9))]
                runs = [3 + 4 * u + int(rng.integers(2)) for u in row]
                wav = voice(np.repeat(np.array(PITCHES, float)[row], runs).repeat(HOP), rng)
                write_wav(data / "wav" / f"{name}.wav", wav, RATE)
                write(name, log_mel(wav, FEATURES))
                wavs[name], units[name], durations[name] = data / "wav" / f"{name}.wav", row, runs
        write_table(data / "wav.scp", wavs)
        (data / "features.json").write_text(json.dumps(to_dict(FEATURES)))
        write_int_table(root / "units" / split / "units", units)
        write_int_table(root / "units" / split / "unit_durations", durations)
    manifest = {
        "kind": "units", "method": "kmeans", "inventory": "0" * 64, "size": SIZE, "features": to_dict(FEATURES),
        "frame_shift": FEATURES.frame_shift, "sample_rate": RATE, "smoothing": 0.0, "bpe_size": 0,
    }  # fmt: skip
    save_manifest(root / "units", manifest)
    return root / "data", root / "units"


def train(data: Path, units: Path, model: Path, *overrides: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["--u2s", "clustergen", "--overrides", *TINY, *overrides, "--", data, units, model]
        patch.setattr(sys, "argv", ["train_u2s", *map(str, arguments)])
        train_u2s.main()
    return model


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_corpus(tmp_path_factory.mktemp("corpus"), np.random.default_rng(0))


@pytest.fixture(scope="module")
def trained(corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(*corpus, tmp_path_factory.mktemp("trained") / "model")


@pytest.fixture(scope="module")
def model(trained: Path) -> Clustergen:
    loaded = u2s.load(trained)
    assert isinstance(loaded, Clustergen)
    return loaded


def dev_rows(corpus: tuple[Path, Path]) -> tuple[list[list[int]], list[list[int]], list[np.ndarray]]:
    data, units = corpus
    rows, runs = (read_int_table(units / "dev" / table) for table in ("units", "unit_durations"))
    wavs = {name: read_wav(path)[0] for name, path in read_table(data / "dev/wav.scp").items()}
    return list(rows.values()), [runs[name] for name in rows], [wavs[name] for name in rows]


def test_what_training_tells_of_dev_is_true(
    corpus: tuple[Path, Path], model: Clustergen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Generated speech whose errors are known: a ripple of the log power spectrum, F0 5 % off, voicing, durations."""
    _, runs, wavs = dev_rows(corpus)
    natural = [model.world.analyse(wav) for wav in wavs]
    order, loud = model.config.order, np.concatenate(natural)[:, 0].mean()
    hertz = np.linspace(0, RATE / 2, model.world.n_fft // 2 + 1)
    mel = np.log1p(np.maximum(hertz, 40) / 700)  # WORLD's scale begins there
    ripple = 0.7 * np.cos(5 * np.pi * (mel - mel[0]) / (mel[-1] - mel[0]))
    coded = pyworld.code_spectral_envelope(np.exp([ripple]), RATE, order)[0]
    generated, flipped = [], []
    for frames in natural:
        ours, flip = frames.copy(), np.arange(len(frames)) % 4 == 0
        ours[:, :order] += np.where(frames[:, :1] > loud, 1, 10) * coded  # pauses do not count,
        ours[:, 0] += 0.5  # nor does loudness,
        ours[:, -2] += np.where((frames[:, -1] > 0.5) & ~flip, 0.05, 1)  # nor F0 but where both are voiced
        ours[:, -1] = np.where(flip, 1 - frames[:, -1], frames[:, -1])
        generated.append(ours)
        flipped.append(flip)
    remaining = iter(generated)
    monkeypatch.setattr(model, "parameters", lambda *_: next(remaining))
    monkeypatch.setattr(model, "durations", lambda _: [np.array(row) + 1.5 for row in runs])
    caplog.set_level("INFO")
    data, units = corpus
    model.measure(UnitSpeech(data / "dev", units / "dev", SIZE, FEATURES.n_mels))
    told = [float(number) for number in re.findall(r"(\d+\.\d+) ", caplog.messages[-1])]
    root_mean_square = 10 / np.log(10) * np.sqrt(0.7**2 / 2)  # dB
    np.testing.assert_allclose(told, [root_mean_square, 5.0, 100 * np.concatenate(flipped).mean(), 1.5], atol=0.05)
    assert told[0] == pytest.approx(root_mean_square, abs=0.01)


def test_it_speaks_like_the_voice(corpus: tuple[Path, Path], model: Clustergen) -> None:
    rows, runs, wavs = dev_rows(corpus)
    frames, floors, pitches = [], [], []
    for said, row, run_lengths, wav in zip(model.synthesise(rows, runs), rows, runs, wavs, strict=True):
        assert said.durations == run_lengths and said.wav is not None and len(said.wav) == sum(run_lengths) * HOP
        np.testing.assert_array_equal(said.mel, log_mel(said.wav, FEATURES))
        natural = log_mel(wav, FEATURES)
        frames.append(np.abs(said.mel - natural).mean())
        floors.append(np.abs(natural - natural.mean(0)).mean())
        heard = WORLD.analyse(said.wav)
        middle = np.cumsum(run_lengths) - np.array(run_lengths) // 2 - 1
        pitches += [(PITCHES[u], heard[m]) for u, m in zip(row, middle, strict=True) if u != 1]
    assert np.mean(frames) < 0.5 * np.mean(floors)
    assert np.mean([(frame[-1] > 0.5) == (pitch > 0) for pitch, frame in pitches]) > 0.9
    wrong = [abs(np.exp(frame[-2]) / pitch - 1) > 0.1 for pitch, frame in pitches if pitch and frame[-1] > 0.5]
    assert np.mean(wrong) < 0.15


def test_moments_are_those_of_all_exemplars_at_once(model: Clustergen, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, runs = [[0, 3, 1], [2]], [[3, 5, 4], [6]]
    weights = model.weights.frames.weights(frame_contexts(rows, runs, model.weights.profiles, model.config.context))
    targets = model.targets(np.arange(weights.shape[1]))
    dense = [weights.toarray() @ of for of in (targets, targets**2, model.weights.exemplars[:, -1:])]
    used = len(np.unique(weights.indices))
    for block in (7, used, 2 * used):
        monkeypatch.setattr("i2s.u2s.clustergen._BLOCK", block)
        for ours, expected in zip(model.moments(weights), dense, strict=True):
            assert ours.shape == expected.shape
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_durations_are_learned_and_add_up(model: Clustergen) -> None:
    rows = [[0, 3, 1, 2, 0, 3, 1], [2, 0, 1]]
    said = model.synthesise(rows)
    for row, one in zip(rows, said, strict=True):
        assert one.durations is not None
        expected = [3.5 + 4 * u for u in row]
        assert np.abs(np.array(one.durations) - expected).max() < 2 and len(one.mel) == sum(one.durations)
        assert abs(sum(one.durations) - sum(expected)) <= len(row) * 0.5


def test_each_utterance_is_spoken_as_if_alone(corpus: tuple[Path, Path], model: Clustergen) -> None:
    rows = [*dev_rows(corpus)[0], [1]]
    for row, said in zip(rows, model.synthesise(rows), strict=True):
        alone = model.synthesise([row])[0]
        assert alone.durations == said.durations
        np.testing.assert_allclose(said.mel, alone.mel, atol=1e-3)


def test_sharpness_restores_the_variance_of_natural_speech(corpus: tuple[Path, Path], model: Clustergen) -> None:
    rows, runs, wavs = dev_rows(corpus)
    lengths = [sum(row) for row in runs]

    def spread(frames: np.ndarray) -> np.ndarray:
        return np.mean([x[:, 1:16].var(0) for x in np.split(frames, np.cumsum(lengths)[:-1])], 0)

    natural = np.concatenate([World(RATE, HOP, 16).analyse(wav) for wav in wavs])
    smooth = model.parameters(rows, runs)
    assert (spread(smooth) < spread(natural)).mean() > 0.7
    np.testing.assert_allclose(spread(model.sharpen(smooth, lengths)), spread(natural), rtol=0.01)


def test_units_that_do_not_fit_are_refused(model: Clustergen) -> None:
    refuses_units_that_do_not_fit(model, SIZE)


def test_training_again_ends_the_same(corpus: tuple[Path, Path], trained: Path, tmp_path: Path) -> None:
    again = train(*corpus, tmp_path / "model", "workers=1")
    with np.load(trained / "clustergen.npz") as a, np.load(again / "clustergen.npz") as b:
        assert a.files == b.files and all(np.array_equal(a[name], b[name]) for name in a.files)


def test_fewer_frames_are_held_where_asked(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    """Whole utterances until there are so many frames; units that none of them holds are spoken all the same."""
    folder = train(*corpus, tmp_path / "model", "max_frames=20")
    with np.load(folder / "clustergen.npz") as file:
        assert len(file["lengths"]) < 4 and len(file["exemplars"]) == file["lengths"].sum() >= 20
        every = read_int_table(corpus[1] / "train" / "unit_durations").values()
        assert sorted(file["run_lengths"]) == sorted(np.concatenate(list(every)))  # the durations of all
    assert all(np.isfinite(said.mel).all() for said in u2s.load(folder).synthesise([[0, 1, 2, 3]]))


def test_fewer_durations_are_learned_where_asked(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    folder = train(*corpus, tmp_path / "model", "max_units=3")
    with np.load(folder / "clustergen.npz") as file:
        learned, every = file["run_lengths"].tolist(), read_int_table(corpus[1] / "train" / "unit_durations")
    assert 3 <= len(learned) < 3 + max(map(len, every.values()))  # whole utterances
    assert any(row == learned[: len(row)] for row in every.values())


def test_speech_without_any_voice(tmp_path: Path) -> None:
    data, units = make_corpus(tmp_path, np.random.default_rng(0), kinds=[0])
    said = u2s.load(train(data, units, tmp_path / "model")).synthesise([[0], [0, 1, 0]])
    assert all(one.wav is not None and np.isfinite(one.wav).all() for one in said)
    assert WORLD.analyse(said[1].wav)[:, -1].mean() < 0.2  # type: ignore[arg-type]


def test_faults_in_training_data(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    data, units = tmp_path / "data", tmp_path / "units"
    shutil.copytree(corpus[0], data)
    shutil.copytree(corpus[1], units)
    model = tmp_path / "model"
    with pytest.raises(UserError, match="unknown key 'tree'; did you mean trees"):
        train(data, units, model, "tree=3")
    with pytest.raises(UserError, match="must be over 0"):
        train(data, units, model, "max_features=2")
    wavs = read_table(data / "train/wav.scp")
    name = min(wavs)
    longer = voice(np.full(99 * HOP, 110.0), np.random.default_rng(0))
    for wav, message in [(longer, "run stages 4 and 6 again"), (longer[: HOP // 2], "too short")]:
        write_wav(tmp_path / "other.wav", wav, RATE)
        write_table(data / "train/wav.scp", {**wavs, name: tmp_path / "other.wav"})
        with pytest.raises(UserError, match=message):
            train(data, units, model)
    write_table(data / "train/wav.scp", {k: v for k, v in wavs.items() if k != name})
    with pytest.raises(UserError, match=f"no entry for {name}"):
        train(data, units, model)
    assert not (model / "manifest.json").exists() and not list(model.glob("*.npz"))


def test_damaged_weights_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    weights = folder / "clustergen.npz"
    whole, arrays = weights.read_bytes(), dict(np.load(weights))
    for content in (whole[: len(whole) // 2], b"", b"no archive"):
        weights.write_bytes(content)
        with pytest.raises(UserError, match="cannot be loaded"):
            u2s.load(folder)
    changes = {
        "profiles": arrays["profiles"][:-1],  # of another inventory
        "exemplars": np.full_like(arrays["exemplars"], np.nan),
        "lengths": arrays["lengths"][:-1],
        "frames_children": np.zeros_like(arrays["frames_children"]),
        "scale": np.array([print], dtype=object),  # pickled
    }
    for name, array in changes.items():
        np.savez(weights, **{**arrays, name: array})
        with pytest.raises(UserError, match="cannot be loaded"):
            u2s.load(folder)
    weights.unlink()
    with pytest.raises(UserError, match="no such file"):
        u2s.load(folder)


def test_killed_training_leaves_nothing_that_looks_finished(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    model = tmp_path / "model"
    command = [sys.executable, "-m", "i2s.bin.train_u2s", "--u2s", "clustergen", "--overrides", "trees=100000", "--"]
    child = subprocess.Popen(
        [*command, *map(str, corpus), str(model)], stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stderr is not None
    assert any("growing forests" in line for line in child.stderr)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert [file.name for file in model.iterdir()] == ["config.yaml"]
    with pytest.raises(UserError, match="no finished model"):
        u2s.load(model)


def test_it_needs_no_vocoder_and_others_do(corpus: tuple[Path, Path], trained: Path, tmp_path: Path) -> None:
    """The command of stage 9: wavs, run lengths and the spectrograms of what was spoken."""
    table = corpus[1] / "dev" / "units"
    with pytest.MonkeyPatch.context() as patch:
        folders = [str(table), str(trained), str(tmp_path / "out")]
        patch.setattr(sys, "argv", ["synthesise", "--vocoder", "", "--batch-size", "4", *folders])
        synthesise.main()
    wavs, mels = read_table(tmp_path / "out/wav.1.scp"), Matrices(tmp_path / "out/mel.1.scp")
    durations = read_int_table(tmp_path / "out/unit_durations.1")
    assert set(wavs) == set(mels) == set(durations) == set(read_int_table(table))
    for name, path in wavs.items():
        wav, rate = read_wav(path)
        assert rate == RATE and len(wav) == sum(durations[name]) * HOP and len(mels[name]) == sum(durations[name])
        quiet = np.abs(mels[name] - log_mel(wav, FEATURES)).mean()
        assert quiet < 0.05  # (16 bits a sample)

    true, short = table.with_name("unit_durations"), tmp_path / "short"  # as long as the units were in the recordings
    short.write_text("".join(true.read_text().splitlines(keepends=True)[1:]))
    for times in (true, short):
        with pytest.MonkeyPatch.context() as patch:
            options = ["--vocoder", "", "--durations", str(times)]
            patch.setattr(sys, "argv", ["synthesise", *options, *folders[:2], str(tmp_path)])
            if times == true:
                synthesise.main()
            else:
                with pytest.raises(UserError, match="is missing, whose units"):
                    synthesise.main()
    assert read_int_table(tmp_path / "unit_durations.1") == read_int_table(true) != durations

    from i2s.u2s.base import Speech
    from i2s.vocoder.speak import waveforms

    with pytest.raises(UserError, match="name a vocoder"):
        waveforms([Speech(np.zeros((3, 20), np.float32))], None)


def test_config_is_checked() -> None:
    for values in ({"trees": 0}, {"order": 1}, {"sharpness": float("nan")}, {"max_features": 0.0}, {"min_leaf": 0}):
        with pytest.raises(UserError, match=next(iter(values))):
            ClustergenConfig(**values)  # type: ignore[arg-type]


@pytest.mark.recipe
def test_the_recipe_speaks_with_it(tiny_recipe: Path, tmp_path: Path) -> None:
    """Stages 8 to 11, without a vocoder, and nothing is done twice."""
    data, exp = tmp_path / "data", tmp_path / "exp"
    shutil.copytree(tiny_recipe / "data", data)
    relocate(data, tiny_recipe / "data")
    for name in ("units_kmeans16", "i2u_transformer"):
        shutil.copytree(tiny_recipe / "exp" / name, exp / name)
    options = [o for o in tiny_options(tmp_path) if not o.startswith("epochs=2 width=32")]
    options[options.index("--u2s-args")] = "--u2s-args=trees=3 max_frames=3000 duration_trees=3"
    options += ["--u2s", "clustergen", "--stage", "8"]
    done = run(ROOT / "run.sh", *options)
    assert "--u2s clustergen makes waveforms itself: the vocoder; skipped" in done.stderr
    test = exp / "transformer_clustergen" / "test"
    results = json.loads((test / "results.json").read_text())
    names = {row["key"]: row["name"] for row in results["captions"]["rows"]}
    assert names["resynth"] == "reference units, spoken again and read back"
    assert (test / "report/index.html").is_file() and (exp / "ceilings_clustergen/test/resynth/wav.scp").is_file()
    assert len(read_int_table(test / "unit_durations")) == len(Matrices(test / "feats.scp")) == 4
    done = run(ROOT / "run.sh", *options, "--stop-stage", "9")
    assert done.stderr.count("up to date") >= 4

    units, again = exp / "units_kmeans16", tmp_path / "again"
    folders = (data / "test", units, exp / "u2s_clustergen", again)
    run(ROOT / "steps" / "respeak.sh", "--true-durations", "true", *folders)
    true, spoken = read_int_table(units / "test/unit_durations"), read_int_table(again / "resynth/unit_durations")
    assert len(spoken) == 4 and spoken == {u: true[u] for u in spoken}

    photo = next((data / "images").rglob("*.[jp][pn]g"))
    run(ROOT / "utils" / "describe.sh", "--model", test.parent, photo, tmp_path / "one.wav", cwd=tmp_path)
    assert len(read_wav(tmp_path / "one.wav", 22050)[0])
