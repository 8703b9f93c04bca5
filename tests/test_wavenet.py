"""WaveNet: its distribution by brute force, cached generation beside the whole network, its training, its files."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from i2s import vocoder
from i2s.archive import write_ark
from i2s.audio import write_wav
from i2s.bin import train_vocoder
from i2s.config import to_dict
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig, log_mel
from i2s.vocoder.logistics import LEVELS, draw, log_likelihood
from i2s.vocoder.segments import Segments, SegmentSampler
from i2s.vocoder.wavenet import Cache, WaveNetVocoder, generate
from i2s.vocoder.wavenet_model import (
    CONTEXT,
    Batch,
    Conditioner,
    Network,
    WaveNet,
    WaveNetConfig,
    frames_around,
    two_factors,
)  # fmt: skip
from tests.conftest import ROOT, run

FEATURES = SpeechFeatureConfig(
    sample_rate=8000, n_fft=128, win_length=128, hop_length=32, n_mels=8, n_mfcc=8, fmax=4000.0
)
TINY = WaveNetConfig(
    n_mels=8, hop_length=32, stacks=2, layers=3, kernel=3, residual_channels=8, gate_channels=6, skip_channels=16,
    condition_channels=5, components=3, segment=6, ema=0.9, epochs=2, batch_size=4, lr=0.01, warmup_steps=2,
)  # fmt: skip
rng = np.random.default_rng(0)


def tiny_network(**others: object) -> Network:
    torch.manual_seed(0)
    return Network(replace(TINY, **others)).double().requires_grad_(False)  # type: ignore[arg-type]


def some_mel(frames: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(1, frames + 2 * CONTEXT, TINY.n_mels)))


# The distribution


def brute_force(parameters: np.ndarray, levels: int) -> np.ndarray:
    """Probabilities of all levels, as differences of the distribution function."""
    logits, means, scales = np.split(parameters, 3)
    edges = (2 * np.arange(1, levels) - 1) / levels - 1  # between one level and the next
    below = np.exp(logits) / np.exp(logits).sum() * expit((edges[:, None] - means) / np.exp(scales))
    return np.diff(below.sum(1), prepend=0.0, append=1.0)


def all_levels(levels: int) -> torch.Tensor:
    return torch.arange(-levels // 2, levels // 2, dtype=torch.float64) / (levels / 2)


@pytest.mark.parametrize("levels", [16, 256, LEVELS])
def test_likelihood_is_that_of_the_distribution_function(levels: int) -> None:
    for parameters in (
        [0.3, -1.0, 2.0, -0.9, 0.1, 0.95, -1.0, -4.0, -2.5],
        [0.0, 0.0, 0.0, -1.3, 1.4, 0.0, -1.0, -1.0, 2.0],  # much of it lies beyond the edges
        [0.5, 0.0, 0.1, -1.0, 1 - 2 / levels, 0.3, -6.0, -6.0, -5.0],
    ):
        found = log_likelihood(torch.tensor(parameters, dtype=torch.float64), all_levels(levels), levels).exp()
        assert abs(float(found.sum()) - 1) < 1e-9
        np.testing.assert_allclose(found.numpy(), brute_force(np.array(parameters), levels), atol=1e-12)


def test_likelihood_far_from_all_means_is_finite_and_can_be_learned_from() -> None:
    parameters = torch.tensor([0.0, 0.0, -0.9, -0.8, -50.0, -6.0]).repeat(3, 1).requires_grad_()
    found = log_likelihood(parameters, torch.tensor([-1.0, 0.7, 1 - 2 / LEVELS]))
    found.sum().backward()
    assert parameters.grad is not None and found.isfinite().all() and parameters.grad.isfinite().all()
    assert parameters.grad[1, 3] > 0  # the mean of the nearest, here the wider, is drawn to the sample


def test_what_is_drawn_is_distributed_as_the_likelihood_says() -> None:
    levels, count = 32, 200_000
    parameters = torch.tensor([0.3, -1.0, 1.0, -0.9, 0.1, 0.8, -1.5, -4.0, -1.5], dtype=torch.float64)
    noise = torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = draw(parameters.expand(count, -1), noise, levels)
    places, counts = torch.unique(drawn, return_counts=True)
    assert set(places.tolist()) <= set(all_levels(levels).tolist())
    share = {place: n / count for place, n in zip(places.tolist(), counts.tolist(), strict=True)}
    expected = log_likelihood(parameters, all_levels(levels), levels).exp().tolist()
    for place, probability in zip(all_levels(levels).tolist(), expected, strict=True):
        assert abs(share.get(place, 0.0) - probability) < 5 * math.sqrt(probability / count) + 1e-5


# The network


def test_each_sample_depends_on_its_receptive_field_alone() -> None:
    assert TINY.receptive_field == 1 + 2 * 2 * (1 + 2 + 4)
    assert WaveNetConfig().receptive_field == 6139
    network, t = tiny_network(), 40
    wavs = torch.from_numpy(rng.normal(size=(1, 64)) * 0.1).requires_grad_()
    network(wavs, network.conditioner(some_mel(2)))[0, t].sum().backward()
    assert wavs.grad is not None
    assert wavs.grad[0].nonzero()[:, 0].tolist() == list(range(t - TINY.receptive_field, t))


@pytest.mark.parametrize("hop", [1, 7, 12, 32])
def test_a_segment_is_conditioned_as_in_its_utterance(hop: int) -> None:
    conditioner = Conditioner(replace(TINY, hop_length=hop)).double()
    mel = rng.normal(size=(20, TINY.n_mels))
    whole = conditioner(torch.from_numpy(frames_around(mel, 0, 20))[None])
    assert whole.shape == (1, TINY.condition_channels, 20 * hop)
    for first, count in ((0, 6), (9, 4), (14, 6)):
        part = conditioner(torch.from_numpy(frames_around(mel, first, count))[None])
        torch.testing.assert_close(part, whole[..., first * hop : (first + count) * hop])


def test_upsampling_is_in_two_steps_of_like_size() -> None:
    assert [two_factors(hop) for hop in (1, 7, 160, 256, 275)] == [(1, 1), (1, 7), (10, 16), (16, 16), (11, 25)]


# Generation


@pytest.mark.parametrize(("kernel", "stacks"), [(2, 1), (3, 2)])
def test_cached_steps_equal_the_whole_network(kernel: int, stacks: int) -> None:
    network = tiny_network(kernel=kernel, stacks=stacks)
    wavs = torch.from_numpy(rng.uniform(-1, 1, (3, 96)))
    condition = torch.cat([network.conditioner(some_mel(3)) for _ in wavs])
    whole = network(wavs, condition)
    assert (whole.std(1) > 1e-4).all()  # what is compared is not always the same
    with torch.inference_mode():
        cache = Cache(network, condition.permute(2, 0, 1))
        for t in range(96):
            if t == 61:  # (in the middle of blocks)
                cache.keep(2)
            before = wavs[:, t - 1] if t else torch.zeros(3).double()
            left = 2 if t >= 61 else 3
            torch.testing.assert_close(cache.step(before[:left]), whole[:left, t], rtol=0, atol=1e-10)


def test_generated_samples_are_drawn_from_the_network_one_after_another() -> None:
    network = tiny_network()
    condition = network.conditioner(some_mel(2))
    (wav,) = generate(network, [condition[0].T], seed=3)
    noise = torch.rand(1024, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    heard = torch.from_numpy(wav).double()[None]
    np.testing.assert_array_equal(draw(network(heard, condition)[0], noise[: len(wav)]).numpy(), wav)
    assert len(np.unique(wav)) > 30


# Training

PITCHES = (300, 700, 1500)  # Hz


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Data directories of tones of three pitches, and a click too short to train on."""
    data = tmp_path / "data"
    for split, count in (("train", 9), ("dev", 3)):
        folder, wavs = data / split, {}
        (folder / "wav").mkdir(parents=True)
        with write_ark(folder / "a.ark", folder / "feats.scp") as mels:
            for i in range(count + 1):
                samples = FEATURES.hop_length * (20 + i) + i if i < count else 80
                wav = 0.5 * np.sin(2 * np.pi * PITCHES[i % 3] / FEATURES.sample_rate * np.arange(samples) + i)
                wavs[f"{split}{i}"] = str(folder / "wav" / f"{i}.wav")
                write_wav(wavs[f"{split}{i}"], wav, FEATURES.sample_rate)
                mels(f"{split}{i}", log_mel(wav.astype(np.float32), FEATURES))
        write_table(folder / "wav.scp", wavs)
        (folder / "features.json").write_text(json.dumps(to_dict(FEATURES)))
    return data


