#!/usr/bin/env bash
# Stage 9, the ceilings: one reference utterance of each image as it is, and its units spoken again.
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
seed=0
help_message="Usage: steps/respeak.sh [options] DATA_DIR UNIT_DIR U2S_DIR OUT_DIR
Choose one utterance of each image of DATA_DIR by the seed. OUT_DIR/voice/wav.scp lists the recordings,
OUT_DIR/resynth holds their units (of UNIT_DIR) spoken again by the model in U2S_DIR.
  --nj N, --cmd CMD, --vocoder NAME, --vocoder-weights FILE    as of steps/synthesise.sh
  --seed N          which utterance (default $seed)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 4 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 units=$2/$(basename "$1")/units u2s=$3 out=$4

stamp_set "$out/.chosen" "seed=$seed" "$data/wav.scp" "$data/utt2image" "$units"
if ! stamp_holds "$out/voice/wav.scp" "$out/resynth/units"; then
  stamp_begin || true
  python -m i2s.bin.choose_ceilings --seed "$seed" "$data" "$units" "$out"
  stamp_end
fi
"$root/steps/synthesise.sh" --nj "$nj" --cmd "$cmd" --vocoder "$vocoder" --vocoder-weights "$vocoder_weights" \
  "$u2s" "$out/resynth"
