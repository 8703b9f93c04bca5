"""Stage 7: train an image-to-unit model on DATA_DIR/{train,dev} (utt2image, image_feats.scp) and the units in
UNIT_DIR/{train,dev}. No text is read.

Writes MODEL_DIR: config.yaml, bpe.model (if the units have one), checkpoints/, tensorboard/, and at the end
manifest.json. A run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from i2s.cli import parser, run
from i2s.config import load_config, save_config
from i2s.errors import UserError
from i2s.files import atomic_path, sha256
from i2s.i2u import IMAGE_TO_UNIT
from i2s.i2u.base import ImageToUnitConfig
from i2s.i2u.data import Captions
from i2s.modeldir import check_same, load_manifest, name_checkpoint, save_manifest
from i2s.train.fit import fit
from i2s.units.bpe import UnitBpe

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--i2u", default="transformer", metavar="NAME", help="; ".join(IMAGE_TO_UNIT))
    options.add_argument("--config", type=Path, metavar="FILE")
    options.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("units", type=Path, metavar="UNIT_DIR")
    options.add_argument("model", type=Path, metavar="MODEL_DIR")
    args = options.parse_args()

    part = IMAGE_TO_UNIT.get(args.i2u)
    config = load_config(part.config_class, args.config, args.overrides)
    units = read_units(args.units)
    bpe = UnitBpe.load(args.units / "bpe.model", units["size"]) if units["bpe_size"] else None
    image_feats = read_image_feats(args.data)
    bytes_left = config.cache_gb * 1e9
    train, dev = (
        Captions(args.data / split, args.units / split, units["size"], bpe, bytes_left, augment=split == "train")
        for split in ("train", "dev")
    )
    config = replace(
        config, pieces=train.pieces_total, feature_dim=train.features.dim, grid=tuple(image_feats.get("grid") or ()),
        longest=max(train.lengths), inventory=units["inventory"],
    )  # fmt: skip
    check_unfinished(args.model, config)

    args.model.mkdir(parents=True, exist_ok=True)
    save_config(config, args.model / "config.yaml")
    if bpe:
        with atomic_path(args.model / "bpe.model") as tmp:
            shutil.copyfile(args.units / "bpe.model", tmp)
    lightning.seed_everything(config.seed, verbose=False)
    model = part(config)
    model.feature_mean, model.feature_std = train.features.statistics()
    log.info(
        "%s: %s, %.1f million parameters; %d captions of %.1f of %d pieces; dev: %d captions",
        args.model, args.i2u, sum(p.numel() for p in model.parameters()) / 1e6,
        len(train), sum(train.lengths) / len(train) - 1, config.pieces, len(dev),
    )  # fmt: skip
    best = fit(model, train.loader(config, shuffle=True), dev.loader(config, shuffle=False), args.model)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        manifest = {"kind": "i2u", "model": args.i2u, "units": units, "image_feats": image_feats}
        save_manifest(args.model, manifest | name_checkpoint(args.model, best))


def read_units(folder: Path) -> dict[str, Any]:
    """The manifest of a unit inventory. Raises UserError if its codebook is not the one that the manifest names."""
    units = load_manifest(folder, "units")
    codebook = folder / "codebook.npy"
    if codebook.is_file():
        check_same(codebook, folder / "manifest.json", "unit inventory", sha256(codebook), units["inventory"])
    return units


def read_image_feats(data: Path) -> dict[str, Any]:
    """What image_feats.json says of train. Raises UserError if dev's features are of another kind."""
    found = []
    for split in ("train", "dev"):
        path = data / split / "image_feats.json"
        if not path.is_file():
            raise UserError(f"{path}: no such file; run the stage that extracts image features")
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as e:
            raise UserError(f"{path}: not valid JSON: {e}") from e
    for key in ("kind", "dim", "weights", "grid"):
        check_same(data / "train", data / "dev", f"image features' {key}", found[0].get(key), found[1].get(key))
    return found[0]


def check_unfinished(folder: Path, config: ImageToUnitConfig) -> None:
    """Refuse to go on from the checkpoints of a training with another configuration or other data."""
    if not (folder / "checkpoints/last.ckpt").is_file() or not (folder / "config.yaml").is_file():
        return
    before = load_config(type(config), folder / "config.yaml")
    # These do not change what is learned.
    same = replace(before, workers=config.workers, cache_gb=config.cache_gb, patience=config.patience)
    if same != config:
        raise UserError(
            f"{folder}: holds the checkpoints of a training with another configuration or other data; "
            f"remove {folder}/checkpoints to begin anew, or choose another folder"
        )


if __name__ == "__main__":
    run(main)