def train(corpus: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **others: object) -> None:
    own = {k: v for k, v in to_dict(TINY).items() if v != to_dict(WaveNetConfig())[k]} | others
    overrides = [f"{k}={json.dumps(v)}" for k, v in own.items()]
    monkeypatch.setattr(sys, "argv", ["train_vocoder", "--overrides", *overrides, "--", str(corpus), str(folder)])
    train_vocoder.main()


def test_segments(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = Segments(corpus / "train", FEATURES, 6)
    assert "1 of 10 utterances are shorter" in caplog.text and len(data) == 9
    wav, mel = data[2, 5]
    assert wav.shape == (6 * 32,) and mel.shape == (6 + 2 * CONTEXT, 8)
    np.testing.assert_allclose(wav, 0.5 * np.sin(2 * np.pi * 1500 / 8000 * np.arange(160, 352) + 2), atol=1e-4)
    np.testing.assert_array_equal(mel, data.mels["train2"][1:15])
    first = data[0, 0][1]
    assert all(np.array_equal(first[i], first[CONTEXT]) for i in range(CONTEXT))  # the end is repeated
    batch = data.collate([data[0, 0], data[8, 3]])
    assert batch.wavs.shape == (2, 192) and batch.mels.shape == (2, 14, 8)

    with pytest.raises(UserError, match="no utterance has a wav and 999 frames"):
        Segments(corpus / "train", FEATURES, 999)
    wavs = read_table(corpus / "train/wav.scp")
    write_table(corpus / "train/wav.scp", wavs | {"train0": wavs["train8"], "train1": "echo |"})
    changed = Segments(corpus / "train", FEATURES, 6)
    with pytest.raises(UserError, match=r"904 samples, but a spectrogram of 20 frames.*run stage 4 again"):
        changed[0, 0]
    with pytest.raises(UserError, match="is a pipe"):
        changed[1, 0]


def test_segments_are_chosen_by_seed_and_epoch_alone() -> None:
    lengths = [6, 12, 20, 9, 14]

    def chosen(epoch: int, seed: int = 0, shuffle: bool = True) -> list[tuple[int, int]]:
        sampler = SegmentSampler(lengths, 6, 2, seed, shuffle)
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler)) == 3
        return [place for batch in sampler for place in batch]

    assert chosen(1) == chosen(1) and chosen(0) != chosen(1) != chosen(1, seed=1)
    seen = {place for epoch in range(200) for place in chosen(epoch)}
    assert seen == {(i, first) for i, n in enumerate(lengths) for first in range(n - 5)}
    assert sorted(chosen(7)) != sorted(chosen(8))
    assert sorted(chosen(3, shuffle=False)) == [(0, 0), (1, 3), (2, 7), (3, 1), (4, 4)]


