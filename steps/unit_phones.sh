#!/usr/bin/env bash
# Stage 10: how units agree with phones, where there is English text.
set -euo pipefail
utterances=50
help_message="Usage: steps/unit_phones.sh [options] DATA_DIR UNIT_DIR
Align utterances of DATA_DIR with their text (pocketsphinx; its dictionary is English) and compare the units of
UNIT_DIR/<name of DATA_DIR> with their phones: purity and NMI are printed, and written to UNIT_DIR/phones.{json,png}.
Where no utterance can be aligned a line says so, and nothing is written.
  --utterances N     to align (default $utterances)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 units=$2

stamp_set "$units/.phones" "utterances=$utterances wavs=$(files_state "$data/wav.scp")" "$data/text" "$data/wav.scp" \
  "$units/$(basename "$data")"/{units,unit_durations}
stamp_holds "$units/stats.json" && exit 0
stamp_begin || true
rm -f "$units"/phones.{json,png}
python -m i2s.bin.unit_stats --text-data "$data" --utterances "$utterances" "$units"
stamp_end
