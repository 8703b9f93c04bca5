"""Fixtures that several test files share."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from i2s.errors import UserError
from i2s.u2s.base import UnitToSpeech

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path = ROOT, check: bool = True, **env: str) -> subprocess.CompletedProcess:
    """Run a command as a user would, in the project's environment; output as text."""
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        text=True,
        capture_output=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{command} ended with status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def alive(marker: str) -> bool:
    """Whether a process with this word in its command line is running."""
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in cmdline.read_bytes():
                return True
        except OSError:
            continue
    return False


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest, whole recipes, first: else the last of them keeps one worker busy while the others have ended."""
    items.sort(key=lambda item: item.get_closest_marker("recipe") is None)


def refuses_units_that_do_not_fit(model: UnitToSpeech, size: int) -> None:
    """What every model of unit to speech, of so many units, has to refuse."""
    for units, message in [([[1], [size]], f"unit {size}"), ([[-1]], "unit -1"), ([[1], []], "holds no units")]:
        with pytest.raises(UserError, match=message):
            model.synthesise(units)
    for durations in ([[1, 2]], [[0]]):
        with pytest.raises(UserError, match="duration"):
            model.synthesise([[1]], durations)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory) -> Path:
    """A folder holding data/ and exp/ of the embedded corpus's recipe, run whole at the smallest size."""
    folder = tmp_path_factory.mktemp("recipe")
    run(ROOT / "run.sh", *tiny_options(folder))
    return folder


def tiny_options(folder: Path) -> list[str]:
    """Options that make run.sh run all stages in about a minute, into `folder`."""
    return [
        *("--data", str(folder / "data"), "--exp", str(folder / "exp"), "--downloads", str(folder / "downloads")),
        *("--nj", "2", "--prepare-args", "--num-train 16 --num-dev 4 --num-test 4"),
        *("--num-units", "16", "--unit-bpe", "32"),
        *("--i2u-args", "epochs=2 d_model=32 heads=4 layers=1 d_ff=64 batch_size=16"),
        *("--u2s-args", "epochs=2 width=32 unit_layers=1 frame_layers=1"),
        *("--search-args", "beam=2 max_length=40"),
    ]
