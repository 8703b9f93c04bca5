"""Stage 9 of a direct system: what an image-to-spectrogram model says of every image of a data directory.

Writes, of this job's share: OUT_DIR/wav/<image-id>.wav, OUT_DIR/mel.J.{ark,scp} (the spectrograms), wav.J.scp,
attention.J.{ark,scp} (decoder steps x image positions), and failures.J (`id reason`: no end found, or attention lost).
The first job also writes SYSTEM_DIR/manifest.json.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s import sas
from i2s.archive import Matrices
from i2s.cli import parser, run
from i2s.config import from_dict, load_config, to_dict
from i2s.corpus.jobs import share
from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.features.manifest import check_image_feats
from i2s.features.speech import SpeechFeatureConfig
from i2s.i2u.search import SearchConfig
from i2s.modeldir import load_manifest
from i2s.progress import batches
from i2s.system import save_system
from i2s.vocoder.speak import add_options, write_speech

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    add_options(options)
    options.add_argument("--image-weights", type=Path)
    options.add_argument("--search", nargs="*", default=[], metavar="KEY=VALUE", help="keys of SearchConfig")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("model", type=Path, metavar="SAS_DIR")
    options.add_argument(
        "system", type=Path, metavar="SYSTEM_DIR", help="becomes a system that utils/describe.sh can use"
    )
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()

    manifest = load_manifest(args.model, "sas")
    check_image_feats(args.model, manifest["image_feats"], args.data)
    search = load_config(SearchConfig, None, args.search)
    model = sas.load(args.model)
    if args.search and not model.config.codes:
        log.info("--search is not used: %s has no blocks to choose from (codes=0)", args.model)
    if args.job[0] == 1:
        models = {"sas": args.model}
        save_system(args.system, models, args.vocoder, args.vocoder_weights, args.image_weights, to_dict(search))
    images, scp = Matrices(args.data / "image_feats.scp"), args.data / "image_regions.scp"
    if not images:
        raise UserError(f"{images.scp}: names no image")
    regions = Matrices(scp) if scp.is_file() else None

    def features_of(name: str) -> ImageFeatures:
        return ImageFeatures(images[name], None if regions is None else regions[name])

    spoken = (
        (names, model.describe([features_of(name) for name in names], search))
        for names in batches(share(list(images), args.job), args.batch_size, "images to speech")
    )
    features = from_dict(SpeechFeatureConfig, manifest["features"], str(args.model))
    write_speech(args.out, spoken, features, args, attention=True)


if __name__ == "__main__":
    run(main)
