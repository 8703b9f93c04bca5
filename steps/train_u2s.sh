#!/usr/bin/env bash
# Stage 8: train a unit-to-speech model.
set -euo pipefail
u2s=fast
config=
overrides=
ngpu=0
cmd=
help_message="Usage: steps/train_u2s.sh [options] DATA_DIR UNIT_DIR MODEL_DIR
Train a model that speaks the units of UNIT_DIR, on DATA_DIR/{train,dev}/feats.scp. Writes MODEL_DIR/{config.yaml,
checkpoints/,tensorboard/,train.log,manifest.json}. A run that was stopped goes on from its last epoch.
clustergen learns from DATA_DIR/{train,dev}/wav.scp, on the CPU; it writes clustergen.npz in place of checkpoints and
tensorboard, and begins anew when stopped.
  --u2s NAME                   fast, tacotron2 or clustergen (default $u2s)
  --config FILE                yaml with the model's options (default conf/u2s_NAME.yaml)
  --overrides 'key=value ...'  in place of single options of the file
  --ngpu N                     GPUs (default $ngpu: one where there is one, else the CPU)
  --cmd CMD                    where the job runs (default \$gpu_cmd of cmd.sh with GPUs, else \$cpu_cmd)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 3 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 units=$2 model=$3 wavs=()
config=${config:-$root/conf/u2s_$u2s.yaml}
if [ "$u2s" = clustergen ]; then
  wavs=("$data"/{train,dev}/wav.scp)
elif [ "$ngpu" -gt 0 ]; then
  : "${cmd:=$gpu_cmd --gpu $ngpu}"
  overrides="accelerator=gpu devices=$ngpu $overrides"
fi

stamp_set "$model/.done" "u2s=$u2s $overrides" "$config" "$units/manifest.json" \
  "$data"/{train,dev}/{feats.scp,features.json} "$units"/{train,dev}/{units,unit_durations} "${wavs[@]}"
stamp_holds "$model/manifest.json" && exit 0
rm -f "$model/manifest.json"
stamp_begin || rm -rf "$model"/{checkpoints,tensorboard}
echo "$(basename "$0"): training $u2s; log: $model/train.log" >&2
# shellcheck disable=SC2086 # commands and options of several words
${cmd:-$cpu_cmd} "$model/train.log" \
  python -m i2s.bin.train_u2s --u2s "$u2s" --config "$config" --overrides $overrides -- \
  "$data" "$units" "$model"
stamp_end
