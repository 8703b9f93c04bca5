#!/usr/bin/env bash
# Stage 1: the speech and metadata of SPEECH-COCO below DOWNLOADS. (Photos are fetched in stage 2, which chooses them.)
set -euo pipefail
speech_coco_dir=${speech_coco_dir:-}
subsets=${subsets:-train2014,val2014}
record=https://zenodo.org/api/records/4282267
help_message="Usage: local/download_data.sh [options] DOWNLOADS
Make DOWNLOADS/train2014 and DOWNLOADS/val2014 from the corpus's two archives: 600,000 recordings with their metadata,
75 GB unpacked; the archives may be removed afterwards.
  --speech-coco-dir DIR   holds train2014.tar.gz and val2014.tar.gz, or folders train2014 and val2014, which are then used
                          where they are: nothing is downloaded (default: the environment variable speech_coco_dir)
  --subsets NAMES         with commas (default: the environment variable subsets, else train2014,val2014). val2014 alone
                          is enough for a corpus of 8,000 photos; run.sh --subsets hands it on to both stages
  --record URL            of the Zenodo record that lists the archives (default $record)"
. "$I2S_ROOT/utils/parse_options.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
python local/download.py ${speech_coco_dir:+--local "$speech_coco_dir"} --subsets "$subsets" --record "$record" "$1"
