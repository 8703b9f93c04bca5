#!/usr/bin/env bash
# Stage 9: describe the images of a data directory in speech.
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
image_weights=
search_args=
samples=0
help_message="Usage: steps/generate.sh [options] DATA_DIR I2U_DIR U2S_DIR SYSTEM_DIR
Find the units of every image of DATA_DIR, and speak them. Writes SYSTEM_DIR/manifest.json (utils/describe.sh can then
use SYSTEM_DIR) and SYSTEM_DIR/<name of DATA_DIR>/{units,attention.scp,feats.scp,wav.scp,wav/,failures,samples/}.
  --nj N                  jobs for synthesis (default $nj)
  --cmd CMD               where jobs run (default \$cpu_cmd of cmd.sh)
  --vocoder NAME          (default $vocoder)    --vocoder-weights PATH
  --image-weights PATH    kept for utils/describe.sh
  --search-args 'key=value ...'   of i2s.i2u.search.SearchConfig
  --samples N             units drawn from the model for each image, too: for measures of diversity (default $samples)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 4 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 i2u=$2 u2s=$3 system=$4
out=$system/$(basename "$data")

parts="vocoder=$vocoder $(weights_state "$vocoder_weights") image=$image_weights"
stamp_set "$out/.units" "search=$search_args samples=$samples $parts" \
  "$data/image_feats.scp" "$data/image_feats.json" "$i2u/manifest.json" "$u2s/manifest.json"
if ! stamp_holds "$out/units" "$system/manifest.json"; then
  stamp_begin || true
  rm -rf "$out/samples"
  # shellcheck disable=SC2086 # several key=value words
  python -m i2s.bin.generate --vocoder "$vocoder" ${vocoder_weights:+--vocoder-weights "$vocoder_weights"} \
    ${image_weights:+--image-weights "$image_weights"} --samples "$samples" --search $search_args -- "$data" "$i2u" "$u2s" "$system" "$out"
  stamp_end
fi
"$root/steps/synthesise.sh" --nj "$nj" --cmd "$cmd" --vocoder "$vocoder" --vocoder-weights "$vocoder_weights" \
  "$u2s" "$out"
