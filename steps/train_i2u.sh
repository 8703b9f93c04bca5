#!/usr/bin/env bash
# Stage 7: train an image-to-unit model.
set -euo pipefail
i2u=transformer
config=
overrides=
ngpu=0
cmd=
help_message="Usage: steps/train_i2u.sh [options] DATA_DIR UNIT_DIR MODEL_DIR
Train a model that says in the units of UNIT_DIR what an image shows, on DATA_DIR/{train,dev}/{utt2image,
image_feats.scp} and UNIT_DIR/{train,dev}/units. No text is read. Writes MODEL_DIR/{config.yaml,bpe.model,checkpoints/,
tensorboard/,train.log,manifest.json}. A run that was stopped goes on from its last epoch.
  --i2u NAME                   transformer, sat or xnmt (default $i2u)
  --config FILE                yaml with the model's options (default conf/i2u_NAME.yaml)
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
data=$1 units=$2 model=$3
config=${config:-$root/conf/i2u_$i2u.yaml}
if [ "$ngpu" -gt 0 ]; then
  : "${cmd:=$gpu_cmd --gpu $ngpu}"
  overrides="accelerator=gpu devices=$ngpu $overrides"
fi

stamp_set "$model/.done" "i2u=$i2u $overrides" "$config" "$units/manifest.json" \
  "$data"/{train,dev}/{utt2image,image_feats.scp,image_feats.json} "$units"/{train,dev}/units
stamp_holds "$model/manifest.json" && exit 0
rm -f "$model/manifest.json"
stamp_begin || rm -rf "$model"/{checkpoints,tensorboard,bpe.model}
echo "$(basename "$0"): training $i2u; log: $model/train.log" >&2
# shellcheck disable=SC2086 # commands and options of several words
${cmd:-$cpu_cmd} "$model/train.log" \
  python -m i2s.bin.train_i2u --i2u "$i2u" --config "$config" --overrides $overrides -- \
  "$data" "$units" "$model"
stamp_end
