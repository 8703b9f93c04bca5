#!/usr/bin/env bash
# Stage 6: learn discrete units from speech and write all speech in them.
set -euo pipefail
nj=2
cmd=
units=kmeans
config=
num_units=
unit_bpe=
unit_smooth=
min_run=
seed=
overrides=
help_message="Usage: steps/units.sh [options] DATA_DIR UNIT_DIR
Learn units from DATA_DIR/train/unit_feats.scp; encode train, dev and test of DATA_DIR into
UNIT_DIR/<split>/{units,unit_durations}; train a BPE over the units; print statistics. No text is read. (Units that are
words or phones of an alignment are not learned: see steps/align_units.sh, which is run for them.)
  --nj N             jobs, split over the utterances (default $nj)
  --cmd CMD          where jobs run (default \$cpu_cmd of cmd.sh)
  --units NAME       how units are learned (default $units)
  --config FILE      yaml with the keys of the method's Config (see i2s/units); the options below come after it:
  --num-units K      size of the inventory (default 200; pseudo-phones: 100, which need not all be used)
  --unit-bpe N       pieces of the BPE over units, which shorten what the image model predicts (0: none)
  --seed S           seed of all that is random
  --unit-smooth L    kmeans: cost of a change of unit, in mean squared distances of a frame to its unit (default 1)
  --min-run N        kmeans: frames that a unit lasts at least (default 3; 1: no bound)
  --overrides 'key=value ...'    any of the keys"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 dir=$2
case $units in
  words | phones-l1 | phones-l2)
    exec "$root/steps/align_units.sh" --nj "$nj" --cmd "$cmd" --units "$units" --config "$config" \
      --unit-bpe "$unit_bpe" --overrides "$overrides" "$data" "$dir"
    ;;
esac
# shellcheck disable=SC2206 # several words
values=(${num_units:+num_units=$num_units} ${unit_bpe:+bpe_size=$unit_bpe} ${unit_smooth:+smoothing=$unit_smooth}
  ${min_run:+min_run=$min_run} ${seed:+seed=$seed} $overrides)

stamp_set "$dir/.done" "units=$units ${values[*]}" ${config:+"$config"} \
  "$data"/{train,dev,test}/{unit_feats.scp,features.json}
for split in dev test; do
  if ! cmp -s "$data/train/features.json" "$data/$split/features.json"; then
    echo "$0: error: the speech features of train and $split differ (features.json); extract them again, alike" >&2
    exit 1
  fi
done
stamp_holds "$dir/manifest.json" "$dir/stats.json" "$dir"/{train,dev,test}/{units,unit_durations} && exit 0
stamp_begin || rm -rf "${dir:?}"/{.trained,manifest.json,stats.json,train,dev,test}
rm -f "$dir"/{.phones,phones.json,phones.png}
echo "$(basename "$0"): $units units of $data, $nj jobs; logs: $dir/log" >&2
if [ ! -f "$dir/.trained" ]; then
  # shellcheck disable=SC2086 # a command with its options
  ${cmd:-$cpu_cmd} "$dir/log/train.log" \
    python -m i2s.bin.train_units --units "$units" ${config:+--config "$config"} \
    --overrides "${values[@]}" -- "$data/train/unit_feats.scp" "$dir"
  touch "$dir/.trained"
fi
for split in train dev test; do
  rm -rf "${dir:?}/$split/parts" # of a run that was stopped
  # shellcheck disable=SC2086 # a command with its options
  ${cmd:-$cpu_cmd} JOB="1:$nj" "$dir/log/encode_$split.JOB.log" \
    python -m i2s.bin.encode_units --units "$units" --job "JOB/$nj" "$dir" "$data/$split/unit_feats.scp" \
    "$dir/$split/parts/units.JOB" "$dir/$split/parts/unit_durations.JOB"
done
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} "$dir/log/finish.log" python -m i2s.bin.finish_units --units "$units" \
  "$dir" "$data/train/features.json"
python -m i2s.bin.unit_stats "$dir"
rm -r "$dir"/{train,dev,test}/parts
stamp_end
