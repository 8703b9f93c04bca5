#!/usr/bin/env bash
# Stage 1: nothing to download; stage 2 draws the pictures and makes the speech.
set -euo pipefail
help_message="Usage: local/download_data.sh DOWNLOADS
The corpus is drawn and spoken (stage 2), so there is nothing to download."
. "$I2S_ROOT/utils/parse_options.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
echo "$(basename "$0"): nothing to download: the corpus is drawn and spoken in stage 2" >&2
