"""Stage 7: train an image-to-unit model on DATA_DIR/{train,dev} (utt2image, image_feats.scp) and the units in
UNIT_DIR/{train,dev}. No text is read.

Writes MODEL_DIR: config.yaml, bpe.model (if the units have one), checkpoints/, tensorboard/, and at the end
manifest.json. A run that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import lightning
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from i2s.cli import add_config, parser, run
from i2s.config import load_config, save_config
from i2s.features.manifest import image_feats_of_training
from i2s.files import atomic_path
from i2s.i2u import IMAGE_TO_UNIT
from i2s.i2u.data import Captions
from i2s.modeldir import name_checkpoint, save_manifest
from i2s.train.checkpoints import check_unfinished
from i2s.train.fit import fit
from i2s.units.bpe import UnitBpe
from i2s.units.inventory import read_manifest

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--i2u", default="transformer", metavar="NAME", help="; ".join(IMAGE_TO_UNIT))
    add_config(options, "the model's Config")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("units", type=Path, metavar="UNIT_DIR")
    options.add_argument("model", type=Path, metavar="MODEL_DIR")
    args = options.parse_args()

    part = IMAGE_TO_UNIT.get(args.i2u)
    config = load_config(part.config_class, args.config, args.overrides)
    units = read_manifest(args.units)
    bpe = UnitBpe.load(args.units / "bpe.model", units["size"]) if units["bpe_size"] else None
    image_feats = image_feats_of_training(args.data)
    max_bytes = config.cache_gb * 1e9
    train = Captions(args.data / "train", args.units / "train", units["size"], bpe, max_bytes, augment=True)
    left = max_bytes - train.features.bytes_held
    dev = Captions(args.data / "dev", args.units / "dev", units["size"], bpe, left)
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


if __name__ == "__main__":
    run(main)
