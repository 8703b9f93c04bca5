#!/usr/bin/env bash
# Your own corpus: photos, recordings that describe them, no text. See docs/own_corpus.md. Options: run.sh --help
set -euo pipefail
# Defaults of this corpus, before your own options: --image-feats resnet50, say.
defaults=()
# shellcheck disable=SC2034 # own and help_message are read by recipe_options.sh
own=(--photos --recordings --pairs) help_message="Usage: egs/TEMPLATE/run.sh --photos DIR --recordings DIR --pairs FILE [options]
  --photos DIR       photos, in sub-folders or not (jpg, png, webp ...)
  --recordings DIR   spoken descriptions (wav, flac, mp3, ogg, m4a ...; any sample rate, mono or stereo)
  --pairs FILE       a line for each recording: its name, a tab (or a comma), the name of the photo it describes
  --prepare-args '--dev PERCENT --test PERCENT --seed N --on-bad skip'
                     the split, by photo (default 10, 10, 0); leave out files that are missing or unreadable
The other options are those of the main run.sh:"
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/utils/recipe_options.sh"
exec "$root/run.sh" "${defaults[@]}" "${rest[@]}"
