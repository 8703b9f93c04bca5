#!/usr/bin/env bash
# Flickr8k: 8,000 photos with five written captions each, spoken by a voice. Options: run.sh --help
set -euo pipefail
# Speech is read back by a recogniser that knows nothing of the captions, so that scores compare with published ones.
defaults=(--size full --image-feats resnet50 --search-args length_penalty=0.3 --asr whisper)
# shellcheck disable=SC2034 # own and help_message are read by recipe_options.sh
own=(--flickr8k-dir) help_message="Usage: egs/flickr8k/run.sh [options]
  --flickr8k-dir DIR   holds Flickr8k_Dataset.zip and Flickr8k_text.zip (default: they are downloaded, 1.1 GB)
The other options are those of the main run.sh; here its defaults are
  ${defaults[*]}"
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/utils/recipe_options.sh"
exec "$root/run.sh" "${defaults[@]}" "${rest[@]}"
