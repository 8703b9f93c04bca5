#!/usr/bin/env bash
# SPEECH-COCO: MSCOCO's photos, their captions spoken by commercial voices, with the times of words and phones.
# Options: run.sh --help
set -euo pipefail
defaults=(--size full --image-feats resnet50 --search-args length_penalty=0.3 --asr whisper)
# shellcheck disable=SC2034 # own, own_values and help_message are read by recipe_options.sh
own=(--speech-coco-dir --coco-dir) own_values=(--subsets) help_message="Usage: egs/speech_coco/run.sh [options]
  --subsets NAMES         train2014,val2014 (default) or one of them, which is enough for a corpus of 8,000 photos
  --speech-coco-dir DIR   holds train2014.tar.gz and val2014.tar.gz, or both unpacked (default: they are downloaded)
  --coco-dir DIR          holds MSCOCO's photos in train2014/ and val2014/ (default: those in use are downloaded, 1.3 GB)
  --prepare-args '...'    which voices and photos; --stage 2 --prepare-args=--help lists what there is
The times that come with the recordings can be the units, without an aligner: those of phones (data/<split>/phones.ctm)
  --units phones-l1 --unit-args 'alignments=data on_failure=skip'
or those of words (data/<split>/words.ctm), --units words in its place.
The other options are those of the main run.sh; here its defaults are
  ${defaults[*]}"
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/utils/recipe_options.sh"
exec "$root/run.sh" "${defaults[@]}" "${rest[@]}"
