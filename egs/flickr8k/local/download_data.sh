#!/usr/bin/env bash
# Stage 1: the two archives of Flickr8k, unpacked below DOWNLOADS.
set -euo pipefail
flickr8k_dir=${flickr8k_dir:-}
mirror=
help_message="Usage: local/download_data.sh [options] DOWNLOADS
Make DOWNLOADS/Flickr8k_Dataset (8,091 photos) and DOWNLOADS/Flickr8k_text (captions and splits). 1.1 GB to download
and as much again unpacked; the archives may be removed afterwards.
  --flickr8k-dir DIR   a folder that holds Flickr8k_Dataset.zip and Flickr8k_text.zip: nothing is downloaded
                       (default: the environment variable flickr8k_dir)
  --mirror URL         a folder on another server with the two archives, in place of the usual addresses"
. "$I2S_ROOT/utils/parse_options.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
downloads=$1
# The authors' own server is gone most of the time; the first address is the copy that everybody uses.
mirrors=(
  https://github.com/jbrownlee/Datasets/releases/download/Flickr8k
  http://nlp.cs.illinois.edu/HockenmaierGroup/Framing_Image_Description
)
if [ -n "$mirror" ]; then mirrors=("$mirror"); fi

fetch() { # NAME MD5 PATTERN...: each pattern names files that the archive must hold
  local name=$1 md5=$2 pattern holds=()
  shift 2
  for pattern in "$@"; do holds+=(--holds "$pattern"); done
  python -m i2s.bin.download ${flickr8k_dir:+--local "$flickr8k_dir/$name.zip"} --checksum "md5:$md5" \
    --unpack "$downloads/$name" "${holds[@]}" "$downloads/$name.zip" "${mirrors[@]/%//$name.zip}"
}
fetch Flickr8k_text bf6c1abcb8e4a833b7f922104de18627 \
  Flickr8k.token.txt Flickr_8k.trainImages.txt Flickr_8k.devImages.txt Flickr_8k.testImages.txt
fetch Flickr8k_Dataset f18a1e2920de5bd84dae7cf08ec78978 '*.jpg'
