#!/usr/bin/env bash
# Stage 9, the ceilings: one reference utterance of each image as it is, and its units or spectrogram spoken again.
set -euo pipefail
nj=2
cmd=
vocoder=griffinlim
vocoder_weights=
seed=0
true_durations=false
help_message="Usage: steps/respeak.sh [options] DATA_DIR UNIT_DIR U2S_DIR OUT_DIR
       steps/respeak.sh [options] DATA_DIR OUT_DIR
Choose one utterance of each image of DATA_DIR by the seed. OUT_DIR/voice/wav.scp lists the recordings,
OUT_DIR/resynth holds their units (of UNIT_DIR) spoken again by the model in U2S_DIR; without these two, their
spectrograms, made speech of by the vocoder.
  --nj N, --cmd CMD, --vocoder NAME, --vocoder-weights PATH    as of steps/synthesise.sh
  --seed N          which utterance (default $seed)
  --true-durations true   speak the units as long as they were in the recording, not as the model times them"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 4 ] && [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 out=${!#}
units=${3:+$2/$(basename "$1")/units}

stamp_set "$out/.chosen" "seed=$seed" "$data/wav.scp" "$data/utt2image" "${units:-$data/feats.scp}"
if ! stamp_holds "$out"/{voice/wav.scp,resynth/utt2image}; then
  stamp_begin || true
  python -m i2s.bin.choose_ceilings --seed "$seed" ${units:+--units "$units"} "$data" "$out"
  stamp_end
fi
speak=(--nj "$nj" --cmd "$cmd" --vocoder "$vocoder" --vocoder-weights "$vocoder_weights")
if [ -n "$units" ]; then
  if [ "$true_durations" = true ]; then speak+=(--durations "$2/$(basename "$1")/unit_durations"); fi
  "$root/steps/synthesise.sh" "${speak[@]}" "$3" "$out/resynth"
else
  "$root/steps/vocode.sh" "${speak[@]}" "$data" "$out/resynth/utt2image" "$out/resynth"
fi
