#!/usr/bin/env bash
# Stage 1 of the embedded corpus. Every recipe has a local/download_data.sh of this interface.
set -euo pipefail
help_message="Usage: local/download_data.sh DOWNLOAD_DIR
The embedded corpus is drawn (stage 2), so there is nothing to download."
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/utils/parse_options.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
echo "$(basename "$0"): nothing to download: the embedded corpus is drawn in stage 2" >&2
