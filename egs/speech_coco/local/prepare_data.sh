#!/usr/bin/env bash
# Stage 2: choose photos, fetch them, and write their data directories.
set -euo pipefail
if [ $# -lt 2 ] || [ "$1" = --help ]; then
  echo "Usage: local/prepare_data.sh [options] DOWNLOADS DATA
The environment variable coco_dir may name a folder of MSCOCO's photos, subsets the default of --subsets. The options
are those of local/prepare.py:" >&2
  python local/prepare.py --help >&2
  exit 2
fi
. "$I2S_ROOT/utils/stamp.sh"
coco_dir=${coco_dir:-}
options=(${subsets:+--subsets "$subsets"} "${@:1:$#-2}") downloads=${*: -2:1} data=${*: -1}

# Of half a million files only the folders are looked at: their times change when a file comes or goes.
sources=$({ find -L "$downloads"/{train,val}2014 -maxdepth 3 \( -type d -o -name '*.sqlite3' -o -name .unpacked \) \
  -printf '%p %s %T@\n' 2>/dev/null || true; } | LC_ALL=C sort | sha256sum)
stamp_set "$data/.prepared" "${options[*]} coco_dir=$coco_dir $sources" local/{prepare,metadata}.py
stamp_holds "$data"/{train,dev,test}/{images.scp,utt2image,utt2spk,spk2utt,wav.scp,text} && exit 0
stamp_begin || rm -rf "$data/wavs"
python local/prepare.py "${options[@]}" ${coco_dir:+--coco-dir "$coco_dir"} "$downloads" "$data"
for s in train dev test; do
  "$I2S_ROOT/utils/validate_data_dir.sh" --no-feats "$data/$s"
done
stamp_end
