"""Finish stage 5: merge what the jobs left in OUT_DIR into DATA_DIR/image_feats.scp, image_feats.json, and, where
there are such, image_regions.scp and image_views.scp. Images that were skipped go to DATA_DIR/image_failures (`image-id
reason`) and, with their utterances, out of every table of DATA_DIR."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.datadir import filter_data_dir
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.files import write_text
from i2s.modeldir import check_same

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    data, out = args.data, args.out

    manifests = sorted(out.glob("image_feats.*.json"))
    if not manifests:
        raise UserError(f"{out}: no image features here; run steps/image_feats.sh")
    texts = [path.read_text(encoding="utf-8") for path in manifests]
    for path, text in zip(manifests, texts, strict=True):
        check_same(manifests[0], path, "image features", json.loads(texts[0]), json.loads(text))
    write_table(data / "image_feats.scp", merged(out, "image_feats.*.scp"))
    for kind in ("image_regions", "image_views"):
        if rows := merged(out, f"{kind}.*.scp"):
            write_table(data / f"{kind}.scp", rows)
        else:
            (data / f"{kind}.scp").unlink(missing_ok=True)
    write_text(data / "image_feats.json", texts[0])
    if failures := merged(out, "image_failures.*"):
        leave_out(data, failures)


def merged(out: Path, pattern: str) -> dict[str, str]:
    """The rows of all jobs' tables."""
    return {key: value for path in sorted(out.glob(pattern)) for key, value in read_table(path).items()}


def leave_out(data: Path, failures: dict[str, str]) -> None:
    """Note the images of `failures` in DATA_DIR/image_failures and take them out of the tables.

    (In a run after a kill the tables may lack them already: what was noted before stays noted.)
    """
    note = data / "image_failures"
    write_table(note, (read_table(note) if note.is_file() else {}) | failures)
    utterances, images = filter_data_dir(data, images=set(read_table(data / "images.scp")) - set(failures))
    log.warning(
        "%d images left out, see %s; %d images and %d utterances remain", len(failures), note, images, utterances
    )


if __name__ == "__main__":
    run(main)
