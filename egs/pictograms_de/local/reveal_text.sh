#!/usr/bin/env bash
# Behind all stages: tell how well a listener of German understands what was learned without German text.
set -euo pipefail
help_message="Usage: local/reveal_text.sh SPOKEN DATA OUT
Copy the tables of DATA/{train,dev,test} to OUT, and beside them the text that was withheld, from SPOKEN
(downloads/pictograms_de_*/spoken). For scores alone: with --data OUT --stage 10, run.sh has a recogniser of German
listen to a finished system, and compares what it hears with that text."
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$root/path.sh"
. "$root/utils/parse_options.sh"
if [ $# -ne 3 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
spoken=$1 data=$2 out=$3
for s in train dev test; do
  rm -rf "${out:?}/$s"
  mkdir -p "$out/$s"
  find "$data/$s" -maxdepth 1 -type f ! -name '.*' -exec cp -t "$out/$s" {} +
  cp "$spoken/$s/text" "$out/$s"
  "$root/utils/validate_data_dir.sh" --no-feats "$out/$s"
done
