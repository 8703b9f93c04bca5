"""Make DOWNLOADS/SUBSET of each subset of SPEECH-COCO: downloaded, or from a folder on this machine.

Names, sizes and checksums of the archives are read from the Zenodo record.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.download import download
from i2s.corpus.unpack import STAMP, unpack
from i2s.errors import UserError

log = logging.getLogger(__name__)

HOLDS = ("*.wav",)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--local", type=Path, metavar="DIR", help="holds SUBSET.tar.gz or a folder SUBSET")
    options.add_argument("--subsets", required=True, metavar="NAMES", help="with commas")
    options.add_argument("--record", required=True, metavar="URL", help="of the Zenodo record")
    options.add_argument("downloads", type=Path, metavar="DOWNLOADS")
    args = options.parse_args()
    for subset in args.subsets.split(","):
        folder, archive = args.downloads / subset, f"{subset}.tar.gz"
        if args.local:
            take(args.local, archive, folder)
        elif (args.downloads / archive).exists() or not (folder / STAMP).is_file():
            url, size, checksum = look_up(args.record, archive, args.downloads / "record.json")
            download([url], args.downloads / archive, size=size, checksum=checksum)
            unpack(args.downloads / archive, folder, holds=HOLDS)
        else:
            log.info("%s: unpacked already", folder)


def take(local: Path, archive: str, folder: Path) -> None:
    """Unpack LOCAL/ARCHIVE into `folder`, or let it be a link to the unpacked folder of the same name."""
    unpacked = local / folder.name
    if (local / archive).is_file():
        if folder.is_symlink():
            folder.unlink()
        unpack(local / archive, folder, holds=HOLDS)
    elif unpacked.is_dir():
        if folder.is_dir() and not folder.is_symlink():
            raise UserError(f"{folder}: is there already; remove it to use {unpacked}")
        folder.unlink(missing_ok=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(unpacked.resolve())
        log.info("%s: used where it is, %s", folder, unpacked)
    else:
        raise UserError(f"{local}: holds neither {archive} nor a folder {folder.name}")


def look_up(record: str, archive: str, copy: Path) -> tuple[str, int, str]:
    """(URL, bytes, checksum) of `archive` in the Zenodo record, of which a copy is kept."""
    download([record], copy)
    try:
        files = {file["key"]: file for file in json.loads(copy.read_bytes())["files"]}
        if archive not in files:
            raise UserError(f"{record}: lists no {archive}, but {', '.join(files) or 'nothing'}")
        file = files[archive]
        return str(file["links"]["self"]), int(file["size"]), str(file["checksum"])
    except (ValueError, KeyError, TypeError) as e:
        copy.unlink()
        raise UserError(f"{record}: not a Zenodo record as expected ({e!r}); fetch {archive} by other means") from e


if __name__ == "__main__":
    run(main)
