#!/usr/bin/env bash
# Stage 3: speak the captions of one data directory.
set -euo pipefail
nj=$(nproc)
cmd=
tts=hibari
tts_options=
sample_rate=22050
seed=0
help_message="Usage: steps/speak.sh [options] DATA_DIR
Speak DATA_DIR/text into DATA_DIR/wav and write DATA_DIR/wav.scp. A caption that the voice cannot speak is listed in
DATA_DIR/speak_failures ('utterance-id reason') and taken out of text, utt2image, utt2spk and spk2utt.
A run that was stopped goes on where it stopped; other captions, voice or options begin afresh.
  --nj N             jobs, split over the captions (default: the number of cores, here $nj)
  --cmd CMD          where jobs run (default \$cpu_cmd of cmd.sh)
  --tts NAME         the voice (default $tts): hibari, pico, piper, espnet
  --tts-options STR  options of the voice, 'key=value ...': speed=0.9; voice=de-DE; model=VOICE.onnx
  --sample-rate HZ   of the wavs (default $sample_rate)
  --seed N           of what is random in a voice (default $seed)"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=${1%/}

stamp_captions() {
  if [ ! -f "$1" ]; then
    echo "$0: error: $1: no such file; prepare the data first (stage 2)" >&2
    exit 1
  fi
  stamp_set "$data/wav/.done" "tts=$tts $tts_options sample-rate=$sample_rate seed=$seed text=$(sha256sum <"$1")"
}

if [ -f "$data/wav.scp" ] && grep -qvF " $data/wav/" "$data/wav.scp"; then
  echo "$0: error: $data/wav.scp names recordings that this step did not make; to replace them, remove it" >&2
  exit 1
fi
stamp_captions "$data/text"
stamp_holds "$data/wav.scp" && exit 0
# Captions and voice have a folder of their own, so that with other ones wav.scp changes and later stages notice.
wavs=$data/wav/$(printf %s "$stamp_text" | sha256sum | cut -c1-8)
stamp_begin || true
hex='[0-9a-f]'
find "$data/wav" -mindepth 1 -maxdepth 1 -type d -name "$hex$hex$hex$hex$hex$hex$hex$hex" ! -name "${wavs##*/}" \
  -exec rm -rf {} +
[ -d "$wavs" ] && find "$wavs" -name '.*.tmp*' -delete # left by a killed run
rm -f "$wavs"/failures.* "$wavs/text"
echo "$(basename "$0"): $tts speaks $(wc -l <"$data/text") captions of $data, $nj jobs; logs: $data/wav/log" >&2
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$data/wav/log/speak.JOB.log" \
  python -m i2s.bin.speak --tts "$tts" --tts-options "$tts_options" --sample-rate "$sample_rate" --seed "$seed" \
  --job "JOB/$nj" "$data/text" "$wavs"
python -m i2s.bin.finish_speaking "$data" "$wavs"
if [ -f "$wavs/text" ]; then
  # The stamp is of the captions that remain. It is written before they replace the old ones, so that a run killed
  # here finds captions that do not match it and speaks afresh, with the same result.
  stamp_captions "$wavs/text"
  stamp_begin || true
  stamp_end
  mv "$wavs/text" "$data/text"
else
  stamp_end
fi
