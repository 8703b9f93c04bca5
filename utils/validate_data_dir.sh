#!/usr/bin/env bash
# Check a data directory, as Kaldi's script of this name does, images included. Options: validate_data_dir.sh --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
exec python -m i2s.bin.validate "$@"
