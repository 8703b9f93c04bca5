#!/usr/bin/env bash
# Stage 8 of a direct system: train an image-to-spectrogram model.
set -euo pipefail
config=
overrides=
ngpu=0
cmd=
help_message="Usage: steps/train_sas.sh [options] DATA_DIR MODEL_DIR
Train Show and Speak, which draws a spectrogram of what an image shows, on DATA_DIR/{train,dev}/{utt2image,feats.scp,
image_feats.scp} and image_regions.scp where there are regions. No text is read. Writes MODEL_DIR/{config.yaml,
checkpoints/,tensorboard/,train.log,manifest.json}. A run that was stopped goes on from its last epoch.
  --config FILE                yaml with the model's options (default conf/sas.yaml)
  --overrides 'key=value ...'  in place of single options of the file
  --ngpu N                     GPUs (default $ngpu: one where there is one, else the CPU)
  --cmd CMD                    where the job runs (default \$gpu_cmd of cmd.sh with GPUs, else \$cpu_cmd)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 model=$2
config=${config:-$root/conf/sas.yaml}
if [ "$ngpu" -gt 0 ]; then
  : "${cmd:=$gpu_cmd --gpu $ngpu}"
  overrides="accelerator=gpu devices=$ngpu $overrides"
fi

inputs=("$config" "$data"/{train,dev}/{utt2image,feats.scp,features.json,image_feats.scp,image_feats.json})
for file in "$data"/{train,dev}/image_regions.scp "$data/train/image_views.scp"; do
  if [ -f "$file" ]; then inputs+=("$file"); fi
done
stamp_set "$model/.done" "sas $overrides" "${inputs[@]}"
stamp_holds "$model/manifest.json" && exit 0
rm -f "$model/manifest.json"
stamp_begin || rm -rf "$model"/{checkpoints,tensorboard}
echo "$(basename "$0"): training; log: $model/train.log" >&2
# shellcheck disable=SC2086 # commands and options of several words
${cmd:-$cpu_cmd} "$model/train.log" \
  python -m i2s.bin.train_sas --config "$config" --overrides $overrides -- "$data" "$model"
stamp_end
