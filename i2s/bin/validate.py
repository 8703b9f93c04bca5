"""Check a data directory: tables sorted and complete, ids that fit together, files that exist.

Without options it must hold text, wav.scp, feats.scp and images.scp with utt2image. What an option makes needless is
checked where it is there, but for text: --no-text leaves it unread. Paths in tables count from the present folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.validate import Demands, check_data_dir


def main() -> None:
    options = parser(__doc__)
    options.prog = "validate_data_dir.sh"
    options.add_argument("--no-text", action="store_true", help="text is not read and may be missing")
    options.add_argument("--no-feats", action="store_true", help="feats.scp may be missing")
    options.add_argument("--no-wav", action="store_true", help="wav.scp may be missing")
    options.add_argument("--no-images", action="store_true", help="images.scp and utt2image may be missing")
    options.add_argument("--no-spk-sort", action="store_true", help="speakers need not be in order in utt2spk")
    options.add_argument("--non-print", action="store_true", help="text may hold control characters")
    options.add_argument(
        "--allow-pipes", action="store_true", help="wav.scp may name commands ('sox in.flac -t wav - |')"
    )
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    args = options.parse_args()
    found = check_data_dir(
        args.data,
        Demands(
            text=not args.no_text,
            feats=not args.no_feats,
            wav=not args.no_wav,
            images=not args.no_images,
            speaker_order=not args.no_spk_sort,
            printable=not args.non_print,
            allow_pipes=args.allow_pipes,
        ),
    )
    for warning in found.warnings:
        print(f"validate_data_dir.sh: warning: {warning}", file=sys.stderr)
    print(
        f"validate_data_dir.sh: {args.data} is valid: {found.utterances} utterances, "
        f"{found.images} images, {found.speakers} speakers",
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main)
