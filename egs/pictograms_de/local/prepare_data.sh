#!/usr/bin/env bash
# Stage 2: draw the embedded corpus, tell it in German, speak that, and hand on pictures and speech alone.
set -euo pipefail
nj=${nj:-$(nproc)} # run.sh hands its own on
num_train=900
num_dev=60
num_test=60
seed=1
help_message="Usage: local/prepare_data.sh [options] DOWNLOADS DATA
Write DATA/{train,dev,test} without text: the pictures of the embedded corpus, as the same numbers and seed draw them
there, and German speech. Both lie in DOWNLOADS/pictograms_de_*, a folder for each choice of numbers and seed; so does
the text that was read out, which no later stage opens.
  --num-train N, --num-dev N, --num-test N   images of each split (default $num_train, $num_dev, $num_test)
  --seed S                                   of all random choices (default $seed)
  --nj N                                     jobs that speak (default $nj: run.sh's --nj, or the number of cores)"
. "$I2S_ROOT/utils/parse_options.sh"
. "$I2S_ROOT/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
made=$1/pictograms_de_${num_train}_${num_dev}_${num_test}_$seed data=$2
drawn=$made/drawn spoken=$made/spoken

"$I2S_ROOT/local/prepare_data.sh" --num-train "$num_train" --num-dev "$num_dev" --num-test "$num_test" \
  --seed "$seed" "$1" "$drawn"

# (The stamp of what was drawn tells code, numbers and seed.)
stamp_set "$spoken/.told" "" "$drawn/.drawn" local/{captions,tell}.py
if ! stamp_holds "$spoken"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,text}; then
  stamp_begin || true
  python local/tell.py --seed "$seed" "$drawn" "$spoken"
  stamp_end
fi
for s in train dev test; do
  "$I2S_ROOT/steps/speak.sh" --nj "$nj" --tts pico --tts-options voice=de-DE "$spoken/$s"
done

stamp_set "$data/.prepared" "" "$spoken"/{train,dev,test}/{images.scp,utt2image,utt2spk,wav.scp} local/withhold.py
stamp_holds "$data"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,wav.scp} && exit 0
stamp_begin || true
python local/withhold.py "$spoken" "$data"
for s in train dev test; do
  "$I2S_ROOT/utils/validate_data_dir.sh" --no-text --no-feats "$data/$s"
done
stamp_end
