#!/usr/bin/env bash
# Unit inventories side by side: rate, use, agreement with phones.
set -euo pipefail
utterances=100
phones=
abx=
abx_cell=10
help_message="Usage: utils/compare_units.sh [options] DATA_DIR UNIT_DIR...
Print a table over units that DATA_DIR is encoded in: how many a second, bits a second, and, where the English text of
DATA_DIR can be aligned or phones are given, purity, NMI and boundaries (20 ms) against its phones.
  --utterances N     to align (default $utterances)
  --phones PATH      phones of any language in place of that alignment (see steps/unit_phones.sh)
  --abx ITEM_FILE    ABX error in percent, within and across speakers, on this list of DATA_DIR's phones in context
                     (ZeroSpeech's; utils/abx_items.sh makes one of an alignment). Less is better, 50 is chance.
  --abx-cell N       tokens drawn of a phone in one context by one speaker, where there are more (default $abx_cell)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
if [ $# -lt 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1
shift
if [ -f "$data/text" ] || [ -n "$phones" ]; then
  for units in "$@"; do
    "$root/steps/unit_phones.sh" --utterances "$utterances" --phones "$phones" "$data" "$units" >&2
  done
fi
python -m i2s.bin.compare_units --split "$(basename "$data")" ${abx:+--abx "$abx" --abx-cell "$abx_cell"} "$@"
