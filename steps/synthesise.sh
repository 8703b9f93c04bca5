#!/usr/bin/env bash
# Speak the units of a folder: part of stages 9 (what the images say) and of its ceiling (what the reference says).
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
durations=
help_message="Usage: steps/synthesise.sh [options] U2S_DIR DIR
Speak DIR/units with the model in U2S_DIR, into DIR/{wav.scp,wav/,feats.scp,unit_durations,failures}.
  --nj N            jobs, split over the utterances (default $nj)
  --cmd CMD         where jobs run (default \$cpu_cmd of cmd.sh)
  --vocoder NAME    (default $vocoder)    --vocoder-weights PATH
                    not used by models that make waveforms themselves: clustergen
  --durations TABLE frames of each unit (default: as the model times them; tacotron2 always does)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
. "$root/utils/merge_speech.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
u2s=$1 dir=$2

stamp_set "$dir/.speech" "vocoder=$vocoder $(weights_state "$vocoder_weights")" "$dir/units" "$u2s/manifest.json" \
  ${durations:+"$durations"}
stamp_holds "$dir/wav.scp" && exit 0
stamp_begin "nj=$nj" || clear_speech "$dir"
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$dir/log/synthesise.JOB.log" \
  python -m i2s.bin.synthesise --job "JOB/$nj" --vocoder "$vocoder" \
  ${vocoder_weights:+--vocoder-weights "$vocoder_weights"} ${durations:+--durations "$durations"} "$dir/units" "$u2s" "$dir"
merge_speech "$dir"
stamp_end
