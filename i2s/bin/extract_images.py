"""Image features of one job's share of IMAGES_SCP: OUT_DIR/image_feats.J.{ark,scp,json}, and image_regions.J.{ark,scp}
where there are regions. Images that cannot be read are an error, or with --on-bad-image skip are listed in
OUT_DIR/image_failures.J. A job whose tables are there already has nothing to do."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch

from i2s.archive import write_ark
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.features.bottom_up import BottomUpFiles
from i2s.features.image import IMAGE_FEATURES, Extractor, ImageFeatures
from i2s.files import write_text
from i2s.images import open_image
from i2s.progress import track

log = logging.getLogger(__name__)
READERS = 2  # threads that decode the next batch while the network sees this one


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--image-feats", default="efficientnet-lite0", metavar="NAME")
    options.add_argument("--image-weights", type=Path, metavar="PATH", help="a weights file, or a folder that holds it")
    options.add_argument("--on-bad-image", choices=["error", "skip"], default="error")
    options.add_argument("--batch-size", type=int, default=32, metavar="N")
    options.add_argument("--job", default="1/1", metavar="J/N", help="do the J-th of N parts of the table")
    options.add_argument("images", type=Path, metavar="IMAGES_SCP")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    job = parse_job(args.job)
    names = {kind: args.out / f"{kind}.{job[0]}" for kind in ("image_feats", "image_regions", "image_failures")}
    scp = names["image_feats"].with_name(names["image_feats"].name + ".scp")
    if scp.is_file():
        log.info("job %s: done before", args.job)
        return
    table = read_table(args.images)
    lines = {image: number for number, image in enumerate(table, 1)}
    todo = dict(share(list(table.items()), job))
    source = IMAGE_FEATURES.get(args.image_feats)(args.image_weights)
    bad: dict[str, str] = {}

    def found() -> Iterator[tuple[str, ImageFeatures]]:
        published = isinstance(source, BottomUpFiles)
        stream = from_files(source, todo) if published else from_photos(source, todo, args.batch_size)
        for image, result in stream:
            if isinstance(result, ImageFeatures):
                yield image, result
                continue
            where = f"{args.images}:{lines[image]}: {image}: {result}"
            if args.on_bad_image == "error":
                raise UserError(f"{where}\n(--on-bad-image skip leaves such images out)")
            log.warning("skipped: %s", where)
            bad[image] = " ".join(str(result).split())

    start, count = time.perf_counter(), 0
    with ExitStack() as stack:
        # (Regions first: the scp of the vectors is written last, and tells that the job is done.)
        vectors = stack.enter_context(write_ark(f"{names['image_feats']}.ark", scp, compress=True))
        regions = None
        if source.manifest.get("regions"):
            r = names["image_regions"]
            regions = stack.enter_context(write_ark(f"{r}.ark", f"{r}.scp"))
        for image, features in track(found(), "image features", total=len(todo), unit="image"):
            vectors(image, features.vectors)
            if regions is not None and features.regions is not None:
                regions(image, features.regions)
            count += 1
        write_table(names["image_failures"], bad)
        write_text(f"{names['image_feats']}.json", json.dumps(source.manifest, indent=2) + "\n")
    took = time.perf_counter() - start
    log.info("%d images in %.1f s, %.1f a second; %d skipped", count, took, count / max(took, 1e-9), len(bad))


def from_photos(
    extractor: Extractor, images: dict[str, str], batch_size: int
) -> Iterator[tuple[str, ImageFeatures | UserError]]:
    """The features of each photo, or what is wrong with it."""

    def read(path: str) -> torch.Tensor | UserError:
        try:
            return extractor.prepare(open_image(path))
        except UserError as e:
            return e

    names = list(images)
    batches = [names[at : at + batch_size] for at in range(0, len(names), batch_size)]
    with ThreadPoolExecutor(READERS) as pool:
        ahead = [pool.submit(read, images[name]) for name in batches[0]] if batches else []
        for batch, after in zip(batches, [*batches[1:], []], strict=True):
            inputs = [future.result() for future in ahead]
            ahead = [pool.submit(read, images[name]) for name in after]
            good = [x for x in inputs if isinstance(x, torch.Tensor)]
            features = iter(extractor.features(good) if good else [])
            for name, x in zip(batch, inputs, strict=True):
                yield name, next(features) if isinstance(x, torch.Tensor) else x


def from_files(files: BottomUpFiles, images: dict[str, str]) -> Iterator[tuple[str, ImageFeatures | UserError]]:
    """The published features of each image, in the files' order, then those that are in no file."""
    missing = dict(images)
    for image, features in files.read(images):
        del missing[image]
        yield image, features
    for image, path in missing.items():
        yield image, UserError(f"no file of {files.path} has features of it, nor of {Path(path).name}")


if __name__ == "__main__":
    run(main)
