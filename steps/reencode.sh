#!/usr/bin/env bash
# Stage 10, without text: what generated speech says, in units.
set -euo pipefail
nj=2
cmd=
config=
help_message="Usage: steps/reencode.sh [options] UNIT_DIR DIR
Encode the speech of DIR/wav.scp with the units of UNIT_DIR, into DIR/{reencoded_units,reencoded_durations}.
  --nj N         jobs, split over the utterances (default $nj)
  --cmd CMD      where jobs run (default \$cpu_cmd of cmd.sh)
  --config FILE  speech features: those that the units were learned from"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
units=$1 dir=$2

"$root/steps/speech_feats.sh" --nj "$nj" --cmd "$cmd" --config "$config" "$dir" mfcc
stamp_set "$dir/.reencoded" "" "$dir/unit_feats.scp" "$units/manifest.json"
stamp_holds "$dir/reencoded_units" "$dir/reencoded_durations" && exit 0
stamp_begin || true
python -m i2s.bin.encode_units "$units" "$dir/unit_feats.scp" "$dir/reencoded_units" "$dir/reencoded_durations"
stamp_end
