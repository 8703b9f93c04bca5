"""Training: exact resume, early stop, best checkpoint, schedule, batches, and what is printed."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from i2s.errors import UserError
from i2s.train.fit import Module, TrainConfig, fit, load_weights, lr_factor
from i2s.train.samplers import LengthBatchSampler


@dataclass(frozen=True)
class ToyConfig(TrainConfig):
    epochs: int = 4
    batch_size: int = 8
    precision: str = "32"  # type: ignore[assignment]
    warmup_steps: int = 3
    lr: float = 0.01
    worse_after: int = 99  # the dev score rises from this epoch on


class Lines(Dataset):
    """y = 2x + noise, with items of different "lengths"."""

    def __init__(self, size: int):
        rng = np.random.default_rng(size)
        self.x = torch.tensor(rng.normal(size=(size, 4)), dtype=torch.float32)
        self.y = 2 * self.x.sum(1, keepdim=True)
        self.lengths = rng.integers(5, 50, size)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[i], self.y[i]


class Toy(Module):
    """A network with dropout, so that randomness matters. It keeps what it saw, and can stop like a kill."""

    def __init__(self, config: ToyConfig, at_batch: Callable[[int, int], None] = lambda epoch, batch: None):
        super().__init__()
        lightning.seed_everything(config.seed, verbose=False)
        self.config: ToyConfig = config
        self.at_batch = at_batch
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
        )
        self.seen: list[tuple[int, float]] = []
        self.rates: list[float] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.at_batch(self.current_epoch, index)
        x, y = batch
        self.seen.append((self.current_epoch, float(x.sum())))
        self.rates.append(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return torch.nn.functional.mse_loss(self.net(x), y)

    def validation_step(self, batch: Any, index: int) -> None:
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        if self.current_epoch >= self.config.worse_after:
            loss = loss + 1000 * (self.current_epoch + 1)
        self.log("dev/score", loss, batch_size=len(x), sync_dist=True)


def train(folder: Path, config: ToyConfig, **options: Any) -> tuple[Toy, Path]:
    data = Lines(60)
    model = Toy(config, **options)
    sampler = LengthBatchSampler(data.lengths, config.batch_size, max_total=250, seed=config.seed)
    dev = DataLoader(Lines(20), batch_size=10)
    return model, fit(model, DataLoader(data, batch_sampler=sampler, num_workers=config.workers), dev, folder)


class Killed(BaseException):
    """Leaves training at once, as a kill does."""


def kill_at(epoch: int, batch: int) -> Callable[[int, int], None]:
    def at(e: int, b: int) -> None:
        if (e, b) == (epoch, batch):
            raise Killed

    return at


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return all(torch.equal(x[k], y[k]) for k in x)


def test_resumed_training_equals_undisturbed(tmp_path):
    config = ToyConfig()
    whole, best = train(tmp_path / "whole", config)
    for epoch, batch in ((0, 3), (1, 0), (3, 2)):  # one kill after another, in one folder
        with pytest.raises(Killed):
            train(tmp_path / "killed", config, at_batch=kill_at(epoch, batch))
    resumed, best_resumed = train(tmp_path / "killed", config)
    assert same(whole, resumed)
    assert resumed.rates == whole.rates[-len(resumed.rates) :] and len(resumed.rates) < len(whole.rates)
    assert resumed.seen == whole.seen[-len(resumed.seen) :]
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (best, best_resumed))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    load_weights(resumed, best_resumed)
    assert not resumed.training


def test_a_finished_training_is_not_repeated_and_can_be_moved(tmp_path):
    whole, _ = train(tmp_path / "a", ToyConfig())
    (tmp_path / "a").rename(tmp_path / "b")
    again, best_again = train(tmp_path / "b", ToyConfig())
    assert again.seen == [] and best_again == tmp_path / "b/checkpoints/best.ckpt" and best_again.is_file()
    assert same(whole, again)


@pytest.mark.parametrize(
    ("cpu_name", "instructions", "faster"),
    [
        ("Intel Xeon", ["avx512_bf16"], False),
        ("Intel Xeon", ["avx512_bf16", "amx_bf16"], True),
        ("AMD EPYC", ["avx512_bf16"], True),
        ("AMD EPYC", [], False),
    ],
)
def test_precision_is_that_which_is_faster_here(tmp_path, monkeypatch, cpu_name, instructions, faster):
    capabilities = {"cpu_name": cpu_name, **dict.fromkeys(instructions, True)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)

    def mixed(precision: str) -> bool:
        found: set[bool] = set()
        config = ToyConfig(epochs=1, precision=precision)
        train(tmp_path / precision, config, at_batch=lambda *_: found.add(torch.is_autocast_enabled("cpu")))
        (everywhere,) = found
        return everywhere

    assert mixed("auto") == faster and mixed("bf16") and not mixed("32")


def test_every_epoch_sees_other_batches(tmp_path):
    model, _ = train(tmp_path, ToyConfig(epochs=3))
    epochs = [[x for e, x in model.seen if e == epoch] for epoch in range(3)]
    assert len(epochs[0]) == len(epochs[1]) == len(epochs[2])
    assert epochs[0] != epochs[1] and epochs[1] != epochs[2]


def test_early_stop_keeps_the_best_and_survives_a_kill(tmp_path):
    config = ToyConfig(epochs=9, patience=2, worse_after=3)
    whole, best = train(tmp_path / "whole", config)
    assert max(e for e, _ in whole.seen) == 4  # the best is epoch 2, then two epochs of patience
    assert torch.load(best, weights_only=True)["epoch"] == 2
    for epoch in (3, 4):
        with pytest.raises(Killed):
            train(tmp_path / "killed", config, at_batch=kill_at(epoch, 1))
    resumed, best_resumed = train(tmp_path / "killed", config)
    assert max(e for e, _ in resumed.seen) == 4 and same(whole, resumed)
    assert torch.load(best_resumed, weights_only=True)["epoch"] == 2
    assert train(tmp_path / "killed", config)[0].seen == []  # stopped for good


def test_a_new_score_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(UserError, match="diverged"):
        train(tmp_path, ToyConfig(lr=1e30, grad_clip=0.0, warmup_steps=0))


def test_damaged_checkpoints(tmp_path):
    train(tmp_path, ToyConfig(epochs=1))
    last, best = tmp_path / "checkpoints/last.ckpt", tmp_path / "checkpoints/best.ckpt"
    last.write_bytes(last.read_bytes()[:500])
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be read"):
        train(tmp_path, ToyConfig(epochs=2))
    best.write_bytes(b"")
    with pytest.raises(UserError, match=r"best\.ckpt: cannot be loaded"):
        load_weights(Toy(ToyConfig()), best)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_weights(Toy(ToyConfig()), tmp_path / "none.ckpt")


@pytest.mark.parametrize("key, value", [("epochs", 0), ("batch_size", 0), ("lr", 0.0), ("patience", -1)])
def test_impossible_options(key, value):
    with pytest.raises(UserError, match=key):
        ToyConfig(**{key: value})


def test_schedule():
    config = TrainConfig(warmup_steps=10)
    factors = [lr_factor(config, step, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(factors[9:]))
    assert factors[100] == pytest.approx(0.01)
    assert lr_factor(replace(config, schedule="constant"), 100, 100) == 1.0
    assert lr_factor(replace(config, schedule="exponential"), 55, 100) == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), max_size=80), size=st.integers(1, 20), bound=st.integers(0, 900),
    shuffle=st.booleans(), seed=st.integers(0, 5),
)  # fmt: skip
def test_batches_hold_every_item_once_within_the_bounds(lengths, size, bound, shuffle, seed):
    sampler = LengthBatchSampler(lengths, size, bound, seed, shuffle)
    for epoch in (0, 1, 7):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch) <= size
            assert not bound or len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= bound
        assert batches == list(sampler)


def test_ranks_share_the_batches(monkeypatch):
    import i2s.train.samplers as samplers

    sampler = LengthBatchSampler(list(range(1, 24)), 4)
    whole = list(sampler)
    shares = []
    for rank in range(4):
        monkeypatch.setattr(samplers, "_rank_and_world", lambda rank=rank: (rank, 4))
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == 2
    assert {tuple(b) for share in shares for b in share} == {tuple(b) for b in whole}
    monkeypatch.setattr(samplers, "_rank_and_world", lambda: (2, 3))
    assert len(list(LengthBatchSampler([3], 4))) == 1  # fewer batches than ranks


SCRIPT = """
import logging, sys, time
sys.path.insert(0, "tests")
from pathlib import Path
from i2s.cli import run
from test_train import ToyConfig, train
def main():
    train(Path(sys.argv[1]), ToyConfig(epochs=6), at_batch=lambda e, b: time.sleep(float(sys.argv[2])))
run(main)
"""


def test_log_of_a_killed_and_resumed_training(tmp_path):
    """kill -9 from outside; the log holds a line an epoch, a few lines of progress and nothing else."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "m")]
    with subprocess.Popen([*command, "0.02"], stderr=subprocess.DEVNULL, start_new_session=True) as child:
        while not (tmp_path / "m/checkpoints/last.ckpt").exists() and child.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)
        os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert "going on after" in lines[0]
    epochs = [line for line in lines if "INFO epoch" in line]
    assert "epoch 6/6: train loss" in epochs[-1] and "dev score" in epochs[-1] and 1 <= len(epochs) < 6
    assert all("INFO" in line or line.startswith("training") for line in lines), lines
    assert len(lines) < 14 and "Warning" not in done.stderr
    whole, _ = train(tmp_path / "whole", ToyConfig(epochs=6))
    killed = torch.load(tmp_path / "m/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(killed[k], v) for k, v in whole.state_dict().items())


def test_epoch_lines(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train(tmp_path, ToyConfig(epochs=2))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
