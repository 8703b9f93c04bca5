#!/usr/bin/env bash
# Train a WaveNet vocoder; no stage of run.sh needs it. To speak with it: --vocoder wavenet --vocoder-weights MODEL_DIR.
set -euo pipefail
config=
overrides=
ngpu=0
cmd=
help_message="Usage: steps/train_vocoder.sh [options] DATA_DIR MODEL_DIR
Train a WaveNet, which makes speech of spectrograms, on DATA_DIR/{train,dev}/{wav.scp,feats.scp,features.json}, which
stages 1 to 4 make. No text is read. Writes MODEL_DIR/{config.yaml,checkpoints/,tensorboard/,train.log,manifest.json}.
A run that was stopped goes on from its last epoch. To speak with it: --vocoder wavenet --vocoder-weights MODEL_DIR.
  --config FILE                yaml with the model's options (default conf/vocoder_wavenet.yaml, which wants a GPU;
                               conf/vocoder_wavenet_small.yaml does not)
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
config=${config:-$root/conf/vocoder_wavenet.yaml}
if [ "$ngpu" -gt 0 ]; then
  : "${cmd:=$gpu_cmd --gpu $ngpu}"
  overrides="accelerator=gpu devices=$ngpu $overrides"
fi

stamp_set "$model/.done" "wavenet $overrides" "$config" "$data"/{train,dev}/{wav.scp,feats.scp,features.json}
stamp_holds "$model/manifest.json" && exit 0
rm -f "$model/manifest.json"
stamp_begin || rm -rf "$model"/{checkpoints,tensorboard}
echo "$(basename "$0"): training; log: $model/train.log" >&2
# shellcheck disable=SC2086 # commands and options of several words
${cmd:-$cpu_cmd} "$model/train.log" \
  python -m i2s.bin.train_vocoder --config "$config" --overrides $overrides -- "$data" "$model"
stamp_end
