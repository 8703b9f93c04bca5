"""Stage 9, first half: the units that an image-to-unit model finds for every image of a data directory.

Writes to OUT_DIR: units (image-id, collapsed units), attention.scp (units x image positions), search.json, and with
--samples N tables like `units`, samples/1 ... samples/N, drawn from the model: how much it has to say of an image.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from i2s import i2u
from i2s.archive import Matrices, write_ark
from i2s.cli import parser, run
from i2s.config import load_config, to_dict
from i2s.corpus.tables import write_int_table
from i2s.errors import UserError
from i2s.features.manifest import check_image_feats
from i2s.files import write_text
from i2s.i2u.search import SearchConfig, best
from i2s.modeldir import load_manifest
from i2s.progress import batches
from i2s.system import save_system

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--search", nargs="*", default=[], metavar="KEY=VALUE", help="keys of SearchConfig")
    options.add_argument("--samples", type=int, default=0, metavar="N", help="of each image, besides (default 0)")
    options.add_argument("--vocoder", default="griffinlim", help="'': none, of a model that makes waveforms itself")
    options.add_argument("--vocoder-weights", type=Path)
    options.add_argument("--image-weights", type=Path)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("i2u", type=Path, metavar="I2U_DIR")
    options.add_argument("u2s", type=Path, metavar="U2S_DIR")
    options.add_argument(
        "system", type=Path, metavar="SYSTEM_DIR", help="becomes a system that utils/describe.sh can use"
    )
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    search = load_config(SearchConfig, None, args.search)
    models = {"i2u": args.i2u, "u2s": args.u2s}
    save_system(args.system, models, args.vocoder, args.vocoder_weights, args.image_weights, to_dict(search))

    check_image_feats(args.i2u, load_manifest(args.i2u, "i2u")["image_feats"], args.data)
    model = i2u.load(args.i2u)
    images = Matrices(args.data / "image_feats.scp")
    names = list(images)
    if not names:
        raise UserError(f"{images.scp}: names no image")

    units: dict[str, list[int]] = {}
    samples: list[dict[str, list[int]]] = [{} for _ in range(args.samples)]
    sampling = replace(search, mode="sample", beam=max(1, args.samples))
    scores: dict[str, dict[str, object]] = {}
    with write_ark(args.out / "attention.ark", args.out / "attention.scp") as write:
        for batch in batches(names, search.batch_size, "image to units"):
            features = [images[n] for n in batch]
            for name, found in zip(batch, model.generate(features, search), strict=True):
                said = best(found)
                units[name] = said.units
                scores[name] = {"score": said.score, "finished": said.finished}
                write(name, np.asarray(said.attention))
            if samples:
                for name, drawn in zip(batch, model.generate(features, sampling), strict=True):
                    for table, hypothesis in zip(samples, drawn, strict=True):
                        table[name] = hypothesis.units
    if cut := [name for name, found in scores.items() if not found["finished"]]:
        log.warning(
            "%d of %d descriptions have no end but were cut off, the first is of %s; if they go round in circles, "
            "search with no_repeat=4 (--search-args)", len(cut), len(names), cut[0],
        )  # fmt: skip
    write_text(args.out / "search.json", json.dumps({"search": to_dict(search), "images": scores}, indent=1) + "\n")
    for number, table in enumerate(samples, 1):
        write_int_table(args.out / "samples" / str(number), table)
    write_int_table(args.out / "units", units)


if __name__ == "__main__":
    run(main)
