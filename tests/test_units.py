"""Discrete units: codecs, smoothing, k-means, the unit stage."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s.archive import Matrices, write_ark
from i2s.config import to_dict
from i2s.corpus.ctm import Interval
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.units import load
from i2s.units.bpe import UnitBpe
from i2s.units.inventory import UnitEncoder
from i2s.units.kmeans import KMeans, KMeansConfig, cluster, sample
from i2s.units.project import discriminant, standardise, with_context
from i2s.units.runs import collapse, expand
from i2s.units.smooth import segment
from i2s.units.stats import boundary_stats, entropy, phone_stats, unit_stats

ROOT = Path(__file__).resolve().parents[1]
K = 30
unit_sequences = st.lists(st.integers(0, K - 1), max_size=60)


# --- run lengths ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=80))
def test_collapse_round_trip(frames: list[int]) -> None:
    units, durations = collapse(frames)
    assert expand(units, durations).tolist() == frames
    assert durations.sum() == len(frames)
    assert (durations >= 1).all()
    assert (np.diff(units) != 0).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=40))
def test_expand_round_trip(runs: list[tuple[int, int]]) -> None:
    runs = [run for i, run in enumerate(runs) if i == 0 or run[0] != runs[i - 1][0]]
    runs = [next(iter(group)) for _, group in itertools.groupby(runs, key=lambda run: run[0])]
    units, durations = collapse(expand([u for u, _ in runs], [d for _, d in runs]))
    assert list(zip(units.tolist(), durations.tolist(), strict=True)) == runs


def test_expand_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(UserError, match="2 units but 1 durations"):
        expand([1, 2], [3])
    with pytest.raises(UserError, match="lasts 0 frames"):
        expand([1, 2], [3, 0])


# --- smoothing -----------------------------------------------------------------------------------------------------


def objective(costs: np.ndarray, frames: np.ndarray, penalty: float) -> float:
    return costs[np.arange(len(frames)), frames].sum() + penalty * (np.diff(frames) != 0).sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 3), st.floats(0, 2), st.integers(1, 4))
def test_segment_equals_brute_force(seed: int, t: int, k: int, penalty: float, min_run: int) -> None:
    costs = np.random.default_rng(seed).random((t, k))
    allowed = [
        np.array(frames)
        for frames in itertools.product(range(k), repeat=t)
        if (collapse(frames)[1] >= min(min_run, t)).all()
    ]
    found = segment(costs, penalty, min_run)
    assert (collapse(found)[1] >= min(min_run, t)).all()
    assert objective(costs, found, penalty) == pytest.approx(min(objective(costs, f, penalty) for f in allowed))


def test_segment_removes_runs_of_one_frame() -> None:
    costs = np.array([[0, 1.0], [0, 1], [1, 0.9], [0, 1], [0, 1]])
    assert segment(costs).tolist() == [0, 0, 1, 0, 0]
    assert segment(costs, min_run=2).tolist() == [0] * 5
    assert segment(costs, 0.2).tolist() == [0] * 5
    assert segment(np.zeros((0, 3)), 1.0, 2).shape == (0,)


# --- BPE -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> UnitBpe:
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 12, 4).tolist() for _ in range(8)]
    training = [[unit for i in rng.integers(0, 8, 6) for unit in words[i]] for _ in range(200)]
    path = tmp_path_factory.mktemp("bpe") / "bpe.model"
    trained = UnitBpe.train(training, K, 60, path)
    assert trained.size == 60
    assert max(len(trained.encode(s)) for s in training) < 24  # the words are found
    assert [p.name for p in path.parent.iterdir()] == ["bpe.model"]
    assert UnitBpe.load(path, K).encode(training[0]) == trained.encode(training[0])
    return trained


@given(units=unit_sequences)
def test_bpe_round_trip(bpe: UnitBpe, units: list[int]) -> None:  # units 12 .. 29 are never seen in training
    pieces = bpe.encode(units)
    assert bpe.decode(pieces) == units
    assert all(0 <= piece < bpe.size for piece in pieces)
    assert len(pieces) <= len(units)


def test_bpe_knows_every_unit_and_no_other(bpe: UnitBpe, tmp_path: Path) -> None:
    assert sorted(u for p in range(bpe.size) if len(bpe.decode([p])) == 1 for u in bpe.decode([p])) == list(range(K))
    with pytest.raises(UserError, match="another inventory"):
        bpe.encode([0, K])
    with pytest.raises(UserError, match="another BPE"):
        bpe.decode([bpe.size])
    with pytest.raises(UserError, match="at least the number of units"):
        UnitBpe.train([[1]], K, K - 1, tmp_path / "x.model")


def test_bpe_of_little_data_is_smaller_than_asked_for(tmp_path: Path) -> None:
    bpe = UnitBpe.train([[1, 2, 3], [1, 2]], 5, 1000, tmp_path / "bpe.model")
    assert 5 < bpe.size < 12
    assert bpe.decode(bpe.encode([4, 1, 2, 3, 0])) == [4, 1, 2, 3, 0]
    assert UnitBpe.train([], 5, 5, tmp_path / "none.model").encode([4, 3]) != []
    with pytest.raises(UserError, match=r"none\.model: cannot be used.*not one over 6 units"):
        UnitBpe.load(tmp_path / "none.model", 6)
    (tmp_path / "bad.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be used"):
        UnitBpe.load(tmp_path / "bad.model", 5)


# --- k-means -------------------------------------------------------------------------------------------------------


class Stream(dict):
    """A table that makes its matrices when asked and counts how often it was."""

    def __init__(self, utterances: int, frames: int, dim: int = 3):
        super().__init__({f"u{i:05d}": i for i in range(utterances)})
        self.shape, self.reads = (frames, dim), 0

    def __getitem__(self, key: str) -> np.ndarray:
        self.reads += 1
        return np.full(self.shape, super().__getitem__(key), np.float64)


def test_sample_is_random_seeded_and_exact() -> None:
    chosen = [int(x[0, 0]) for x in sample(Stream(400, 100), 5000, seed=1)]
    assert len(set(chosen)) == 50  # without replacement
    assert chosen != sorted(chosen)
    assert chosen == [int(x[0, 0]) for x in sample(Stream(400, 100), 5000, seed=1)]
    assert chosen != [int(x[0, 0]) for x in sample(Stream(400, 100), 5000, seed=2)]
    assert sum(map(len, sample(Stream(400, 100), 4950, seed=1))) == 4950  # the last one is cut
    assert sum(map(len, sample(Stream(40, 100), 10**6, seed=1))) == 40 * 100  # all there is


def test_sampling_memory_does_not_grow_with_the_table() -> None:
    import tracemalloc

    for table in (Stream(500, 500, 20), Stream(5, 50_000, 20)):  # many utterances; few, very long ones
        tracemalloc.start()
        sample(table, 1000, seed=0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert table.reads <= 2
        assert peak < 2.5 * 1000 * 20 * 4 + 3 * table.shape[0] * 20 * 8  # what is kept, and one matrix in work


def blobs(seed: int = 0) -> dict[str, np.ndarray]:
    """Ten utterances that move through five well separated places of a space of two very different scales."""
    rng = np.random.default_rng(seed)
    places = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [3, 3]]) * [1, 1000]
    return {
        f"u{i}": (places[np.repeat(rng.permutation(5), 20)] + rng.normal(0, [0.05, 50], (100, 2))).astype(np.float32)
        for i in range(10)
    }


def test_kmeans_finds_clusters_whatever_their_scale() -> None:
    kmeans = KMeans.train(blobs(), KMeansConfig(num_units=5, lda_dim=0))
    frames = blobs(7)["u3"]
    units, durations = collapse(kmeans.costs(frames).argmin(1))
    assert sorted(units) == [0, 1, 2, 3, 4]
    assert durations.tolist() == [20] * 5
    assert kmeans.costs(frames).min(1).mean() == pytest.approx(1, rel=0.3)  # in mean distances of training


def test_kmeans_is_saved_whole_and_seeded(tmp_path: Path) -> None:
    config = KMeansConfig(num_units=5, lda_dim=3)
    frames = blobs(7)["u3"]
    kmeans = KMeans.train(blobs(), config)
    assert kmeans.codebook.shape == (5, 3)
    kmeans.save(tmp_path)
    assert (KMeans.load(tmp_path, config).costs(frames) == kmeans.costs(frames)).all()
    assert (KMeans.train(blobs(), config).codebook == kmeans.codebook).all()


def test_cluster_is_close_to_scikit_learn() -> None:
    from sklearn.cluster import KMeans as Reference

    frames = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    frames *= np.linspace(1, 4, 8, dtype=np.float32)
    codebook, spread = cluster(frames, 20, 30, seed=0)
    assert codebook.shape == (20, 8)
    reference = Reference(20, n_init=1, random_state=0).fit(frames).inertia_ / len(frames)
    assert spread == pytest.approx(reference, rel=0.02)


def test_projection_standardises_and_finds_what_tells_classes_apart() -> None:
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, 300) for _ in range(4)]
    # Column 0 is loud noise; the classes differ in the sum of columns 1 and 2, a frame later.
    frames = []
    for y in labels:
        x = rng.normal(0, [100, 1, 1, 0], (300, 4)) + 7
        x[1:, 1:3] += y[:-1, None]
        frames.append(x.astype(np.float32))
    plain = standardise(frames)
    out = np.concatenate([plain(x) for x in frames])
    assert out.shape == (1200, 4)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(out.std(0), [1, 1, 1, 0], atol=1e-4)  # column 3 is constant
    lda = discriminant(frames, labels, (-1, 0, 1), 2)
    assert lda(frames[0]).shape == (300, 2)
    first = abs(lda.matrix[:, 0]) * np.concatenate(frames).std(0)[[0, 1, 2, 3] * 3]
    assert set(np.argsort(first)[-2:]) == {9, 10}  # columns 1 and 2 of the third frame of the context
    between = [lda(frames[0])[:-1][labels[0][:-1] == c, 0].mean() for c in range(3)]
    assert abs(np.diff(between)).min() > 0.5
    assert with_context(np.arange(3.0)[:, None], (-1, 0, 2)).tolist() == [[0, 0, 2], [0, 1, 2], [1, 2, 2]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no frames of speech"),
        ({"a": np.zeros((3, 2), np.float32)}, "only 3 frames of speech for 5 units"),
        ({"a": np.zeros((9, 2), np.float32), "b": np.zeros((9, 3), np.float32)}, "[ab]: features have shape"),
        ({"a": np.full((9, 2), np.nan, np.float32)}, "a: features hold NaN"),
    ],
)
def test_kmeans_refuses(table: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        KMeans.train(table, KMeansConfig(num_units=5))


@pytest.mark.parametrize(
    "options", [{"num_units": 0}, {"smoothing": -1.0}, {"smoothing": float("nan")}, {"min_run": 0}]
)
def test_config_refuses(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="it must be at least"):
        KMeansConfig(**options)  # type: ignore[arg-type]


def test_config_refuses_a_bpe_smaller_than_the_inventory() -> None:
    with pytest.raises(UserError, match="bpe_size is 100"):
        KMeansConfig(num_units=200, bpe_size=100)


# --- statistics ----------------------------------------------------------------------------------------------------


def test_statistics_of_a_case_done_by_hand() -> None:
    stats = unit_stats({"a": [0, 1], "b": [2, 3]}, {"a": [2, 2], "b": [4, 2]}, size=5, frame_shift=0.1)
    assert (stats["utterances"], stats["used"], stats["seconds"]) == (2, 4, 1.0)
    assert stats["entropy_bits"] == pytest.approx(2)
    assert stats["perplexity"] == pytest.approx(4)
    assert stats["per_second"] == pytest.approx(4)
    assert stats["bits_per_second"] == pytest.approx(8)
    assert stats["run_histogram"][:4] == [0, 3, 0, 1]
    assert entropy(np.zeros(3)) == 0


def test_phone_agreement() -> None:
    def phones(*ends: tuple[str, float]) -> dict[str, list[Interval]]:
        begins = [0.0, *(end for _, end in ends)]
        return {"a": [Interval(p, begin, end) for begin, (p, end) in zip(begins, ends, strict=False)]}

    units, durations = {"a": [0, 1, 2, 3]}, {"a": [5, 5, 5, 5]}
    same = phone_stats(units, durations, phones(("p", 0.5), ("q", 1.0), ("r", 1.5), ("s", 2.0)), 0.1)
    assert same["purity"] == same["phone_purity"] == 1
    assert same["nmi"] == pytest.approx(1)
    assert same["units_per_phone"] == 1
    assert same["boundaries"] == {"precision": 1, "recall": 1, "f": 1, "r_value": 1}
    split = phone_stats(units, durations, phones(("p", 1.0), ("q", 2.0)), 0.1)
    assert (split["purity"], split["phone_purity"], split["units_per_phone"]) == (1, 0.5, 2)
    assert split["nmi"] == pytest.approx(1 / ((2 + 1) / 2))  # bits: of both, over the mean of each
    assert (split["boundaries"]["precision"], split["boundaries"]["recall"]) == (pytest.approx(1 / 3), 1)
    alternating = phones(*((p, (i + 1) / 10) for i, p in enumerate(["p", "q"] * 10)))
    assert phone_stats(units, durations, alternating, 0.1)["nmi"] < 0.1


def test_boundaries_are_hit_once_and_within_the_tolerance() -> None:
    def stats(found: list[float], true: list[float]) -> dict[str, float]:
        return boundary_stats([np.array(found)], [np.array(true)])

    assert stats([0.10, 0.31], [0.12, 0.30])["f"] == 1
    assert stats([0.10], [0.1201])["f"] == 0
    twice = stats([0.29, 0.30, 0.31], [0.30])
    assert (twice["precision"], twice["recall"]) == (pytest.approx(1 / 3), 1)
    assert stats([0.28, 0.30], [0.30, 0.32])["recall"] == 1  # the first takes 0.30, so that the second can take 0.32
    every = stats([i / 50 for i in range(1, 50)], [0.2, 0.5, 0.8])
    assert every["recall"] == 1 and every["r_value"] < 0 < stats([0.2, 0.5], [0.2, 0.5, 0.8])["r_value"]
    assert stats([], [])["f"] == 0


# --- the stage -----------------------------------------------------------------------------------------------------


OPTIONS = ("--nj", "2", "--num-units", "5", "--unit-bpe", "8", "--overrides", "min_run=3 smoothing=1 lda_dim=4")


def run_stage(cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(ROOT / "steps" / "units.sh"), *options, "data", "exp/units"]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe folder with features of a few utterances, and the unit stage run on them once."""
    cwd = tmp_path_factory.mktemp("recipe")
    old = Path.cwd()
    os.chdir(cwd)  # archives are named relative to the recipe folder
    try:
        for seed, split in enumerate(("train", "dev", "test")):
            data = Path("data") / split
            with write_ark(data / "mfcc.ark", data / "unit_feats.scp") as write:
                for key, matrix in blobs(seed).items():
                    write(f"{split}-{key}", matrix)
            (data / "features.json").write_text(json.dumps(to_dict(SpeechFeatureConfig())))
    finally:
        os.chdir(old)
    result = run_stage(cwd, *OPTIONS)
    assert result.returncode == 0, result.stderr
    assert "perplexity" in result.stdout
    return cwd


