"""Stage 8: train a unit-to-speech model on DATA_DIR/{train,dev}/feats.scp and the units in UNIT_DIR/{train,dev}.

Writes MODEL_DIR: config.yaml, the weights, tensorboard/ of the neural models, and at the end manifest.json. A training
of these that was stopped goes on from its last epoch.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import add_config, parser, run
from i2s.config import from_dict, load_config, save_config, to_dict
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import check_same, load_manifest, name_checkpoint, save_manifest
from i2s.train.checkpoints import check_unfinished
from i2s.u2s import UNIT_TO_SPEECH
from i2s.u2s.data import UnitSpeech

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--u2s", default="fast", metavar="NAME", help="the model:\n" + UNIT_TO_SPEECH.describe())
    add_config(options, "the model's Config")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("units", type=Path, metavar="UNIT_DIR")
    options.add_argument("model", type=Path, metavar="MODEL_DIR")
    args = options.parse_args()

    part = UNIT_TO_SPEECH.get(args.u2s)
    config = load_config(part.Config, args.config, args.overrides)
    units = load_manifest(args.units, "units")
    features = from_dict(SpeechFeatureConfig, units["features"], f"{args.units}/manifest.json")
    for split in ("train", "dev"):
        made = load_config(SpeechFeatureConfig, args.data / split / "features.json")  # JSON is yaml, too
        check_same(args.units, args.data / split, "speech features", to_dict(features), to_dict(made))
    train, dev = (UnitSpeech(args.data / s, args.units / s, units["size"], features.n_mels) for s in ("train", "dev"))
    check_unfinished(args.model, config)

    args.model.mkdir(parents=True, exist_ok=True)
    save_config(config, args.model / "config.yaml")
    log.info(
        "%s: %s; %d utterances, %.1f hours; dev: %d utterances",
        args.model, args.u2s, len(train), sum(train.lengths) * units["frame_shift"] / 3600, len(dev),
    )  # fmt: skip
    weights = part.learn(config, train, dev, features, args.model)
    save_manifest(
        args.model,
        {
            "kind": "u2s",
            "model": args.u2s,
            "units": units,
            "features": units["features"],
            **name_checkpoint(args.model, weights),
        },
    )


if __name__ == "__main__":
    run(main)
