#!/usr/bin/env bash
# Mend a data directory: sort its tables and keep what all of them hold. Options: fix_data_dir.sh --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
exec python -m i2s.bin.fix_data_dir "$@"
