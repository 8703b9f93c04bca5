"""Pseudo-phones: the Bayesian phone-loop HMM against brute force, its bound, recovery of known units, the stage."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from i2s.archive import Matrices, write_ark
from i2s.config import to_dict
from i2s.corpus.ctm import Interval
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.files import sha256
from i2s.units import load, pseudo_phones
from i2s.units.hmm import Events, PhoneLoop, Prior, best_paths
from i2s.units.pseudo_phones import PseudoPhones, PseudoPhonesConfig, first_loop, fit
from i2s.units.stats import phone_stats

from .conftest import ROOT, run

DIM = 2


def random_loop(units: int, states: int, components: int, seed: int = 0, weight: float = 1.0) -> PhoneLoop:
    """A phone loop that has heard some random speech."""
    rng = np.random.default_rng(seed)
    shape = (components, states, units)
    means, count = rng.normal(0, 2, (DIM, *shape)), rng.uniform(2, 9, shape)
    moments = [count[None], count * means, count * (means**2 + rng.uniform(0.5, 2, means.shape))]
    counts = rng.uniform(1, 5, units), *rng.uniform(1, 5, (2, states, units)), count, np.concatenate(moments)
    prior = Prior(torch.zeros(DIM, dtype=torch.float64), torch.ones(DIM, dtype=torch.float64))
    return PhoneLoop(prior, Events(*map(torch.from_numpy, counts)), weight)


def speech(*lengths: int, seed: int = 1) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(0, 2, (length, DIM))) for length in lengths]


# --- inference against brute force ---------------------------------------------------------------------------------

Path_ = tuple[tuple[int, tuple[int, ...]], ...]  # units, each with the frames of its states


def all_paths(frames: int, units: int, states: int) -> Iterator[Path_]:
    if not frames:
        yield ()
    for lasts in itertools.product(range(1, frames + 1), repeat=states):
        for unit in range(units) if sum(lasts) <= frames else ():
            for rest in all_paths(frames - sum(lasts), units, states):
                yield ((unit, lasts), *rest)


def counts_of(path: Path_, components: tuple[int, ...], frames: torch.Tensor, like: Events) -> Events:
    """t(x, z), event by event."""
    counts = Events(*map(torch.zeros_like, like))
    t = 0
    for unit, lasts in path:
        counts.enter[unit] += 1
        for state, length in enumerate(lasts):
            counts.stay[state, unit] += length - 1
            counts.leave[state, unit] += 1
            for _ in range(length):
                counts.mixture[components[t], state, unit] += 1
                counts.gauss[:, components[t], state, unit] += torch.cat([torch.ones(1), frames[t], frames[t] ** 2])
                t += 1
    return counts


@pytest.mark.parametrize(("units", "states", "components", "lengths"), [(2, 2, 2, (5, 2, 4)), (3, 1, 1, (3, 1, 5, 3))])
def test_forward_backward_equals_enumeration(
    units: int, states: int, components: int, lengths: tuple[int, ...]
) -> None:
    weight = 0.7
    loop, utterances = random_loop(units, states, components, weight=weight), speech(*lengths)
    terms = loop.terms(torch.float64)
    log_z, expected = 0.0, Events(*map(torch.zeros_like, terms))
    for frames in utterances:
        every = [
            counts_of(path, which, frames, terms)
            for path in all_paths(len(frames), units, states)
            for which in itertools.product(range(components), repeat=len(frames))
        ]
        scores = torch.stack([sum((c * e).sum() for c, e in zip(t, terms, strict=True)) for t in every])  # type: ignore[misc]
        log_z += float(scores.logsumexp(0))
        for chance, t in zip(scores.softmax(0), every, strict=True):
            expected = Events(*(e + chance * c for e, c in zip(expected, t, strict=True)))
    expected = expected._replace(gauss=weight * expected.gauss)
    found_z, found = loop.expect(utterances)
    assert found_z == pytest.approx(log_z, rel=1e-12)
    for name, a, b in zip(Events._fields, found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, msg=name)
    in_float32, _ = loop.expect([x.float() for x in utterances])
    assert in_float32 == pytest.approx(log_z, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_viterbi_equals_enumeration(seed: int) -> None:
    loop, utterances = random_loop(3, 2, 1, seed), speech(6, 2, 5, 3, seed=seed)
    terms = loop.terms(torch.float64)
    for frames, (units, durations) in zip(utterances, best_paths(terms, utterances), strict=True):
        best, score = None, -math.inf
        for path in all_paths(len(frames), 3, 2):
            t = counts_of(path, (0,) * len(frames), frames, terms)
            here = float(sum((c * e).sum() for c, e in zip(t, terms, strict=True)))  # type: ignore[misc]
            best, score = (path, here) if here > score else (best, score)
        assert best is not None
        assert list(zip(units.tolist(), durations.tolist(), strict=True)) == [(u, sum(d)) for u, d in best]


def test_long_speech_is_no_harder() -> None:
    """Of 2,000 frames, in float32, every one is counted, and log Z is that of float64."""
    loop, (frames,) = random_loop(4, 3, 2), speech(2_000)
    log_z, counts = loop.expect([frames.float()])
    assert log_z == pytest.approx(loop.expect([frames])[0], rel=1e-6)
    assert float(counts.mixture.sum()) == pytest.approx(2_000, rel=1e-4)
    assert float((counts.stay + counts.leave).sum()) == pytest.approx(2_000, rel=1e-4)


# --- the bound -----------------------------------------------------------------------------------------------------


def test_the_bound_is_the_evidence_where_that_is_known() -> None:
    """One unit of one state and Gaussian, utterances of one frame: q is the true posterior, the ELBO is log p(x)."""
    mean, variance = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    prior = Prior(mean, variance, enter=1.5, move=0.7, mixture=1.0, strength=3.0)
    x = torch.from_numpy(np.random.default_rng(0).normal(1, 3, (20, 1)))
    zero = Events(*(torch.zeros(*s, dtype=torch.float64) for s in ((1,), (1, 1), (1, 1), (1, 1, 1), (3, 1, 1, 1))))
    loop = PhoneLoop(prior, zero)
    assert loop.kl() == pytest.approx(0, abs=1e-12)
    loop = loop.moved(loop.expect(list(x.split(1)))[1])
    elbo = loop.expect(list(x.split(1)))[0] - loop.kl()

    n, m0, k0, a0, b0 = len(x), 0.5, 3.0, 3.0, 6.0
    a, b = a0 + n / 2, b0 + float(((x - x.mean()) ** 2).sum() + k0 * n / (k0 + n) * (x.mean() - m0) ** 2) / 2
    gauss = math.lgamma(a) - math.lgamma(a0) + a0 * math.log(b0) - a * math.log(b) + math.log(k0 / (k0 + n)) / 2
    gauss -= n / 2 * math.log(2 * math.pi)
    leave = math.lgamma(0.7 + n) - math.lgamma(0.7) + math.lgamma(1.4) - math.lgamma(1.4 + n)
    assert elbo == pytest.approx(gauss + leave, rel=1e-12)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_bound_never_falls(weight: float) -> None:
    loop, utterances = random_loop(6, 3, 2, weight=weight), speech(*range(3, 40, 3), 80)
    bounds = []
    for _ in range(40):
        log_z, counts = loop.expect(utterances)
        bounds.append(log_z - loop.kl())
        loop = loop.moved(counts)
    assert (np.diff(bounds) >= -1e-10 * abs(bounds[-1])).all(), np.diff(bounds).min()
    assert bounds[-1] > bounds[0] + 10


# --- known units ---------------------------------------------------------------------------------------------------


def known_phone_loop(utterances: int, units: int = 10, seed: int = 0) -> list[dict]:
    """Speech (T, 6) drawn from a phone loop of three-state units, and the unit of each frame.

    The states of a unit are apart by as much as the noise; neighbouring frames are independent.
    """
    rng = np.random.default_rng(seed)
    means = 3 * rng.normal(size=(units, 1, 6)) + rng.normal(size=(units, 3, 6))
    feats, truth = {}, {}
    for u in range(utterances):
        labels = rng.integers(0, units, rng.integers(8, 20))
        lasts = rng.geometric(0.35, (len(labels), 3))
        at = np.repeat(means[labels].reshape(-1, 6), lasts.ravel(), 0)
        feats[f"u{u}"] = (at + rng.normal(size=at.shape)).astype(np.float32)
        ends = np.cumsum(lasts.sum(1)).tolist()  # one frame a second
        truth[f"u{u}"] = [
            Interval(str(unit), begin, end) for unit, begin, end in zip(labels, [0, *ends], ends, strict=False)
        ]
    return [feats, truth]


def agreement(method: PseudoPhones, feats: dict, truth: dict) -> float:
    runs = dict(zip(feats, method.encode(list(feats.values())), strict=True))
    return phone_stats({u: r[0] for u, r in runs.items()}, {u: r[1] for u, r in runs.items()}, truth, 1.0)["nmi"]


CONFIG = PseudoPhonesConfig(num_units=20, lda_dim=0, components=1, weight=1.0, epochs=6, batch_frames=2000)


@pytest.fixture(scope="module")
def recovered() -> PseudoPhones:
    return PseudoPhones.train(known_phone_loop(100)[0], CONFIG)


def test_known_units_are_recovered(recovered: PseudoPhones) -> None:
    feats, truth = ({u: x for u, x in part.items() if int(u[1:]) >= 100} for part in known_phone_loop(130))
    assert agreement(recovered, feats, truth) >= 0.9
    assert (recovered.loop.counts.enter > 40).sum() == 10  # of twenty; all others are hardly used


def test_both_ways_of_learning_raise_the_bound() -> None:
    feats, _ = known_phone_loop(30)
    labels = [np.random.default_rng(0).integers(0, 20, len(x) // 4).repeat(4) for x in feats.values()]
    frames = [x[: len(y)] for x, y in zip(feats.values(), labels, strict=True)]
    start = first_loop(frames, labels, CONFIG)
    assert float(start.counts.mixture.sum()) == sum(map(len, frames))
    assert torch.equal(start.counts.stay + start.counts.leave, start.counts.mixture.sum(0))
    full, bounds = fit(start, frames, replace(CONFIG, batch_frames=0, epochs=8))
    assert len(bounds) == 8 and np.diff(bounds).min() > -1e-5 * abs(bounds[-1])  # of float32
    loop, estimates = fit(start, frames, replace(CONFIG, batch_frames=500, epochs=5))
    pieces = [torch.from_numpy(x) for x in frames]
    reached, reached_full = (some.expect(pieces)[0] - some.kl() for some in (loop, full))
    assert len(estimates) > 5 * 5
    assert reached > bounds[1] and reached_full > bounds[-1]


def test_minibatches_are_computed_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large minibatch takes no more memory than a small one, and learns what it would at once."""
    feats, _ = known_phone_loop(20)
    frames = [x[:100] for x in feats.values()]
    start = first_loop(frames, [np.arange(len(x)) // 5 % 20 for x in frames], CONFIG)
    config = replace(CONFIG, batch_frames=1000, epochs=2)
    at_once, bounds = fit(start, frames, config)
    monkeypatch.setattr(pseudo_phones, "CHUNK", 100)
    sizes: list[int] = []
    expect = PhoneLoop.expect
    monkeypatch.setattr(PhoneLoop, "expect", lambda loop, part: sizes.append(sum(map(len, part))) or expect(loop, part))
    in_chunks, same = fit(start, frames, config)
    assert len(bounds) == len(same) == 4 and max(sizes) == 100 and len(sizes) == 40
    np.testing.assert_allclose(bounds, same, rtol=1e-5)
    torch.testing.assert_close(at_once.counts.mixture, in_chunks.counts.mixture, rtol=1e-3, atol=1e-2)


# --- faults --------------------------------------------------------------------------------------------------------


def test_speech_shorter_than_a_unit_is_one_unit(recovered: PseudoPhones) -> None:
    frames = known_phone_loop(1)[0]["u0"]
    for length, (units, durations) in zip((1, 2, 3), recovered.encode([frames[:n] for n in (1, 2, 3)]), strict=True):
        assert units.shape == (1,) and durations.tolist() == [length]


def test_units_are_run_length_collapsed(recovered: PseudoPhones) -> None:
    """A unit that follows itself is one run; all others last three frames at least."""
    still = np.repeat(known_phone_loop(1)[0]["u0"], 9, axis=0)
    for units, durations in recovered.encode([still, still[:50]]):
        assert (np.diff(units) != 0).all() and durations.min() >= 3
    assert durations.sum() == 50


def test_batches_change_nothing(recovered: PseudoPhones) -> None:
    feats = list(known_phone_loop(6)[0].values())
    for together, x in zip(recovered.encode(feats), feats, strict=True):
        (alone,) = recovered.encode([x])
        assert [a.tolist() for a in alone] == [a.tolist() for a in together]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "no frames of speech"),
        ({"a": np.zeros((3, 2), np.float32)}, "only 3 frames of speech for 5 units"),
        ({u: np.random.default_rng(0).normal(size=(2, 2)) for u in "abcdef"}, "no utterance has 3 frames"),
        ({"a": np.zeros((9, 2), np.float32), "b": np.zeros((9, 3), np.float32)}, "[ab]: features have shape"),
        ({"a": np.full((9, 2), np.nan, np.float32)}, "a: features hold NaN"),
    ],
)
def test_training_refuses(table: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PseudoPhones.train(table, PseudoPhonesConfig(num_units=5))


def test_speech_without_any_change_can_be_learned_from() -> None:
    method = PseudoPhones.train({"a": np.ones((60, 2), np.float32)}, PseudoPhonesConfig(num_units=5, lda_dim=0))
    ((units, durations),) = method.encode([np.ones((9, 2), np.float32)])
    assert len(units) >= 1 and durations.sum() == 9


@pytest.mark.parametrize(
    "options",
    [{"states": 0}, {"weight": 0.0}, {"concentration": float("nan")}, {"batch_frames": -1}, {"forgetting": 0.4}],
)
def test_config_refuses(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="it must be at least"):
        PseudoPhonesConfig(**options)  # type: ignore[arg-type]


def test_saved_whole(recovered: PseudoPhones, tmp_path: Path) -> None:
    feats = list(known_phone_loop(3)[0].values())
    recovered.save(tmp_path)
    loaded = PseudoPhones.load(tmp_path, CONFIG)
    assert (loaded.size, loaded.dim) == (20, 6)
    for a, b in zip(recovered.encode(feats), loaded.encode(feats), strict=True):
        assert a[0].tolist() == b[0].tolist() and a[1].tolist() == b[1].tolist()
    (tmp_path / "hmm.npz").write_bytes((tmp_path / "hmm.npz").read_bytes()[:500])
    with pytest.raises(UserError, match="units cannot be read"):
        PseudoPhones.load(tmp_path, CONFIG)


# --- the stage -----------------------------------------------------------------------------------------------------


def test_stage_without_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units, BPE and statistics from a folder with speech features and nothing else; then speech encoded again."""
    monkeypatch.chdir(tmp_path)
    for seed, split in enumerate(("train", "dev", "test")):
        data = Path("data") / split
        with write_ark(data / "mfcc.ark", data / "unit_feats.scp") as write:
            for key, matrix in known_phone_loop(12, units=4, seed=seed).pop(0).items():
                write(f"{split}-{key}", matrix)
        (data / "features.json").write_text(json.dumps(to_dict(SpeechFeatureConfig())))
    stage = (ROOT / "steps" / "units.sh", "--nj", "2", "--units", "pseudo-phones", "--num-units", "6")
    options = ("--unit-bpe", "12", "--overrides", "epochs=2 lda_dim=4 components=1")
    done = run(*stage, *options, "data", "exp/units", cwd=tmp_path)
    assert "perplexity" in done.stdout
    log = Path("exp/units/log/train.log").read_text()
    assert "epoch 2 of 2: ELBO" in log
    inventory = load("exp/units")
    manifest = inventory.manifest
    assert (manifest["method"], manifest["inventory"]) == ("pseudo-phones", sha256("exp/units/hmm.npz"))
    assert "min_run" not in manifest and inventory.bpe is not None
    for split in ("train", "dev", "test"):
        feats = Matrices(f"data/{split}/unit_feats.scp")
        units, durations = (read_int_table(f"exp/units/{split}/{name}") for name in ("units", "unit_durations"))
        for key, (row, lengths) in inventory.encode(feats).items():
            assert (units[key], durations[key]) == (row.tolist(), lengths.tolist())
            assert sum(durations[key]) == len(feats[key])
            assert inventory.bpe.decode(inventory.bpe.encode(units[key])) == units[key]
    assert json.loads(Path("exp/units/stats.json").read_text())["dev"]["inventory"] == 6
    # A finished inventory tells its method by itself.
    run(sys.executable, "-m", "i2s.bin.encode_units", "exp/units", "data/dev/unit_feats.scp", "u", "d", cwd=tmp_path)
    assert Path("u").read_text() == Path("exp/units/dev/units").read_text()
    other = run(*stage, "--min-run", "2", "data", "exp/other", cwd=tmp_path, check=False)
    assert other.returncode != 0 and "unknown key 'min_run'" in other.stderr and "Traceback" not in other.stderr
