"""Recipes of egs/ copied to a folder of their own, so that tests leave none of theirs in the project."""

from __future__ import annotations

import shutil
from pathlib import Path

from .conftest import ROOT, run

# Options that make every stage as short as it can be.
TINY = [
    *("--nj", "2", "--num-units", "16", "--unit-bpe", "0", "--image-feats", "efficientnet-lite0"),
    *("--size", "small"),
    *("--i2u-args", "epochs=1 d_model=32 layers=1 batch_size=16"),
    *("--u2s-args", "epochs=1 width=32 batch_size=16"),
    *("--search-args", "beam=2 max_length=40"),
]


def check_options(name: str, own: str) -> None:
    """The recipe's `own` option, a folder, is told of, and checked; the others are those of the main run.sh."""
    recipe = ROOT / "egs" / name / "run.sh"
    done = run(recipe, "--help", I2S_VENV="none")
    assert f"{own} DIR" in done.stdout and "--stop-stage" in done.stdout
    done = run(recipe, own, "/nowhere", check=False)
    assert done.returncode == 2 and "no such file or folder" in done.stderr
    done = run(recipe, f"{own}x", "x", check=False, I2S_VENV="none")
    assert done.returncode == 2 and f"unknown option {own}x" in done.stderr


def copy_recipe(name: str, project: Path) -> Path:
    """`project`/egs/`name`, with links to everything that a recipe uses of the project."""
    folder = project / "egs" / name
    shutil.copytree(ROOT / "egs" / name, folder, ignore=shutil.ignore_patterns("data", "exp", "downloads"))
    scripts, folders = ("run.sh", "path.sh", "cmd.sh"), ("conf", "local", "utils", "steps", "i2s")
    for part in (*scripts, "requirements.txt", "constraints.txt", *folders):
        (project / part).symlink_to(ROOT / part)
    return folder
