#!/usr/bin/env bash
# Unit inventories side by side: rate, use, agreement with phones.
set -euo pipefail
utterances=100
help_message="Usage: utils/compare_units.sh [options] DATA_DIR UNIT_DIR...
Print a table over units that DATA_DIR is encoded in: how many a second, bits a second, and, where the English text of
DATA_DIR can be aligned, purity, NMI and boundaries (20 ms) against its phones.
  --utterances N     to align (default $utterances)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
if [ $# -lt 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1
shift
if [ -f "$data/text" ]; then
  for units in "$@"; do "$root/steps/unit_phones.sh" --utterances "$utterances" "$data" "$units" >&2; done
fi
python -m i2s.bin.compare_units --split "$(basename "$data")" "$@"
