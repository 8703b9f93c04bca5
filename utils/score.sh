#!/usr/bin/env bash
# Scores that can be believed, of any system on any data.
set -euo pipefail
nj=$(nproc)
asr=pocketsphinx
asr_options=
lm_text=
out=
help_message="Usage: utils/score.sh [options] HYPOTHESES REFERENCES ...
       utils/score.sh [options] WAV_FOLDER REFERENCES ...
       utils/score.sh compare [--resamples N] [--json FILE] A B
       utils/score.sh frequencies [--utt2image FILE] CAPTIONS ... OUT_FILE
Score what a system says, beside floors, ceilings and 95 % intervals. HYPOTHESES and REFERENCES are tables 'id text';
an id's references may be in several files, or in several lines of one. The wavs of WAV_FOLDER (named id.wav) are read
back by a recogniser first. 'compare' tells whether one scored system is better than another, from their OUT_DIRs.
'frequencies' counts n-grams of captions, for --cider-df: of the training captions, say.
  --out DIR            where results go (default: HYPOTHESES.scores)
  --utt2image FILE     'id image' where ids are not the images' themselves
  --train FILE, --dev FILE    captions of other images: for the best constant caption, searched on train, chosen on dev
  --samples FILE       more things that the system said, several lines an id: for mBLEU
  --units true         tokens are units, not words
  --tokens auto|words|characters|ptb   (default auto: characters where the references are written without spaces)
  --cider-df FILE      document frequencies for CIDEr (default: the references')
  --meteor false, --spice true, --meteor-cache DIR
  Of WAV_FOLDER: --asr NAME (default $asr), --asr-options 'key=value ...', --lm-text TABLE, --nj N (default $nj)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
case ${1:-} in
  compare | frequencies) exec python -m "i2s.bin.score_$1" "${@:2}" ;;
esac
passed=() own=()
while [ $# -gt 0 ]; do # the scoring command checks its own options
  case $1 in
    --utt2image | --train | --dev | --samples | --units | --tokens | --cider-df | --meteor | --meteor-cache | --spice)
      passed+=("$1" "${2?"$0: error: option $1 needs a value"}")
      shift
      ;;
    --help | -h | --*=*) own+=("$1") ;;
    --*)
      own+=("$1" "${2?"$0: error: option $1 needs a value"}")
      shift
      ;;
    *) break ;;
  esac
  shift
done
set -- "${own[@]}" -- "$@"
. "$root/utils/parse_options.sh"
if [ $# -lt 2 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
hypotheses=${1%/}
shift
out=${out:-$hypotheses.scores}
if [ -d "$hypotheses" ]; then
  mkdir -p "$out"
  python -m i2s.bin.list_wavs "$hypotheses" "$out/wav.scp"
  "$root/steps/transcribe.sh" --nj "$nj" --asr "$asr" --asr-options "$asr_options" --lm-text "$lm_text" \
    "$out/wav.scp" "$out/transcripts/$asr"
  hypotheses=$out/transcripts/$asr
fi
python -m i2s.bin.score_files "${passed[@]}" "$hypotheses" "$@" "$out"
cat "$out/results.md"