def test_stage_writes_a_finished_inventory(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recipe)
    inventory = load("exp/units")
    manifest = inventory.manifest
    assert (inventory.size, manifest["size"], manifest["method"], manifest["smoothing"]) == (5, 5, "kmeans", 1.0)
    assert manifest["features"] == to_dict(SpeechFeatureConfig())
    assert manifest["frame_shift"] == pytest.approx(256 / 22050)
    assert inventory.bpe is not None
    assert manifest["bpe_size"] == inventory.bpe.size
    for split in ("train", "dev", "test"):
        feats = Matrices(f"data/{split}/unit_feats.scp")
        units = read_int_table(f"exp/units/{split}/units")
        durations = read_int_table(f"exp/units/{split}/unit_durations")
        assert list(units) == list(durations) == list(feats)
        for key in feats:
            assert sum(durations[key]) == len(feats[key])
            row, lengths = inventory.encode({key: feats[key]})[key]
            assert (units[key], durations[key]) == (row.tolist(), lengths.tolist())
            assert inventory.bpe.decode(inventory.bpe.encode(units[key])) == units[key]
    assert json.loads(Path("exp/units/stats.json").read_text())["train"]["used"] == 5
    assert Path("exp/units/run_lengths.png").read_bytes().startswith(b"\x89PNG")


