#!/usr/bin/env bash
# Stage 2 of the embedded corpus: draw it. Every recipe has a local/prepare_data.sh of this interface.
set -euo pipefail
num_train=900
num_dev=60
num_test=60
seed=1
help_message="Usage: local/prepare_data.sh [options] DOWNLOAD_DIR DATA_DIR
Draw scenes of pictograms with five captions each, into DATA_DIR/images and
DATA_DIR/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,text}. DOWNLOAD_DIR is not used.
  --num-train N, --num-dev N, --num-test N   images of each split (default $num_train, $num_dev, $num_test)
  --seed S                                   of all random choices (default $seed)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$2

# The corpus is what its code draws: another version of the code, or of the font, makes another corpus.
code=$(cat "$root"/i2s/corpus/pictograms_*.py "$root/i2s/bin/draw_corpus.py" "$root/requirements.txt" | sha256sum)
stamp_set "$data/.drawn" "num=$num_train,$num_dev,$num_test seed=$seed code=${code%% *}"
stamp_holds "$data/images" "$data"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,text} && exit 0
# What later stages made of other captions does not belong to these.
stamp_begin || rm -f "$data"/{train,dev,test}/{wav.scp,feats.scp,unit_feats.scp,image_feats.scp}
python -m i2s.bin.draw_corpus --num-train "$num_train" --num-dev "$num_dev" --num-test "$num_test" \
  --seed "$seed" "$data"
if [ -x "$root/utils/validate_data_dir.sh" ]; then
  for split in train dev test; do
    "$root/utils/validate_data_dir.sh" --no-feats --no-wav "$data/$split"
  done
fi
stamp_end
