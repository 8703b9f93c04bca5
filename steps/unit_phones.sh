#!/usr/bin/env bash
# Stage 10: how units agree with phones, where there is English text, or an alignment.
set -euo pipefail
utterances=50
phones=
help_message="Usage: steps/unit_phones.sh [options] DATA_DIR UNIT_DIR
Align utterances of DATA_DIR with their text (pocketsphinx; its dictionary is English) and compare the units of
UNIT_DIR/<name of DATA_DIR> with their phones: purity and NMI are printed, and written to UNIT_DIR/phones.{json,png}.
Where hardly any utterance can be aligned a line says so, and nothing is written.
  --utterances N     to align (default $utterances)
  --phones PATH      phones of any language in place of that alignment: TextGrids, a CTM file, units phones-l1, or a
                     data directory with <split>/phones.ctm"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 units=$2

given='' tables=("$data/text")
if [ -n "$phones" ]; then given=" phones=$phones $(folder_state "$phones")" tables=(); fi
stamp_set "$units/.phones" "utterances=$utterances wavs=$(files_state "$data/wav.scp")$given" "${tables[@]}" \
  "$data/wav.scp" "$units/$(basename "$data")"/{units,unit_durations}
stamp_holds "$units/stats.json" && exit 0
stamp_begin || true
rm -f "$units"/phones.{json,png}
python -m i2s.bin.unit_stats --data "$data" --phones "$phones" --utterances "$utterances" "$units"
stamp_end
