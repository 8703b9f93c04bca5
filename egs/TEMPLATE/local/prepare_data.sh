#!/usr/bin/env bash
# Stage 2: data directories of your photos and recordings, which the environment names: photos, recordings, pairs.
set -euo pipefail
if [ $# -lt 2 ] || [ "$1" = --help ]; then
  echo "Usage: local/prepare_data.sh [options] DOWNLOADS DATA
Write DATA/{train,dev,test}. The options are those of i2s.bin.prepare_recordings but for the folders and the pairs:" >&2
  python -m i2s.bin.prepare_recordings --help >&2
  exit 2
fi
. "$I2S_ROOT/utils/stamp.sh"
local/download_data.sh
# shellcheck disable=SC2269 # they are of the environment
photos=$photos recordings=$recordings pairs=$pairs
options=("${@:1:$#-2}") data=${*: -1}
# The sources may be large: names, sizes and times stand for their content.
sources=$(find -L "$photos" "$recordings" -type f -printf '%p %s %T@\n' | LC_ALL=C sort | sha256sum)
stamp_set "$data/.prepared" "${options[*]} $sources" "$pairs"
stamp_holds "$data"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,wav.scp} && exit 0
stamp_begin || rm -rf "$data/wavs" "$data/photos"
python -m i2s.bin.prepare_recordings "${options[@]}" --photos "$photos" --recordings "$recordings" --pairs "$pairs" \
  "$data"
for s in train dev test; do
  "$I2S_ROOT/utils/validate_data_dir.sh" --no-text --no-feats "$data/$s"
done
stamp_end
