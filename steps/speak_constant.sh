#!/usr/bin/env bash
# Stage 10: the constant floor, through the voice of the system.
set -euo pipefail
vocoder=griffinlim
vocoder_weights=
help_message="Usage: steps/speak_constant.sh [options] TRAIN_DIR DEV_DIR UNIT_DIR U2S_DIR OUT_DIR
Choose the caption that scores best when said of every image, searched on the training captions and chosen on the dev
ones, and speak its units (of UNIT_DIR) by the model in U2S_DIR: OUT_DIR/{text,units,wav.scp}.
  --vocoder NAME, --vocoder-weights FILE    as of steps/synthesise.sh"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 5 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
train=$1 dev=$2 units=$3/$(basename "$1")/units u2s=$4 out=$5

stamp_set "$out/.chosen" "" "$train"/{text,utt2image} "$dev"/{text,utt2image} "$units"
if ! stamp_holds "$out/text" "$out/units"; then
  stamp_begin || true
  python -m i2s.bin.choose_constant "$train" "$dev" "$units" "$out"
  stamp_end
fi
"$root/steps/synthesise.sh" --nj 1 --vocoder "$vocoder" --vocoder-weights "$vocoder_weights" "$u2s" "$out"