def test_tones_are_learned_and_told_apart_by_their_spectrogram(corpus: Path) -> None:
    data = Segments(corpus / "train", FEATURES, 6)
    batch = data.collate([data[i, i] for i in range(9)])
    torch.manual_seed(0)
    model = WaveNet(replace(TINY, residual_channels=16, gate_channels=16))
    model.mel_mean, model.mel_std = data.mel_statistics()
    with torch.no_grad():
        untrained = float(model.bits(model.network, batch))
    optimiser = torch.optim.Adam(model.network.parameters(), lr=0.01)
    # Decayed to nothing: the loss of mixtures jumps, so that where it ends would hang on how a CPU rounds.
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=240)
    for _ in range(240):
        optimiser.zero_grad()
        bits = model.bits(model.network, batch)
        bits.backward()
        optimiser.step()
        decay.step()
    model.eval()
    with torch.no_grad():
        trained = float(model.bits(model.network, batch))
        mistold = float(model.bits(model.network, Batch(batch.wavs, batch.mels.roll(1, 0))))
    assert trained < untrained - 4 and trained < mistold - 0.5


def test_the_average_follows_the_weights(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(corpus, tmp_path / "none", monkeypatch, ema=0)
    train(corpus, tmp_path / "some", monkeypatch, ema=0.9)
    none, some = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("none", "some")
    )
    network = {k: v for k, v in none.items() if k.startswith("network.")}
    assert network and all(torch.equal(v, some[k]) for k, v in network.items())  # training is not changed by it
    assert all(torch.equal(v, none[k.replace("network.", "averaged.", 1)]) for k, v in network.items())
    assert not torch.equal(some["averaged.last.weight"], some["network.last.weight"])


