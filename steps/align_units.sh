#!/usr/bin/env bash
# Stage 6 for units that are words or phones: say when each is spoken, and write all speech in them.
set -euo pipefail
nj=2
cmd=
units=
config=
unit_bpe=
overrides=
help_message="Usage: steps/align_units.sh [options] --units words|phones-l1|phones-l2 DATA_DIR UNIT_DIR
Align train, dev and test of DATA_DIR, into UNIT_DIR/<split>/{alignment.ctm,units,unit_durations}; UNIT_DIR/symbols.txt
says which unit is which word or phone. words and phones-l1 are aligned with DATA_DIR/<split>/text; phones-l2 are what a
recogniser of another language hears, and no text is read. Utterances of which that fails are in UNIT_DIR/<split>/failures.
  --nj N             jobs, split over the utterances (default $nj)
  --cmd CMD          where jobs run (default \$cpu_cmd of cmd.sh)
  --config FILE      yaml with the keys of i2s.units.aligned.AlignedConfig; the options below come after it:
  --unit-bpe N       pieces of a BPE over phones, which shorten what the image model predicts (default 0: none)
  --overrides 'key=value ...'    any of the keys: lexicon=FILE on_failure=skip alignments=PATH (folder of
                     TextGrids, CTM file, data directory with <split>/words.ctm and <split>/phones.ctm, or units of
                     the same kind, whose alignment is taken over) ..."
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ] || [ -z "$units" ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 dir=$2
# shellcheck disable=SC2206 # several words
values=(${unit_bpe:+bpe_size=$unit_bpe} $overrides)
tables=("$data"/{train,dev,test}/{wav.scp,feats.scp})
if [ "$units" != phones-l2 ]; then
  for split in train dev test; do
    if [ -f "$data/$split/text" ]; then tables+=("$data/$split/text"); fi
  done
fi
options=(--units "$units" ${config:+--config "$config"} --overrides "${values[@]}")
plan=$(python -m i2s.bin.plan_alignments "${options[@]}")
folders=
while read -r named; do # lexicons, alignments, models and phone maps are inputs, too
  if [ -f "$named" ]; then
    tables+=("$named")
  else
    folders+=" $named: $(folder_state "$named")"
  fi
done < <(tail -n +2 <<<"$plan")

stamp_units() {
  stamp_set "$dir/.done" "units=$units ${values[*]}$folders" ${config:+"$config"} "$data/train/features.json" \
    "${tables[@]}"
}
stamp_units
stamp_holds "$dir"/{manifest.json,stats.json,symbols.txt} "$dir"/{train,dev,test}/{units,unit_durations} && exit 0
python -m i2s.bin.check_alignments "${options[@]}" -- "$data"/{train,dev,test}
rm -f "$dir"/{manifest.json,.phones,phones.json,phones.png}
echo "$(basename "$0"): $units of $data, $nj jobs; logs: $dir/log" >&2
# Alignments outlive a change of what is made of them: pieces of another number, failures that are to be skipped.
stamp_set "$dir/.aligned" "units=$units ${plan%%$'\n'*}$folders" "${tables[@]}"
if ! stamp_holds "$dir"/{train,dev,test}/{alignment.ctm,failures}; then
  stamp_begin "nj=$nj" || rm -rf "${dir:?}"/{train,dev,test}
  for split in train dev test; do
    # shellcheck disable=SC2086 # a command with its options
    ${cmd:-$cpu_cmd} JOB="1:$nj" "$dir/log/align_$split.JOB.log" \
      python -m i2s.bin.align_units --job "JOB/$nj" "${options[@]}" -- "$data/$split" \
      "$dir/$split/parts/alignment.JOB" "$dir/$split/parts/failures.JOB"
    python -m i2s.bin.join_alignments "$dir/$split"
  done
  stamp_end
fi
stamp_units
stamp_begin || rm -f "$dir"/{config.yaml,stats.json,bpe.model,symbols.txt}
rm -rf "$dir"/{train,dev,test}/parts
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} "$dir/log/finish_alignments.log" python -m i2s.bin.finish_alignments "${options[@]}" -- "$data" "$dir"
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} "$dir/log/finish.log" python -m i2s.bin.finish_units --units "$units" \
  "$dir" "$data/train/features.json"
python -m i2s.bin.unit_stats "$dir"
rm -r "$dir"/{train,dev,test}/parts
stamp_end
