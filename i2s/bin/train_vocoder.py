"""Train a WaveNet on DATA_DIR/{train,dev} (wav.scp, feats.scp, features.json). No text is read.

Writes MODEL_DIR: config.yaml, checkpoints/, tensorboard/, and at the end manifest.json. A run that was stopped goes on
from its last epoch.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import lightning
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from i2s.cli import add_config, parser, run
from i2s.config import load_config, save_config, to_dict
from i2s.features.manifest import speech_feats_of_training
from i2s.modeldir import name_checkpoint, save_manifest
from i2s.train.checkpoints import check_unfinished
from i2s.train.fit import fit
from i2s.vocoder.segments import Segments
from i2s.vocoder.wavenet_model import WaveNet, WaveNetConfig

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    add_config(options, "WaveNetConfig")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("model", type=Path, metavar="MODEL_DIR")
    args = options.parse_args()

    config = load_config(WaveNetConfig, args.config, args.overrides)
    features = speech_feats_of_training(args.data)
    train, dev = (Segments(args.data / split, features, config.segment) for split in ("train", "dev"))
    config = replace(config, n_mels=features.n_mels, hop_length=features.hop_length)
    check_unfinished(args.model, config)

    args.model.mkdir(parents=True, exist_ok=True)
    save_config(config, args.model / "config.yaml")
    lightning.seed_everything(config.seed, verbose=False)
    model = WaveNet(config)
    model.mel_mean, model.mel_std = train.mel_statistics()
    log.info(
        "%s: %.1f million parameters; a sample is told from the %d before it (%.0f ms); %d utterances, %.1f hours; "
        "dev: %d utterances",
        args.model, sum(p.numel() for p in model.network.parameters()) / 1e6, config.receptive_field,
        config.receptive_field / features.sample_rate * 1000, len(train),
        sum(train.lengths) * features.frame_shift / 3600, len(dev),
    )  # fmt: skip
    train_loader, dev_loader = (
        split.loader(config.batch_size, config.workers, config.seed, split is train) for split in (train, dev)
    )
    best = fit(model, train_loader, dev_loader, args.model)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        manifest = {"kind": "vocoder", "model": "wavenet", "features": to_dict(features)}
        save_manifest(args.model, manifest | name_checkpoint(args.model, best))


if __name__ == "__main__":
    run(main)
