#!/usr/bin/env bash
# Photos in, spoken descriptions out. Options and arguments: utils/describe.sh --help
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
exec python -m i2s.bin.describe "$@"
