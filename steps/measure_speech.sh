#!/usr/bin/env bash
# Stage 10, without text: how long speech is, how it ends, and how far it is from recordings of the same words.
set -euo pipefail
nj=2
cmd=
recordings=
help_message="Usage: steps/measure_speech.sh [options] WAV_SCP OUT_TABLE
Measure the wavs of WAV_SCP into OUT_TABLE: seconds, whether they end abruptly, DNSMOS where speechmos is installed.
  --nj N                jobs, split over the wavs (default $nj)
  --cmd CMD             where jobs run (default \$cpu_cmd of cmd.sh)
  --recordings WAV_SCP  recordings of the same ids: mel-cepstral distortion, F0 error and voicing error, too"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
scp=$1 out=$2 parts=$2.parts

# Once speechmos is installed, what was measured without it is measured again.
mos=$(python -c 'from i2s.score.speech import has_mos; print(has_mos())')
stamp_set "$parts/.done" "mos=$mos wavs=$(files_state "$scp") recordings=$(files_state "${recordings:-/dev/null}")" \
  "$scp" ${recordings:+"$recordings"}
stamp_holds "$out" && exit 0
stamp_begin || rm -f "$parts"/[0-9]*
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$parts/log/measure.JOB.log" \
  python -m i2s.bin.measure_speech ${recordings:+--recordings "$recordings"} --job "JOB/$nj" "$scp" "$parts/JOB"
python -m i2s.bin.merge_tables "$out" "$parts"/[0-9]*
rm -f "$parts"/[0-9]*
stamp_end
