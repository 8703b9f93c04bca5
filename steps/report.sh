#!/usr/bin/env bash
# Stage 11: one page to look at and listen to.
set -euo pipefail
num_items=60
other=
embed=false
ceilings=
unit_dir=
help_message="Usage: steps/report.sh [options] DATA_DIR SYSTEM_DIR OUT_DIR
Write OUT_DIR/index.html with its media beside it: scores, learning curves, unit statistics; photos, attention, and
generated and reference speech with what was heard in it.
  --num-items N       images on the page, evenly spaced (default $num_items), with the best, the median and the worst
  --other DIR         a second system that described the same images, beside the first
  --embed true|false  media inside the page: one file to send, a third larger (default $embed)
  --ceilings DIR      holds resynth/ (steps/respeak.sh): its speech can be heard too
                      (default: those that the scores name)
  --unit-dir DIR      units whose statistics to show (default: those that the scores name)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 3 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 system=$2 out=$3

inputs=("$data/images.scp" "$data/utt2image" "$system/wav.scp" "$root"/i2s/report/*.{html,css,js})
# The wavs and matrices themselves are newer whenever the stamp of their step is.
for dir in "$system" ${other:+"$other"}; do
  for file in "$dir"/{results.json,per_image.json,attention.scp,units,.speech,.units} "$dir/../manifest.json"; do
    if [ -f "$file" ]; then inputs+=("$file"); fi
  done
done
stamp_set "$system/.reported" \
  "items=$num_items other=$other embed=$embed out=$out ceilings=$ceilings units=$unit_dir" "${inputs[@]}"
stamp_holds "$out/index.html" && exit 0
stamp_begin || true
python -m i2s.bin.report --num-items "$num_items" --embed "$embed" ${other:+--other "$other"} \
  ${ceilings:+--ceilings "$ceilings"} ${unit_dir:+--unit-dir "$unit_dir"} "$data" "$system" "$out"
stamp_end
