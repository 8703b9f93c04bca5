#!/usr/bin/env bash
# Stage 4: speech features of one data directory.
set -euo pipefail
nj=2
cmd=
config=
allow_pipes=false
help_message="Usage: steps/speech_feats.sh [options] DATA_DIR [KIND]
Compute the features of DATA_DIR/wav.scp: log-mel spectrograms into DATA_DIR/feats.scp, MFCC into
DATA_DIR/unit_feats.scp; or one of them, where KIND is logmel or mfcc. DATA_DIR/features.json tells how they were made.
  --nj N         jobs, split over the utterances (default $nj)
  --cmd CMD      where jobs run (default \$cpu_cmd of cmd.sh)
  --config FILE  yaml with the keys of i2s.features.speech.SpeechFeatureConfig
  --allow-pipes true   run the commands of wav.scp entries that end in | (default $allow_pipes: refuse them)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 kind=${2:-both}
case $kind in
  both) kinds=(logmel mfcc) out=$data/speech_feats ;;
  logmel | mfcc) kinds=("$kind") out=$data/$kind ;;
  *)
    echo "$0: error: kind of features: $kind; choose logmel or mfcc, or leave it out for both" >&2
    exit 2
    ;;
esac
declare -A scp=([logmel]=$data/feats.scp [mfcc]=$data/unit_feats.scp)
outputs=("$data/features.json")
for k in "${kinds[@]}"; do outputs+=("${scp[$k]}"); done

stamp_set "$out/.done" "wavs=$(files_state "$data/wav.scp")" "$data/wav.scp" ${config:+"$config"}
stamp_holds "${outputs[@]}" && exit 0
stamp_begin "nj=$nj" || rm -f "$out"/*.ark "$out"/*.scp
echo "$(basename "$0"): ${kinds[*]} of $data, $nj jobs; logs: $out/log" >&2
pipes=()
if [ "$allow_pipes" = true ]; then pipes=(--allow-pipes); fi
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$out/log/extract.JOB.log" \
  python -m i2s.bin.extract_speech --kind "$kind" ${config:+--config "$config"} --job "JOB/$nj" "${pipes[@]}" \
  --save-config "$data/features.json" "$data/wav.scp" "$out"
for k in "${kinds[@]}"; do
  python -m i2s.bin.merge_tables "${scp[$k]}" "$out/$k".*.scp
done
stamp_end
