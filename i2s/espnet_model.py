"""Finding the files of a trained ESPnet2 model: a model folder as ESPnet trains or packs it, or a published tag."""

from __future__ import annotations

import io
import logging
import pickle
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
import yaml

from i2s.errors import UserError

# What ESPnet calls the checkpoints that its recipes decode with, best first.
_CHECKPOINTS = (
    "valid.acc.ave.pth",
    "train.loss.ave.pth",
    "valid.loss.ave.pth",
    "valid.acc.best.pth",
    "valid.loss.best.pth",
)


def find(model: str, option: str, keys: tuple[str, str], work: str | Path) -> dict[str, str]:
    """The arguments that `espnet2.bin.*_inference` takes to load `model`.

    `model` is a folder with meta.yaml (a packed model, unpacked: it names the files), a training folder (config.yaml
    and a .pth), or a tag, which needs the package espnet_model_zoo. `keys` are the arguments' names of the
    configuration and the checkpoint, such as ("train_config", "model_file"); meta.yaml may name more of them. Paths
    in the configuration that are relative to the model's folder are made absolute, in copies in the folder `work`.

    Raises UserError, which begins with `option`, for a missing or unsafe file.
    """
    if not model:
        raise UserError(f"{option}: which model? give its folder or tag: {option.split()[0]}-options model=FOLDER")
    folder = Path(model)
    if not folder.is_dir():
        files = _download(model, option)
        root = Path(next(iter(files.values()))).parent
    elif (folder / "meta.yaml").is_file():
        meta = check_yaml(folder / "meta.yaml", option)
        named = {**(meta.get("files") or {}), **(meta.get("yaml_files") or {})}
        files, root = {key: str(folder / path) for key, path in named.items()}, folder
    else:
        files, root = {keys[0]: str(folder / "config.yaml"), keys[1]: str(_checkpoint(folder, option))}, folder
    for key in keys:
        if key not in files:
            raise UserError(f"{option}: {folder}/meta.yaml names no {key}; is it a model of another kind?")
    for key, path in files.items():
        if not Path(path).is_file():
            raise UserError(f"{option}: {path}: no such file; expected an ESPnet model folder")
        if path.endswith((".yaml", ".yml")):
            files[key] = str(_absolute(Path(path), root, Path(work), option))
        elif path.endswith(".pth"):
            check_weights(path, option)
    return files


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ESPnet and its parts from logging configurations, a page an utterance, and packages they can do without."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _checkpoint(folder: Path, option: str) -> Path:
    found = sorted(folder.glob("*.pth"))
    by_name = {path.name: path for path in found}
    for name in _CHECKPOINTS:
        if name in by_name:
            return by_name[name]
    if len(found) != 1:
        raise UserError(f"{option}: {folder}: expected one of {', '.join(_CHECKPOINTS)}, or a single .pth file")
    return found[0]


def _download(tag: str, option: str) -> dict[str, str]:
    try:
        from espnet_model_zoo.downloader import ModelDownloader
    except ImportError:
        raise UserError(
            f"{option}: {tag}: no such folder; if it is the tag of a published model: pip install espnet_model_zoo"
        ) from None
    try:
        return ModelDownloader().download_and_unpack(tag)
    except Exception as e:  # the network's and the hub's many exceptions
        raise UserError(f"{option}: {tag}: cannot download this model: {e}") from e


def check_yaml(path: Path, option: str) -> dict[str, Any]:
    """The content of a yaml file of plain values. Raises UserError for anything else, code included."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{option}: {path}: cannot read: {e.strerror}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError(f"{option}: {path}: not valid yaml: {e}") from e
    if not isinstance(values, dict):
        raise UserError(f"{option}: {path}: expected 'key: value' lines")
    return values


def _absolute(path: Path, root: Path, work: Path, option: str) -> Path:
    """A copy of the configuration `path` in which what is a file under `root` is named by its absolute path."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: change(v) for k, v in value.items()}
        if isinstance(value, list):
            return [change(v) for v in value]
        if isinstance(value, str) and "/" in value and not Path(value).exists() and (root / value).exists():
            return str((root / value).resolve())
        return value

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=work, delete=False, encoding="utf-8") as f:
        yaml.safe_dump(change(check_yaml(path, option)), f, allow_unicode=True)
    return Path(f.name)


def check_weights(path: str, option: str) -> None:
    """Refuse a checkpoint that holds more than tensors: ESPnet would run the code in it."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise UserError(f"{option}: {path}: cannot read: {e.strerror}") from e
    except (pickle.UnpicklingError, RuntimeError, EOFError) as e:
        reason = str(e).splitlines()[0] if str(e) else "unreadable"
        raise UserError(f"{option}: {path}: not a checkpoint of weights only: {reason}") from e
