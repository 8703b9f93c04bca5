#!/usr/bin/env bash
# Stage 10: the constant floor, through the voice of the system.
set -euo pipefail
vocoder=griffinlim
vocoder_weights=
help_message="Usage: steps/speak_constant.sh [options] TRAIN_DIR DEV_DIR UNIT_DIR U2S_DIR OUT_DIR
       steps/speak_constant.sh [options] TRAIN_DIR DEV_DIR OUT_DIR
Choose the caption that scores best when said of every image, searched on the training captions and chosen on the dev
ones, and speak its units (of UNIT_DIR) by the model in U2S_DIR: OUT_DIR/{text,units,wav.scp}. Without these two, make
speech of its spectrogram by the vocoder.
  --vocoder NAME, --vocoder-weights PATH    as of steps/synthesise.sh"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 5 ] && [ $# -ne 3 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
train=$1 dev=$2 out=${!#}
units=${4:+$3/$(basename "$1")/units}

stamp_set "$out/.chosen" "" "$train"/{text,utt2image} "$dev"/{text,utt2image} "${units:-$train/feats.scp}"
if ! stamp_holds "$out/text" ${units:+"$out/units"}; then
  stamp_begin || true
  python -m i2s.bin.choose_constant ${units:+--units "$units"} "$train" "$dev" "$out"
  stamp_end
fi
speak=(--nj 1 --vocoder "$vocoder" --vocoder-weights "$vocoder_weights")
if [ -n "$units" ]; then
  "$root/steps/synthesise.sh" "${speak[@]}" "$4" "$out"
else
  "$root/steps/vocode.sh" "${speak[@]}" "$train" "$out/text" "$out"
fi
