#!/usr/bin/env bash
# Stage 10: scores of one system on one split, beside floors and ceilings.
set -euo pipefail
asr=pocketsphinx
meteor=true
spice=false
unit_dir=
train_data=
ceilings=
help_message="Usage: steps/score.sh [options] DATA_DIR SYSTEM_DIR
Score the speech generated for the images of DATA_DIR: what the recogniser heard in it (SYSTEM_DIR/transcripts/ASR)
against DATA_DIR/text where there is one, and the units it holds (SYSTEM_DIR/reencoded_units) against the recordings'.
Writes SYSTEM_DIR/{results.json,results.md,per_image.json} and prints the table.
  --asr NAME           whose transcripts (default $asr)
  --meteor true|false  METEOR, by Java where one is found (default $meteor)
  --spice true|false   SPICE too: slow, needs Java 8 and Stanford CoreNLP (default $spice)
  --unit-dir DIR       units, with a folder named as DATA_DIR's last part: scores in units too
  --train-data DIR     training data: for the floor that says the same of every image
  --ceilings DIR       holds voice/ and resynth/ (steps/respeak.sh), transcribed and encoded as the system was"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 system=$2

inputs=("$data/utt2image")
candidates=("$system/units" "$system/reencoded_units" "$unit_dir"/{"$(basename "$data")","$(basename "$train_data")"}/units
  "$ceilings"/{voice,resynth}/reencoded_units)
if [ -f "$data/text" ]; then
  inputs+=("$data/text" "$system/transcripts/$asr")
  candidates+=("$system/transcripts/$asr.parts/.done" "$train_data/text" "$ceilings"/{voice,resynth}/transcripts/"$asr")
fi
for file in "${candidates[@]}"; do
  if [ -f "$file" ]; then inputs+=("$file"); fi
done
stamp_set "$system/.scored" "asr=$asr meteor=$meteor spice=$spice units=$unit_dir train=$train_data ceilings=$ceilings" \
  "${inputs[@]}"
if ! stamp_holds "$system/results.json" "$system/results.md" "$system/per_image.json"; then
  stamp_begin || true
  python -m i2s.bin.score --asr "$asr" --meteor "$meteor" --spice "$spice" ${unit_dir:+--unit-dir "$unit_dir"} \
    ${train_data:+--train-data "$train_data"} ${ceilings:+--ceilings "$ceilings"} "$data" "$system"
  stamp_end
fi
cat "$system/results.md"
