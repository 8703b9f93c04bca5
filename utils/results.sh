#!/usr/bin/env bash
# A recipe's RESULTS.md from a finished run. Options and arguments: utils/results.sh --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
exec python -m i2s.bin.write_results "$@"
