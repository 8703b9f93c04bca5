#!/usr/bin/env bash
# Stage 4: speech features of one data directory.
set -euo pipefail
nj=2
cmd=
config=
help_message="Usage: steps/speech_feats.sh [options] DATA_DIR KIND
Compute the features KIND (logmel or mfcc) of DATA_DIR/wav.scp, into DATA_DIR/KIND/*.ark and
DATA_DIR/feats.scp (logmel) or DATA_DIR/unit_feats.scp (mfcc).
  --nj N         jobs, split over the utterances (default $nj)
  --cmd CMD      where jobs run (default \$cpu_cmd of cmd.sh)
  --config FILE  yaml with the keys of i2s.features.speech.SpeechFeatureConfig"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 kind=$2
case $kind in
  logmel) scp=$data/feats.scp ;;
  mfcc) scp=$data/unit_feats.scp ;;
  *)
    echo "$0: error: kind of features: $kind; choose logmel or mfcc" >&2
    exit 2
    ;;
esac

stamp_set "$data/$kind/.done" "nj=$nj" "$data/wav.scp" ${config:+"$config"}
stamp_holds "$scp" && exit 0
stamp_begin || rm -f "$data/$kind"/*.ark "$data/$kind"/*.scp
echo "$(basename "$0"): $kind of $data, $nj jobs; logs: $data/$kind/log" >&2
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$data/$kind/log/extract.JOB.log" \
  python -m i2s.bin.extract_speech --kind "$kind" ${config:+--config "$config"} --job "JOB/$nj" \
  "$data/wav.scp" "$data/$kind/$kind.JOB"
python -m i2s.bin.merge_tables "$scp" "$data/$kind/$kind".*.scp
stamp_end
