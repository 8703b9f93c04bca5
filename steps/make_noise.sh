#!/usr/bin/env bash
# Stage 10: what a recogniser's own language model makes of nothing: noise as loud and long as a system's speech.
set -euo pipefail
seed=0
number=100
help_message="Usage: steps/make_noise.sh [options] WAV_SCP OUT_DIR
For each wav of WAV_SCP, noise of the same length, loudness and spectrum into OUT_DIR/{wav.scp,wav/}.
  --number N        of at most N wavs, evenly spaced: enough for a number (default $number)
  --seed N          (default $seed)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
scp=$1 out=$2

stamp_set "$out/.made" "seed=$seed number=$number wavs=$(files_state "$scp")" "$scp"
stamp_holds "$out/wav.scp" && exit 0
stamp_begin || true
python -m i2s.bin.make_noise --seed "$seed" --number "$number" "$scp" "$out"
stamp_end