def test_resumed_training_ends_in_the_same_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(corpus, tmp_path / "whole", monkeypatch)

    class Killed(BaseException):
        """Leaves training at once, as a kill does."""

    def killed(self: WaveNet, batch: Batch, index: int) -> torch.Tensor:
        if (self.current_epoch, index) == (1, 1):
            raise Killed
        return step(self, batch, index)

    step = WaveNet.training_step
    monkeypatch.setattr(WaveNet, "training_step", killed)
    with pytest.raises(Killed):
        train(corpus, tmp_path / "killed", monkeypatch)
    monkeypatch.setattr(WaveNet, "training_step", step)
    with pytest.raises(UserError, match="another configuration"):
        train(corpus, tmp_path / "killed", monkeypatch, lr=0.1)
    train(corpus, tmp_path / "killed", monkeypatch)
    whole, resumed = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "killed")
    )
    assert whole["global_step"] == resumed["global_step"] == 6
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())


# The vocoder


def test_trained_weights_speak(corpus: Path, tmp_path: Path) -> None:
    """By the script that users call; each utterance as if it were alone, and always the same."""
    folder, config = tmp_path / "wavenet", tmp_path / "tiny.yaml"
    config.write_text(json.dumps({k: v for k, v in to_dict(TINY).items() if k not in ("n_mels", "hop_length")}))
    step = (ROOT / "steps/train_vocoder.sh", "--config", config, "--overrides", "epochs=1", corpus, folder)
    run(*step)
    assert "up to date" in run(*step).stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["kind"] == "vocoder" and manifest["features"] == to_dict(FEATURES)

    to_wav = vocoder.load("wavenet", FEATURES, folder)
    mels = [rng.normal(size=(n, 8)).astype(np.float32) for n in (2, 9, 5, 9)]
    together = to_wav(mels)
    for mel, wav in zip(mels, together, strict=True):
        assert wav.dtype == np.float32 and wav.shape == (len(mel) * 32,) and np.abs(wav).max() <= 1
        np.testing.assert_array_equal(wav, to_wav([mel])[0])
    assert not np.array_equal(together[1], together[3])
    by_file = vocoder.load("wavenet", FEATURES, folder / "checkpoints/best.ckpt")
    np.testing.assert_array_equal(by_file(mels[:1])[0], together[0])
    to_wav.config = replace(to_wav.config, noise_seed=1)
    assert not np.array_equal(to_wav(mels[:1])[0], together[0])
    with pytest.raises(UserError, match="NaN"):
        to_wav([np.full((3, 8), np.nan, np.float32)])

    WaveNetVocoder(replace(FEATURES, n_mfcc=4), folder)  # MFCC are not spectrograms
    for key, value in (("sample_rate", 16000), ("hop_length", 16), ("fmin", 50.0)):
        with pytest.raises(UserError, match=f"with {key} .*, but these have {value}"):
            WaveNetVocoder(replace(FEATURES, **{key: value}), folder)
    (folder / "checkpoints/best.ckpt").unlink()
    with pytest.raises(UserError, match="no such checkpoint"):
        WaveNetVocoder(FEATURES, folder)


def test_faults_of_weights_and_options(tmp_path: Path) -> None:
    for path, message in ((None, "no folder given"), (tmp_path / "none", "no such folder"), (tmp_path, "no finished")):
        with pytest.raises(UserError, match=message):
            vocoder.load("wavenet", FEATURES, path)
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "sas"}))
    with pytest.raises(UserError, match="kind 'sas', expected 'vocoder'"):
        vocoder.load("wavenet", FEATURES, tmp_path)
    for wrong in ({"kernel": 1}, {"layers": 0}, {"ema": 1.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            replace(TINY, **wrong)