def test_stage_is_skipped_when_up_to_date(recipe: Path) -> None:
    same = run_stage(recipe, *OPTIONS)
    assert same.returncode == 0
    assert "up to date" in same.stderr


def test_stage_that_was_stopped_after_training_goes_on(recipe: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(recipe, copy)
    (copy / "exp/units/.done").rename(copy / "exp/units/.done.begun")
    before = (copy / "exp/units/codebook.npy").stat().st_mtime_ns
    done = run_stage(copy, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert (copy / "exp/units/codebook.npy").stat().st_mtime_ns == before
    assert (copy / "exp/units/.done").read_text() == (recipe / "exp/units/.done").read_text()


def test_stage_refuses(recipe: Path, tmp_path: Path) -> None:
    unknown = run_stage(recipe, "--num-unit", "5")
    assert (unknown.returncode, "unknown option --num-unit" in unknown.stderr) == (2, True)
    copy = tmp_path / "copy"
    shutil.copytree(recipe, copy)
    key = run_stage(copy, "--overrides", "num_unit=5")
    assert key.returncode != 0
    assert "did you mean num_units?" in key.stderr
    assert "Traceback" not in key.stderr
    other = SpeechFeatureConfig(sample_rate=16000)
    (copy / "data" / "test" / "features.json").write_text(json.dumps(to_dict(other)))
    mixed = run_stage(copy, "--num-units", "5")
    assert mixed.returncode != 0
    assert "speech features of train and test differ" in mixed.stderr


def test_inventory_refuses_other_features_and_damage(recipe: Path, tmp_path: Path) -> None:
    inventory = load(recipe / "exp/units")
    with pytest.raises(UserError, match=r"u: features have shape \(4, 3\), but.* were learned from 2 columns"):
        inventory.encode({"u": np.zeros((4, 3), np.float32)})
    for bad in (np.full((4, 2), np.nan, np.float32), np.zeros((0, 2), np.float32)):
        with pytest.raises(UserError, match="u: features are empty, or hold NaN"):
            inventory.encode({"u": bad})
    with pytest.raises(UserError, match="no finished model"):
        load(tmp_path)
    copy = tmp_path / "units"
    shutil.copytree(recipe / "exp/units", copy)
    np.save(copy / "codebook.npy", np.load(copy / "codebook.npy")[::-1])
    with pytest.raises(UserError, match=r"codebook\.npy: missing, or not the one of manifest"):
        load(copy)
    (copy / "codebook.npy").write_bytes(b"")
    with pytest.raises(UserError, match="units cannot be read"):
        UnitEncoder(copy, "kmeans")
