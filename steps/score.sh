#!/usr/bin/env bash
# Stage 10: scores of one system on one split, beside floors and ceilings.
set -euo pipefail
asr=pocketsphinx
second_asr=
meteor=true
meteor_cache=
tokens=auto
cider_df=
spice=false
unit_dir=
train_data=
dev_data=
ceilings=
help_message="Usage: steps/score.sh [options] DATA_DIR SYSTEM_DIR
Score the speech generated for the images of DATA_DIR: what the recogniser heard in it (SYSTEM_DIR/transcripts/ASR)
against DATA_DIR/text where there is one, and the units it holds (SYSTEM_DIR/reencoded_units) against the recordings'.
Writes SYSTEM_DIR/{results.json,results.md,per_image.json,statistics.npz} and prints the table. For other systems'
files see utils/score.sh, which scores in the same way.
  --asr NAME           whose transcripts (default $asr)
  --second-asr NAME    whose transcripts to score, too (default: nobody's)
  --meteor true|false  METEOR, by Java where one is found (default $meteor)
  --spice true|false   SPICE too: slow, needs Java 8 and Stanford CoreNLP (default $spice)
  --unit-dir DIR       units, with a folder named as DATA_DIR's last part: scores in units too
  --train-data DIR     training data: for the floor that says the same of every image
  --dev-data DIR       where that is chosen
  --ceilings DIR       holds voice/ and resynth/ (steps/respeak.sh) and perhaps constant/ (steps/speak_constant.sh),
                       transcribed and encoded as the system was
  --meteor-cache DIR   METEOR's counts are kept there by content
  --tokens KIND, --cider-df FILE    as of utils/score.sh"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 system=$2

inputs=("$data/utt2image") java=
candidates=("$system"/{units,search.json,reencoded_units,speech,failures} "$system"/samples/*
  "$ceilings"/{voice,resynth}/{reencoded_units,speech}
  "$unit_dir"/{"$(basename "$data")","$(basename "$train_data")","$(basename "$dev_data")"}/units
  "$unit_dir"/{manifest.json,"$(basename "$data")/failures"})
if [ -f "$data/text" ]; then
  inputs+=("$data/text" "$system/transcripts/$asr")
  candidates+=({"$train_data","$dev_data","$ceilings/constant"}/text ${cider_df:+"$cider_df"})
  for name in "$asr" ${second_asr:+"$second_asr"}; do
    candidates+=("$system/transcripts/$name.parts/.done" "$system"/{,noise/}transcripts/"$name"
      "$ceilings"/{voice,resynth,constant}/transcripts/"$name")
  done
  # Once Java is found, what was scored without METEOR is scored again.
  [ "$meteor" = false ] || java=$(python -c 'from i2s.score.java import find_java; print(find_java() is not None)')
fi
for file in "${candidates[@]}"; do
  if [ -f "$file" ]; then inputs+=("$file"); fi
done
arguments=(--asr "$asr" --meteor "$meteor" --spice "$spice" --tokens "$tokens" ${second_asr:+--second-asr "$second_asr"}
  ${unit_dir:+--unit-dir "$unit_dir"} ${train_data:+--train-data "$train_data"} ${dev_data:+--dev-data "$dev_data"}
  ${ceilings:+--ceilings "$ceilings"} ${cider_df:+--cider-df "$cider_df"})
stamp_set "$system/.scored" "${arguments[*]}${java:+ java=$java}" "${inputs[@]}"
if ! stamp_holds "$system"/{results.json,results.md,per_image.json,statistics.npz}; then
  stamp_begin || true
  python -m i2s.bin.score "${arguments[@]}" ${meteor_cache:+--meteor-cache "$meteor_cache"} "$data" "$system"
  stamp_end
fi
cat "$system/results.md"
