"""Published bottom-up region features (Anderson et al. 2018): 36 x 2048 an image, with boxes, classes and scores.

Read as their authors and others publish them:
- TSV, one line an image, arrays in base64: image_id image_w image_h num_boxes boxes features (Anderson et al.), or
  img_id img_h img_w objects_id objects_conf attrs_id attrs_conf num_boxes boxes features (LXMERT, Tan & Bansal 2019);
- a folder of <image>.npz: x, bbox, image_w, image_h, info: objects_id, objects_conf (bottom-up-attention.pytorch);
- a folder of <image>.npy: a dict of features, boxes, scores, class (Show and Speak, Wang et al. 2021).
Where classes or scores are not in the file they are -1. An image is found by its id, its file's name, or that
without the suffix.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.features.image import ImageFeatures

Arrays = Mapping[str, Any]
DIM = 2048


class BottomUpFiles:
    """The published files at `path`: a .tsv file, or a folder of .tsv, .npz or .npy files."""

    # Files of one publication go together, whatever their names: train and test often lie in different ones.
    manifest = {  # noqa: RUF012 # never changed
        "kind": "bottom-up",
        "grid": None,
        "dim": DIM,
        "weights": "published bottom-up regions",
        "regions": {"classes": "Visual Genome, as in the files"},
    }

    def __init__(self, path: Path | None):
        if path is None:
            raise UserError("--image-feats bottom-up reads published files: give them as --image-weights FILE_OR_DIR")
        self.path = path
        self.files: dict[str, Path] = {}  # one an image
        self.tables: list[Path] = []
        if path.is_file():
            self.tables = [path]
        elif path.is_dir():
            self.tables = sorted(path.glob("*.tsv"))
            self.files = {f.stem: f for pattern in ("*.npz", "*.npy") for f in sorted(path.glob(pattern))}
        if not self.tables and not self.files:
            raise UserError(f"--image-weights {path}: no .tsv, .npz or .npy files of bottom-up features there")

    def read(self, images: Mapping[str, str]) -> Iterator[tuple[str, ImageFeatures]]:
        """The features of `images` (id -> path), each once, in the order of the files.

        Raises UserError for a damaged file; what is in no file is left out.
        """
        wanted = {name: i for i, path in images.items() for name in (Path(path).stem, Path(path).name, i)}
        for name, file in self.files.items():
            if name in wanted:
                yield wanted[name], _features(_load(file), str(file))
        done: set[str] = set()
        for table in self.tables:
            with table.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    name = line.split(b"\t", 1)[0].decode(errors="replace")
                    image = wanted.get(name) or wanted.get(name.lstrip("0"))
                    if image is not None and image not in done:
                        done.add(image)
                        where = f"{table}:{number}"
                        yield image, _features(_parse(line, where), where)


def _features(arrays: Arrays, where: str) -> ImageFeatures:
    """Check and gather one image's arrays, under any of their published names."""

    def get(*names: str) -> np.ndarray | None:
        for name in names:
            if name in arrays:
                return np.asarray(arrays[name], np.float32)
        return None

    vectors, boxes = get("features", "x"), get("boxes", "bbox")
    if vectors is None or boxes is None:
        raise UserError(f"{where}: holds no features and boxes; it has {', '.join(map(str, arrays))}")
    count = len(boxes)
    if vectors.shape != (count, DIM) or boxes.shape != (count, 4) or not count:
        raise UserError(f"{where}: features {vectors.shape} and boxes {boxes.shape} should be (N, {DIM}) and (N, 4)")
    if not np.isfinite(vectors).all():
        raise UserError(f"{where}: features hold NaN or infinite values")
    width, height = get("image_w", "img_w"), get("image_h", "img_h")
    # Show and Speak's files do not say how large the image is: as in their code, the outermost box reaches its edge.
    size = np.array(
        [boxes[:, 0::2].max() if width is None else width, boxes[:, 1::2].max() if height is None else height]
    )
    corners = boxes / np.maximum(np.tile(size.reshape(2), 2), 1e-5)
    missing = np.full(count, -1, np.float32)
    classes, scores = get("class", "objects_id"), get("scores", "objects_conf")
    columns = [missing if c is None else c.reshape(-1)[:count] for c in (classes, scores)]
    return ImageFeatures(vectors, np.column_stack([corners, *columns]).astype(np.float32))


def _parse(line: bytes, where: str) -> Arrays:
    """One line of a published TSV file."""
    cells = line.rstrip(b"\r\n").split(b"\t")
    try:
        if len(cells) == 6:
            _, width, height, number, boxes, features = cells
            return _decoded(number, boxes, features) | {"image_w": int(width), "image_h": int(height)}
        if len(cells) == 10:
            _, height, width, objects, confidence, _, _, number, boxes, features = cells
            return _decoded(number, boxes, features) | {
                "image_w": int(width),
                "image_h": int(height),
                "objects_id": np.frombuffer(base64.b64decode(objects), np.int64),
                "objects_conf": np.frombuffer(base64.b64decode(confidence), np.float32),
            }
    except (ValueError, binascii.Error) as e:
        raise UserError(f"{where}: damaged line: {e}") from e
    raise UserError(f"{where}: expected 6 or 10 columns of a bottom-up TSV file, found {len(cells)}")


def _decoded(number: bytes, boxes: bytes, features: bytes) -> dict[str, Any]:
    count = int(number)
    return {
        "boxes": np.frombuffer(base64.b64decode(boxes), np.float32).reshape(count, 4),
        "features": np.frombuffer(base64.b64decode(features), np.float32).reshape(count, DIM),
    }


def _load(path: Path) -> Arrays:
    """The arrays of an .npz or .npy file; dicts inside are unpickled, but nothing but arrays and plain values."""
    try:
        if path.suffix == ".npy":
            return dict(_array(path.read_bytes()).item())
        arrays: dict[str, Any] = {}
        with zipfile.ZipFile(path) as members:
            for name in members.namelist():
                arrays[name.removesuffix(".npy")] = _array(members.read(name))
        info = arrays.pop("info", None)
        return (dict(info.item()) if info is not None and info.dtype == object else {}) | arrays
    except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile, pickle.UnpicklingError) as e:
        raise UserError(f"{path}: not a file of bottom-up features, or damaged: {e}") from e


def _array(data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(file)
    if not dtype.hasobject:
        return np.load(io.BytesIO(data), allow_pickle=False)
    array = _ArraysOnly(file, encoding="latin1").load()
    if not isinstance(array, np.ndarray):
        raise pickle.UnpicklingError("expected an array")
    return array


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays, numbers and containers of them; a file that asks for anything else is refused."""

    _ALLOWED = MappingProxyType(
        {
            "ndarray": "numpy",
            "dtype": "numpy",
            "_reconstruct": "numpy._core.multiarray",
            "scalar": "numpy._core.multiarray",
            "_frombuffer": "numpy._core.numeric",
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        # (Files of older numpy name numpy.core; the functions moved, their meaning did not.)
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return getattr(importlib.import_module(self._ALLOWED[name]), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
