"""Recipes of egs/ copied to a folder of their own, so that tests leave none of theirs in the project."""

from __future__ import annotations

import shutil
from pathlib import Path

from .conftest import ROOT

# Options that make every stage as short as it can be.
TINY = [
    *("--nj", "2", "--num-units", "16", "--unit-bpe", "0", "--image-feats", "efficientnet-lite0"),
    *("--size", "small"),
    *("--i2u-args", "epochs=1 d_model=32 layers=1 batch_size=16"),
    *("--u2s-args", "epochs=1 width=32 batch_size=16"),
    *("--search-args", "beam=2 max_length=40"),
]


def copy_recipe(name: str, project: Path) -> Path:
    """`project`/egs/`name`, with links to everything that a recipe uses of the project."""
    folder = project / "egs" / name
    shutil.copytree(ROOT / "egs" / name, folder, ignore=shutil.ignore_patterns("data", "exp", "downloads"))
    for part in ("run.sh", "path.sh", "cmd.sh", "requirements.txt", "constraints.txt", "conf", "utils", "steps", "i2s"):
        (project / part).symlink_to(ROOT / part)
    return folder
