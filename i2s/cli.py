"""What every command in `i2s/bin` shares: option parsing, logging, and errors shown without a traceback."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from i2s.errors import UserError


def parser(description: str | None) -> argparse.ArgumentParser:
    """An ArgumentParser that shows the module docstring as it is and refuses abbreviated options."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def add_config(options: argparse.ArgumentParser, keys: str) -> None:
    """--config and --overrides, for `i2s.config.load_config`. `keys`: the class whose fields they set."""
    options.add_argument("--config", type=Path, metavar="FILE", help=f"yaml with fields of {keys}")
    options.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE", help="which come after them")


def run(main: Callable[[], None]) -> None:
    """Run a command: log to stderr, turn UserError and a full disk into one clear line and exit status 1."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    quieten()
    command = Path(sys.argv[0]).stem
    try:
        main()
    except UserError as e:
        sys.exit(f"{command}: error: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"{command}: error: {e.filename or 'output'}: no disk space left; free some and run again")
        raise


def quieten() -> None:
    """Silence third-party noise that a user can do nothing about. Errors still come through."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in ("matplotlib", "numba", "fsspec", "urllib3", "PIL", "faster_whisper", "root"):
        logging.getLogger(name).setLevel(logging.WARNING if name != "root" else logging.INFO)
