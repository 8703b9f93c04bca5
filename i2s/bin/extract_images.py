"""Image features of one job's share of IMAGES_SCP: OUT_DIR/image_feats.J.{ark,scp,json}; image_regions.J.{ark,scp}
where there are regions; with --views, image_views.J.{ark,scp}: the features of the changed copies, one below the other.
Images that cannot be read are an error, or with --on-bad-image skip are listed in OUT_DIR/image_failures.J. A job whose
tables are there already has nothing to do."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from i2s.archive import write_ark
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.features.bottom_up import BottomUpFiles
from i2s.features.image import IMAGE_FEATURES, Extractor, ImageFeatures
from i2s.files import write_text
from i2s.images import open_image, other_view
from i2s.progress import track

log = logging.getLogger(__name__)
READERS = 2  # threads that decode the next batch while the network sees this one


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--image-feats", default="efficientnet-lite0", metavar="NAME")
    options.add_argument("--image-weights", type=Path, metavar="PATH", help="a weights file, or a folder that holds it")
    options.add_argument("--on-bad-image", choices=["error", "skip"], default="error")
    options.add_argument(
        "--views", type=int, default=1, metavar="N", help="the photo itself and N - 1 changed copies, for training"
    )
    options.add_argument("--batch-size", type=int, default=32, metavar="N")
    options.add_argument("--job", default="1/1", metavar="J/N", help="do the J-th of N parts of the table")
    options.add_argument("images", type=Path, metavar="IMAGES_SCP")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    if args.views < 1:
        raise UserError(f"--views {args.views}: must be at least 1, the photo itself")
    job = parse_job(args.job)
    names = {
        kind: args.out / f"{kind}.{job[0]}"
        for kind in ("image_feats", "image_regions", "image_views", "image_failures")
    }
    scp = names["image_feats"].with_name(names["image_feats"].name + ".scp")
    if scp.is_file():
        log.info("job %s: done before", args.job)
        return
    table = read_table(args.images)
    lines = {image: number for number, image in enumerate(table, 1)}
    todo = dict(share(list(table.items()), job))
    source = IMAGE_FEATURES.get(args.image_feats)(args.image_weights)
    published = isinstance(source, BottomUpFiles)
    if published and args.views > 1:
        raise UserError("--views: published files hold no features of changed copies; leave it at 1")
    bad: dict[str, str] = {}

    def found() -> Iterator[tuple[str, list[ImageFeatures]]]:
        stream = from_files(source, todo) if published else from_photos(source, todo, args.batch_size, args.views)
        for image, result in stream:
            if not isinstance(result, UserError):
                yield image, result
                continue
            where = f"{args.images}:{lines[image]}: {image}: {result}"
            if args.on_bad_image == "error":
                raise UserError(f"{where}\n(--on-bad-image skip leaves such images out)")
            log.warning("skipped: %s", where)
            bad[image] = " ".join(str(result).split())

    start, count = time.perf_counter(), 0
    with ExitStack() as stack:
        # (The others first: the scp of the vectors is written last, and tells that the job is done.)
        vectors = stack.enter_context(write_ark(f"{names['image_feats']}.ark", scp, compress=True))
        regions = views = None
        if args.views > 1:
            v = names["image_views"]
            views = stack.enter_context(write_ark(f"{v}.ark", f"{v}.scp", compress=True))
        if source.manifest.get("regions"):
            r = names["image_regions"]
            regions = stack.enter_context(write_ark(f"{r}.ark", f"{r}.scp"))
        for image, (features, *others) in track(found(), "image features", total=len(todo), unit="image"):
            vectors(image, features.vectors)
            if regions is not None and features.regions is not None:
                regions(image, features.regions)
            if views is not None:
                views(image, np.concatenate([other.vectors for other in others]))
            count += 1
        write_table(names["image_failures"], bad)
        write_text(f"{names['image_feats']}.json", json.dumps(source.manifest | {"views": args.views}, indent=2) + "\n")
    took = time.perf_counter() - start
    log.info("%d images in %.1f s, %.1f a second; %d skipped", count, took, count / max(took, 1e-9), len(bad))


def from_photos(
    extractor: Extractor, images: dict[str, str], batch_size: int, views: int
) -> Iterator[tuple[str, list[ImageFeatures] | UserError]]:
    """The features of each photo and its views - 1 changed copies, or what is wrong with it."""

    def read(name: str) -> list[torch.Tensor] | UserError:
        try:
            image = open_image(images[name])
        except UserError as e:
            return e
        return [extractor.prepare(i) for i in (image, *(other_view(image, name, n) for n in range(1, views)))]

    names = list(images)
    size = max(1, batch_size // views)
    batches = [names[at : at + size] for at in range(0, len(names), size)]
    with ThreadPoolExecutor(READERS) as pool:
        ahead = [pool.submit(read, name) for name in batches[0]] if batches else []
        for batch, after in zip(batches, [*batches[1:], []], strict=True):
            inputs = [future.result() for future in ahead]
            ahead = [pool.submit(read, name) for name in after]
            good = [x for tensors in inputs if not isinstance(tensors, UserError) for x in tensors]
            features = iter(extractor.features(good) if good else [])
            for name, x in zip(batch, inputs, strict=True):
                yield name, x if isinstance(x, UserError) else list(itertools.islice(features, views))


def from_files(files: BottomUpFiles, images: dict[str, str]) -> Iterator[tuple[str, list[ImageFeatures] | UserError]]:
    """The published features of each image, in the files' order, then those that are in no file."""
    missing = dict(images)
    for image, features in files.read(images):
        del missing[image]
        yield image, [features]
    for image, path in missing.items():
        yield image, UserError(f"no file of {files.path} has features of it, nor of {Path(path).name}")


if __name__ == "__main__":
    run(main)
