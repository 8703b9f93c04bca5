"""Download FILE from the first URL that gives it, and unpack it: resumable, checked, nothing half done.

With --local, that file takes the place of the download; it is not copied, and everything is checked but the
checksum and the size, which belong to the official file.
"""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.download import download
from i2s.corpus.unpack import STAMP, unpack
from i2s.errors import UserError


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--local", type=Path, metavar="FILE", help="use this copy, download nothing")
    options.add_argument("--size", type=int, metavar="BYTES", help="what the file must have")
    options.add_argument("--checksum", metavar="KIND:HEX", help="sha256 or md5 that the file must have")
    options.add_argument(
        "--tries", type=int, default=5, help="in a row without progress, a mirror (default %(default)s)"
    )
    options.add_argument("--wait", type=float, default=1.0, help="seconds before the second try, then twice that, ...")
    options.add_argument("--unpack", type=Path, metavar="DIR", help="unpack the zip or tar archive into DIR")
    options.add_argument("--holds", action="append", default=[], metavar="PATTERN", help="a file the archive must hold")
    options.add_argument("target", type=Path, metavar="FILE")
    options.add_argument("urls", nargs="+", metavar="URL")
    args = options.parse_args()

    archive = args.local or args.target
    if args.local:
        if not args.local.is_file():
            raise UserError(f"{args.local}: no such file; it shall take the place of a download")
    elif args.unpack and not args.target.exists() and (args.unpack / STAMP).is_file():
        # Whoever removes the archive to save space need not fetch it again.
        logging.info("%s: unpacked already in %s", args.target, args.unpack)
        return
    else:
        download(args.urls, args.target, size=args.size, checksum=args.checksum, tries=args.tries, wait=args.wait)
    if args.unpack:
        unpack(archive, args.unpack, holds=args.holds)


if __name__ == "__main__":
    run(main)
