"""Stage 9 of a direct system: what an image-to-spectrogram model says of every image of a data directory.

Writes, of this job's share: OUT_DIR/wav/<image-id>.wav, OUT_DIR/mel.J.{ark,scp} (the spectrograms), wav.J.scp,
attention.J.{ark,scp} (decoder steps x image positions), and failures.J (`id reason`: no end found, or attention lost).
The first job also writes SYSTEM_DIR/manifest.json.
"""

from __future__ import annotations

from pathlib import Path

from i2s import sas
from i2s.archive import Matrices
from i2s.cli import parser, run
from i2s.config import from_dict
from i2s.corpus.jobs import share
from i2s.errors import UserError
from i2s.features.image import ImageFeatures
from i2s.features.manifest import check_image_feats
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import load_manifest
from i2s.progress import batches
from i2s.system import save_system
from i2s.vocoder.speak import add_options, write_speech


def main() -> None:
    options = parser(__doc__)
    add_options(options)
    options.add_argument("--image-weights", type=Path)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("model", type=Path, metavar="SAS_DIR")
    options.add_argument(
        "system", type=Path, metavar="SYSTEM_DIR", help="becomes a system that utils/describe.sh can use"
    )
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()

    manifest = load_manifest(args.model, "sas")
    check_image_feats(args.model, manifest["image_feats"], args.data)
    if args.job[0] == 1:
        save_system(args.system, {"sas": args.model}, args.vocoder, args.vocoder_weights, args.image_weights)
    model = sas.load(args.model)
    images, scp = Matrices(args.data / "image_feats.scp"), args.data / "image_regions.scp"
    if not images:
        raise UserError(f"{images.scp}: names no image")
    regions = Matrices(scp) if scp.is_file() else None
    spoken = (
        (names, model.describe([ImageFeatures(images[n], None if regions is None else regions[n]) for n in names]))
        for names in batches(share(list(images), args.job), args.batch_size, "images to speech")
    )
    features = from_dict(SpeechFeatureConfig, manifest["features"], str(args.model))
    write_speech(args.out, spoken, features, args, attention=True)


if __name__ == "__main__":
    run(main)
