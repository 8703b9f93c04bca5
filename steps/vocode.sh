#!/usr/bin/env bash
# Speak reference spectrograms as they are: part of stage 9's ceilings of a system that draws spectrograms.
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
help_message="Usage: steps/vocode.sh [options] DATA_DIR IDS DIR
Make speech of the spectrograms in DATA_DIR/feats.scp of the utterances that the table IDS names, into
DIR/{wav.scp,wav/,feats.scp}.
  --nj N            jobs, split over the utterances (default $nj)
  --cmd CMD         where jobs run (default \$cpu_cmd of cmd.sh)
  --vocoder NAME    (default $vocoder)    --vocoder-weights PATH"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
. "$root/utils/merge_speech.sh"
if [ $# -ne 3 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 ids=$2 dir=$3

stamp_set "$dir/.speech" "vocoder=$vocoder $(weights_state "$vocoder_weights")" \
  "$data/feats.scp" "$data/features.json" "$ids"
stamp_holds "$dir/wav.scp" && exit 0
stamp_begin "nj=$nj" || clear_speech "$dir"
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$dir/log/vocode.JOB.log" \
  python -m i2s.bin.vocode --job "JOB/$nj" --vocoder "$vocoder" \
  ${vocoder_weights:+--vocoder-weights "$vocoder_weights"} "$data" "$ids" "$dir"
merge_speech "$dir"
stamp_end
