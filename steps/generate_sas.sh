#!/usr/bin/env bash
# Stage 9 of a direct system: describe the images of a data directory in speech.
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
image_weights=
search_args=
help_message="Usage: steps/generate_sas.sh [options] DATA_DIR SAS_DIR SYSTEM_DIR
Speak of every image of DATA_DIR with the model in SAS_DIR. Writes SYSTEM_DIR/manifest.json (utils/describe.sh can then
use SYSTEM_DIR) and SYSTEM_DIR/<name of DATA_DIR>/{attention.scp,feats.scp,wav.scp,wav/,failures}.
  --nj N                  jobs, split over the images (default $nj)
  --cmd CMD               where jobs run (default \$cpu_cmd of cmd.sh)
  --vocoder NAME          (default $vocoder)    --vocoder-weights PATH
  --image-weights PATH    kept for utils/describe.sh
  --search-args 'key=value ...'   of i2s.i2u.search.SearchConfig, for models with codes"
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
data=$1 model=$2 system=$3
out=$system/$(basename "$data")

inputs=("$data/image_feats.scp" "$data/image_feats.json" "$model/manifest.json")
if [ -f "$data/image_regions.scp" ]; then inputs+=("$data/image_regions.scp"); fi
stamp_set "$out/.speech" "vocoder=$vocoder $(weights_state "$vocoder_weights") image=$image_weights \
search=$search_args" "${inputs[@]}"
stamp_holds "$out/wav.scp" "$out/attention.scp" "$system/manifest.json" && exit 0
stamp_begin "nj=$nj" || clear_speech "$out"
# shellcheck disable=SC2086 # commands and options of several words
${cmd:-$cpu_cmd} JOB="1:$nj" "$out/log/show_and_speak.JOB.log" \
  python -m i2s.bin.show_and_speak --job "JOB/$nj" --vocoder "$vocoder" \
  ${vocoder_weights:+--vocoder-weights "$vocoder_weights"} ${image_weights:+--image-weights "$image_weights"} \
  --search $search_args -- "$data" "$model" "$system" "$out"
merge_speech "$out"
stamp_end
