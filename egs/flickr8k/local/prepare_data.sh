#!/usr/bin/env bash
# Stage 2: data directories of the official splits.
set -euo pipefail
help_message="Usage: local/prepare_data.sh DOWNLOADS DATA
Write DATA/{train,dev,test} from what local/download_data.sh made: 6,000, 1,000 and 1,000 photos, five captions each."
. "$I2S_ROOT/utils/parse_options.sh"
. "$I2S_ROOT/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
downloads=$1 data=$2

stamp_set "$data/.prepared" "downloads=$downloads" "$downloads"/Flickr8k_{text,Dataset}/.unpacked local/prepare.py
stamp_holds "$data"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,text} && exit 0
stamp_begin || true
python local/prepare.py "$downloads" "$data"
for s in train dev test; do
  "$I2S_ROOT/utils/validate_data_dir.sh" --no-wav --no-feats "$data/$s"
done
stamp_end
