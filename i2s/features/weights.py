"""Weights of image networks: where they lie, and how they are read safely."""

from __future__ import annotations

import pickle
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from i2s.errors import UserError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

State = dict[str, torch.Tensor]


def find_weights(name: str, path: Path | None, patterns: list[str], official: WeightsEnum | None) -> Path:
    """The weights file of the network `name`.

    `path` (of --image-weights) is a file, or a folder that is searched for `patterns` (globs, the first that matches
    counts). Without a path the official weights are downloaded, once, into torch's cache and checked by their hash.
    Raises UserError that says which file to put where.
    """
    if path is None:
        if official is None:
            raise UserError(f"--image-feats {name} has no official download; give --image-weights FILE")
        return _download(name, official)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"--image-weights {path}: no such file or folder")
    for pattern in patterns:
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            raise UserError(f"--image-weights {path}: {len(found)} files match {pattern}; name one of them")
        if found:
            return found[0]
    raise UserError(f"--image-weights {path}: no file {' or '.join(patterns)} for --image-feats {name}")


def load_state(path: Path) -> State:
    """The state dict of a .pth file, without unpickling anything but tensors. Raises UserError for any other file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = (str(e).splitlines() or ["it ends too early"])[0]
        raise UserError(f"{path}: not a PyTorch weights file, or damaged: {reason}") from e
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path}: expected a state dict (names and tensors)")
    return state


def fill(network: torch.nn.Module, state: State, path: Path, name: str) -> None:
    """Load `state` into `network`. Raises UserError that names a missing or unfitting tensor of `path`."""
    wanted = network.state_dict()
    for key, tensor in wanted.items():
        if key.endswith("num_batches_tracked"):
            continue
        if key not in state:
            raise UserError(f"{path}: no weights of {name}: {key} is missing")
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
            raise UserError(f"{path}: no weights of {name}: {key} has shape {shapes}")
    network.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)


def _download(name: str, official: WeightsEnum) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(official.url).name
    if not file.is_file():
        try:
            # (Reads the file too, which costs less than doing the download and its check over again here.)
            official.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (urllib.error.URLError, OSError, RuntimeError) as e:
            raise UserError(
                f"--image-feats {name}: cannot download {official.url}: {getattr(e, 'reason', e)}\n"
                f"Fetch that file on a machine with a network and put it at {file}, or pass --image-weights FILE."
            ) from e
    return file
