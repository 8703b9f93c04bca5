#!/usr/bin/env bash
# A list of phones in context, for ABX, from an alignment. Options and arguments: utils/abx_items.sh --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
exec python -m i2s.bin.abx_items "$@"
