# shellcheck shell=bash
# Sourced by steps that speak, in jobs that write as i2s.vocoder.speak does.
#
#   clear_speech DIR    remove what a run that was stopped left of other options or another number of jobs
#   merge_speech DIR    make one table each of what the jobs wrote, and tell of failures

clear_speech() {
  rm -rf "$1"/wav "$1"/{unit_durations,failures}.[0-9]* "$1"/{mel,wav,attention}.[0-9]*.scp
}

merge_speech() {
  local table
  for table in unit_durations failures; do
    python -m i2s.bin.merge_tables "$1/$table" "$1/$table".[0-9]*
  done
  if compgen -G "$1/attention.[0-9]*.scp" >/dev/null; then
    python -m i2s.bin.merge_tables "$1/attention.scp" "$1"/attention.[0-9]*.scp
  fi
  python -m i2s.bin.merge_tables "$1/feats.scp" "$1"/mel.[0-9]*.scp
  python -m i2s.bin.merge_tables "$1/wav.scp" "$1"/wav.[0-9]*.scp
  rm -f "$1"/{unit_durations,failures}.[0-9]* "$1"/{mel,wav,attention}.[0-9]*.scp
  if [ -s "$1/failures" ]; then
    echo "$(basename "$0"): $1: $(wc -l <"$1/failures") utterances did not end or lost their way: $1/failures" >&2
  fi
}
