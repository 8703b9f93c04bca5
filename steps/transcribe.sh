#!/usr/bin/env bash
# Stage 10: what a recogniser hears in wavs.
set -euo pipefail
nj=$(nproc)
cmd=
asr=pocketsphinx
asr_options=
lm_text=
cache=
help_message="Usage: steps/transcribe.sh [options] WAV_SCP OUT_TABLE
Transcribe the wavs of WAV_SCP into OUT_TABLE: 'id words', lower case without punctuation; where nothing was heard the
id stands alone on its line. OUT_TABLE.parts holds the jobs' tables and logs; a run that was stopped goes on there.
  --nj N             jobs, split over the wavs (default: the number of cores, here $nj)
  --cmd CMD          where jobs run (default \$cpu_cmd of cmd.sh)
  --asr NAME         the recogniser (default $asr): pocketsphinx, vosk, whisper, espnet
  --asr-options STR  options of the recogniser, 'key=value ...': model=FOLDER, language=en, beam=5
  --lm-text TABLE    training captions ('id words') for recognisers that make a language model of them (pocketsphinx)
  --cache DIR        what is heard is kept there by content: the same wavs, of another folder, are not heard twice"
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

# The wavs' content counts, not only their names: a new model speaks into the same files.
if [ ! -f "$scp" ]; then
  echo "$0: error: $scp: no such file; run the stage that makes it first" >&2
  exit 1
fi
if ! content=$(cut -d ' ' -f 2- "$scp" | xargs -d '\n' sha256sum | cut -c1-64 | sha256sum | cut -c1-64); then
  echo "$0: error: $scp names wavs that cannot be read; run the stage that makes them again" >&2
  exit 1
fi
listener="$asr $asr_options"
for option in $asr_options; do # a model that is trained anew hears other words
  if [ -e "${option#*=}" ]; then listener+=" $(folder_state "${option#*=}")"; fi
done
stamp_set "$parts/.done" "asr=$listener wavs=$content" "$scp" ${lm_text:+"$lm_text"}
stamp_holds "$out" && exit 0
stamp_begin || find "$parts" -mindepth 1 -maxdepth 1 ! -name .done.begun -exec rm -rf {} +
# A name for what is to be heard, wherever it lies: variants of a system share the recordings that are their ceiling.
same=$({ printf '%s\n' "$listener $content" && cut -d ' ' -f 1 "$scp" && cat "${lm_text:-/dev/null}"; } |
  sha256sum | cut -c1-32)
if [ -n "$cache" ] && [ -f "$cache/$same" ]; then
  echo "$(basename "$0"): what $asr hears in the wavs of $scp is known: $cache/$same" >&2
  python -m i2s.bin.merge_tables "$out" "$cache/$same"
  stamp_end
  exit
fi
echo "$(basename "$0"): $asr transcribes $(wc -l <"$scp") wavs of $scp, $nj jobs; logs: $parts/log" >&2
# Another number of jobs splits the table elsewhere, so each number has a folder of its own.
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$parts/log/transcribe.JOB.log" \
  python -m i2s.bin.transcribe --asr "$asr" --asr-options "$asr_options" ${lm_text:+--lm-text "$lm_text"} \
  --job "JOB/$nj" "$scp" "$parts/of$nj/JOB"
python -m i2s.bin.merge_tables "$out" "$parts/of$nj"/*
if [ -n "$cache" ]; then python -m i2s.bin.merge_tables "$cache/$same" "$out"; fi
stamp_end
