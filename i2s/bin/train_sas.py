"""Stage 8 of a direct system: train an image-to-spectrogram model on DATA_DIR/{train,dev} (utt2image, feats.scp,
image_feats.scp and, where there are regions, image_regions.scp). No text is read.

Writes MODEL_DIR: config.yaml, checkpoints/, tensorboard/, and at the end manifest.json. A run that was stopped goes on
from its last epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from i2s import vocoder
from i2s.cli import add_config, parser, run
from i2s.config import load_config, save_config, to_dict
from i2s.features.image import ImageFeatures
from i2s.features.manifest import image_feats_of_training, speech_feats_of_training
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import name_checkpoint, save_manifest
from i2s.sas.blocks import learn_blocks
from i2s.sas.data import SpokenImages
from i2s.sas.model import SasConfig, ShowAndSpeak
from i2s.train.checkpoints import check_unfinished
from i2s.train.fit import fit

log = logging.getLogger(__name__)

CODEBOOK_UTTERANCES = 1500  # from which a codebook of spectrogram blocks is learned


def main() -> None:
    options = parser(__doc__)
    add_config(options, "SasConfig")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("model", type=Path, metavar="MODEL_DIR")
    args = options.parse_args()

    config = load_config(SasConfig, args.config, args.overrides)
    image_feats = image_feats_of_training(args.data)
    features = speech_feats_of_training(args.data)
    max_bytes = config.cache_gb * 1e9
    train = SpokenImages(args.data / "train", features.n_mels, max_bytes, augment=True)
    dev = SpokenImages(args.data / "dev", features.n_mels, max_bytes - train.features.bytes_held)
    config = replace(
        config, feature_dim=train.features.dim, regions=train.regions is not None, classes=train.classes,
        grid=tuple(image_feats.get("grid") or ()), n_mels=features.n_mels, longest=max(train.lengths),
    )  # fmt: skip
    check_unfinished(args.model, config)

    args.model.mkdir(parents=True, exist_ok=True)
    save_config(config, args.model / "config.yaml")
    lightning.seed_everything(config.seed, verbose=False)
    model = ShowAndSpeak(config)
    model.feature_mean, model.feature_std = train.features.statistics()
    model.mel_mean, model.mel_std = train.mel_statistics()
    if config.codes:
        mels = [(mel - model.mel_mean) / model.mel_std for mel in train.sample(CODEBOOK_UTTERANCES)]
        model.decoder.blocks = learn_blocks(mels, config.codes, config.reduction_factor, config.seed)
    if config.listen:
        model.listen = partial(listen, model, dev.images(config.listen), features)
    log.info(
        "%s: %.1f million parameters; %d utterances, %.1f hours; dev: %d utterances",
        args.model, sum(p.numel() for p in model.parameters()) / 1e6, len(train),
        sum(train.lengths) * features.hop_length / features.sample_rate / 3600, len(dev),
    )  # fmt: skip
    train_loader, dev_loader = (
        split.loader(config.batch_size, config.workers, config.seed, split is train, config.max_frames)
        for split in (train, dev)
    )
    best = fit(model, train_loader, dev_loader, args.model)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        manifest = {"kind": "sas", "features": to_dict(features), "image_feats": image_feats}
        save_manifest(args.model, manifest | name_checkpoint(args.model, best))


def listen(
    model: ShowAndSpeak, images: dict[str, ImageFeatures], features: SpeechFeatureConfig
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Name, waveform and sample rate of what the model says of images now, by the vocoder that needs no weights."""
    mels = [said.mel for said in model.describe(list(images.values()))]
    if all(np.isfinite(mel).all() for mel in mels):  # else training diverged, which is told elsewhere
        for name, wav in zip(images, vocoder.load("griffinlim", features)(mels), strict=True):
            yield name, wav, features.sample_rate


if __name__ == "__main__":
    run(main)
