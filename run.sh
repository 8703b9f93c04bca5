#!/usr/bin/env bash
# From photos and speech to a system that describes photos in speech. Every stage of every recipe, written once.
set -euo pipefail

command=${recipe_command:-$(printf "%q " ./run.sh "$@")} # as results are written down
arguments=("$@")
stage=1
stop_stage=11
nj=$(nproc)
ngpu=0
data=data
exp=exp
downloads=downloads
tag=
split=
ablation=
# parts, each from its registry (`--tts help` lists the voices, and so on)
system=units
tts=hibari
asr=pocketsphinx
second_asr=
image_feats=efficientnet-lite0
image_views=1
units=kmeans
i2u=transformer
u2s=fast
vocoder=griffinlim
# options of the parts
tts_options=
asr_options=
second_asr_options=
image_weights=
num_units=
unit_bpe=
unit_config=
unit_args=
i2u_config=
i2u_args=
u2s_config=
u2s_args=
sas_config=
sas_args=
vocoder_weights=
search_args=
samples=5
size=small
on_bad_image=error
spice=false
prepare_args=

help_message="Usage: ./run.sh [options]
Learn to describe images in speech with no text in between, and measure it. Without options: the embedded corpus.

  --stage N, --stop-stage N   first and last stage to run (default $stage..$stop_stage):
      1 download   2 prepare data   3 speak the captions   4 speech features   5 image features   6 discover units
      7 train image-to-unit   8 train unit-to-speech   9 generate   10 transcribe and score   11 report
  --nj N          jobs side by side (default: cores); cmd.sh says where they run
  --ngpu N        GPUs for training (default $ngpu: one where there is one, else the CPU)
  --data DIR, --exp DIR, --downloads DIR    where things go (default $data, $exp, $downloads)
  --tag TAG       suffix of the experiment's folders, to keep variants side by side
  --split NAME    the split that stages 9-11 describe and score (default test, with --ablation dev; tune on dev)
  --ablation FILE run every row of a table of variants (conf/ablation_*.yaml) and write their scores side by side

  --size small|full    default configurations: conf/*_small.yaml, learned in minutes on a CPU, or conf/*.yaml (default $size)

  --system NAME   units: photo to units, units to speech; sas: photo to spectrogram, without 6 and 7 (default $system)
  --tts NAME      voice (default $tts)                --tts-options 'key=value ...'
  --asr NAME      recogniser (default $asr)     --asr-options 'key=value ...'
  --second-asr NAME    score what another recogniser hears, too   --second-asr-options 'key=value ...'
  --image-feats NAME   (default $image_feats)   --image-weights FILE_OR_DIR   --on-bad-image error|skip
  --image-views N      train on each photo and N - 1 changed copies (default $image_views); see steps/image_feats.sh
  --units NAME    (default $units)               --unit-config FILE  --unit-args 'key=value ...'
      --num-units K   of kmeans (default 200) and pseudo-phones (100)
      --unit-bpe N    pieces of a BPE over units (default 1000, full size 4000; 0: none; words: 0)
  --i2u NAME      (default $i2u)          --i2u-config FILE   --i2u-args 'key=value ...'
  --u2s NAME      (default $u2s)                 --u2s-config FILE   --u2s-args 'key=value ...'
  (--system sas)                           --sas-config FILE   --sas-args 'key=value ...'
  --vocoder NAME  (default $vocoder)               --vocoder-weights PATH (wavenet: see steps/train_vocoder.sh)
                  (--u2s clustergen needs none)
  --search-args 'key=value ...'   search of image-to-unit, or of what --system sas draws
  --samples N     draw so many descriptions of each image as units, to see how they vary (default $samples)
  --spice true    SPICE too (needs Java)
  --prepare-args 'ARG ...'        passed to the recipe's local/prepare_data.sh
NAME may be 'help'. A finished stage is skipped while its options and inputs stay the same; a killed one goes on."

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
if [ $# -ne 0 ]; then
  echo "$0: error: unexpected argument: $1; see $0 --help" >&2
  exit 2
fi
if [ "$stage" -lt 1 ] || [ "$stage" -gt "$stop_stage" ] || [ "$stop_stage" -gt 11 ]; then
  echo "$0: error: stages $stage to $stop_stage: there are 1 to 11; see $0 --help" >&2
  exit 2
fi
case $split in
  '' | train | dev | test) ;;
  *)
    echo "$0: error: --split $split: train, dev or test" >&2
    exit 2
    ;;
esac
conf() { # a recipe's own file comes before the project's
  if [ -f "$1" ]; then echo "$1"; else echo "$root/$1"; fi
}
for name in unit i2u u2s sas; do # asked for now: the stage that reads it may come hours later
  file=${name}_config
  if [ -n "${!file}" ] && [ ! -f "$(conf "${!file}")" ]; then
    echo "$0: error: --$name-config ${!file}: no such file" >&2
    exit 2
  fi
done
python -m i2s.bin.check_parts --system "$system" --tts "$tts" --asr "$asr" --image-feats "$image_feats" \
  --units "$units" --i2u "$i2u" --u2s "$u2s" --vocoder "$vocoder"
[ -z "$second_asr" ] || python -m i2s.bin.check_parts --asr "$second_asr"

: "${split:=${ablation:+dev}}" "${split:=test}"
learned=true # units: other speech can be written in them, too
case $units in
  words) learned=false num_units='' unit_bpe=${unit_bpe:-0} ;; # as many units as there are words
  phones-*) learned=false num_units='' ;;
  pseudo-phones) num_units=${num_units:-100} ;;
  *) num_units=${num_units:-200} ;;
esac

default_conf() { # NAME: its configuration of the wanted size, or the only one
  local small=conf/$1_small.yaml
  if [ "$size" = small ] && [ -f "$(conf "$small")" ]; then echo "$small"; else echo "conf/$1.yaml"; fi
}
case $size in
  small) unit_bpe=${unit_bpe:-1000} ;;
  full) unit_bpe=${unit_bpe:-4000} ;;
  *)
    echo "$0: error: --size $size: small or full" >&2
    exit 2
    ;;
esac
: "${unit_config:=$(default_conf "units_$units")}"
: "${i2u_config:=$(default_conf "i2u_$i2u")}"
: "${u2s_config:=$(default_conf "u2s_$u2s")}"
: "${sas_config:=$(default_conf sas_blocks)}"

if [ -n "$ablation" ]; then
  ablation=$(conf "$ablation")
  exec python -m i2s.bin.ablation --command "$command" --split "$split" --exp "$exp" \
    "$ablation" "$exp/$(basename "$ablation" .yaml)$tag" -- "$root/run.sh" "${arguments[@]}"
fi
running=''
note_stage() { # the stage that has ended, for utils/results.sh
  if [ -n "$running" ]; then
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date +%FT%T)" "$commit" "$running" "$((SECONDS - began))" \
      "$system_dir" "$unit_dir" "$command" >>"$exp/stages.tsv"
    running=''
  fi
}
runs() { # whether stage $1 is asked for; announces it
  note_stage
  if [ "$stage" -gt "$1" ] || [ "$stop_stage" -lt "$1" ]; then return 1; fi
  running=$1 began=$SECONDS
  printf '\n== stage %s: %s  (%s)\n' "$1" "$2" "$(date +%T)" >&2
}
validate() { # every split, after a stage that wrote to it
  for s in train dev test; do "$root/utils/validate_data_dir.sh" "$@" "$data/$s"; done
}
transcribe() { # what recogniser $1 with options $2 hears in $3
  "$root/steps/transcribe.sh" --nj "$nj" --asr "$1" --asr-options "$2" --lm-text "$data/train/text" \
    --cache "$exp/transcripts_cache" "$3/wav.scp" "$3/transcripts/$1"
}
skips() { printf '%s\n' "$*; skipped" >&2; }

unit_dir=$exp/units_$units$num_units$tag
i2u_dir=$exp/i2u_$i2u$tag
u2s_dir=$exp/u2s_$u2s$tag
sas_dir=$exp/sas$tag
if [ "$system" = sas ]; then
  # The reference's spectrograms through the vocoder are its ceiling: as its units, the same for all variants.
  name=sas_$vocoder$tag speaker=()
  ceilings_dir=$exp/ceilings_sas_$vocoder
  unit_dir=$exp/units_$units$num_units
else
  voice=${u2s}_$vocoder
  if [ "$u2s" = clustergen ]; then voice=$u2s vocoder='' vocoder_weights=''; fi
  name=${i2u}_$voice$tag speaker=("$unit_dir" "$u2s_dir")
  ceilings_dir=$exp/ceilings_$voice$tag
fi
system_dir=$exp/$name
features=$(conf conf/features.yaml)
commit=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
mkdir -p "$exp"

if runs 1 "download"; then
  local/download_data.sh "$downloads"
fi

if runs 2 "prepare data"; then
  # shellcheck disable=SC2086 # several arguments
  nj=$nj local/prepare_data.sh $prepare_args "$downloads" "$data"
fi

if runs 3 "speak the captions"; then
  if [ -f "$data/train/wav.scp" ] && [ ! -d "$data/train/wav" ]; then
    skips "this corpus brings its own recordings"
  else
    for s in train dev test; do
      "$root/steps/speak.sh" --nj "$nj" --tts "$tts" --tts-options "$tts_options" "$data/$s"
    done
    validate --no-feats
  fi
fi

if runs 4 "speech features"; then
  for s in train dev test; do
    "$root/steps/speech_feats.sh" --nj "$nj" --config "$features" "$data/$s"
  done
  validate --no-text
fi

if runs 5 "image features"; then
  for s in train dev test; do
    views=1
    if [ "$s" = train ]; then views=$image_views; fi
    "$root/steps/image_feats.sh" --nj 1 --image-feats "$image_feats" --image-weights "$image_weights" \
      --views "$views" --on-bad-image "$on_bad_image" "$data/$s"
  done
  validate --no-text
fi

if runs 6 "discover units"; then
  if [ "$system" = sas ]; then
    skips "--system sas needs no units (but scores in those of $unit_dir where they are)"
  else
    "$root/steps/units.sh" --nj "$nj" --units "$units" --config "$(conf "$unit_config")" \
      --num-units "$num_units" --unit-bpe "$unit_bpe" --overrides "$unit_args" "$data" "$unit_dir"
  fi
fi

if runs 7 "train image-to-unit"; then
  if [ "$system" = sas ]; then
    skips "--system sas has no image-to-unit model"
  else
    "$root/steps/train_i2u.sh" --ngpu "$ngpu" --i2u "$i2u" --config "$(conf "$i2u_config")" --overrides "$i2u_args" \
      "$data" "$unit_dir" "$i2u_dir"
  fi
fi

if [ "$system" = sas ]; then
  if runs 8 "train image-to-spectrogram"; then
    "$root/steps/train_sas.sh" --ngpu "$ngpu" --config "$(conf "$sas_config")" --overrides "$sas_args" \
      "$data" "$sas_dir"
  fi
elif runs 8 "train unit-to-speech"; then
  "$root/steps/train_u2s.sh" --ngpu "$ngpu" --u2s "$u2s" --config "$(conf "$u2s_config")" --overrides "$u2s_args" \
    "$data" "$unit_dir" "$u2s_dir"
fi

if runs 9 "generate"; then
  [ -n "$vocoder" ] || skips "--u2s $u2s makes waveforms itself: the vocoder"
  speak=(--nj "$nj" --vocoder "$vocoder" --vocoder-weights "$vocoder_weights")
  if [ "$system" = sas ]; then
    "$root/steps/generate_sas.sh" "${speak[@]}" --image-weights "$image_weights" --search-args "$search_args" \
      "$data/$split" "$sas_dir" "$system_dir"
  else
    "$root/steps/generate.sh" "${speak[@]}" --image-weights "$image_weights" --search-args "$search_args" \
      --samples "$samples" "$data/$split" "$i2u_dir" "$u2s_dir" "$system_dir"
  fi
  "$root/steps/respeak.sh" "${speak[@]}" "$data/$split" "${speaker[@]}" "$ceilings_dir/$split"
fi

if runs 10 "transcribe and score"; then
  generated=$system_dir/$split ceilings=$ceilings_dir/$split
  heard=("$generated" "$ceilings/voice" "$ceilings/resynth")
  if [ "$system" = sas ] && [ ! -f "$unit_dir/manifest.json" ]; then
    skips "scores in units: there are none in $unit_dir"
    unit_dir=
  fi
  if [ "$learned" = false ]; then
    skips "units of speech: $units come from alignments; those of the reference are compared with what was predicted"
  elif [ -n "$unit_dir" ]; then
    for d in "${heard[@]}"; do
      "$root/steps/reencode.sh" --nj "$nj" --config "$features" "$unit_dir" "$d"
    done
  fi
  "$root/steps/measure_speech.sh" --nj "$nj" "$generated/wav.scp" "$generated/speech"
  "$root/steps/measure_speech.sh" --nj "$nj" "$ceilings/voice/wav.scp" "$ceilings/voice/speech"
  "$root/steps/measure_speech.sh" --nj "$nj" --recordings "$ceilings/voice/wav.scp" \
    "$ceilings/resynth/wav.scp" "$ceilings/resynth/speech"
  if [ -f "$data/$split/text" ]; then
    [ -z "$unit_dir" ] || "$root/steps/unit_phones.sh" "$data/$split" "$unit_dir"
    "$root/steps/make_noise.sh" "$generated/wav.scp" "$generated/noise"
    heard+=("$generated/noise")
    if [ -f "$data/train/text" ] && [ -f "$data/dev/text" ]; then
      "$root/steps/speak_constant.sh" --vocoder "$vocoder" --vocoder-weights "$vocoder_weights" \
        "$data/train" "$data/dev" "${speaker[@]}" "$ceilings/constant"
      heard+=("$ceilings/constant")
    fi
    for d in "${heard[@]}"; do
      transcribe "$asr" "$asr_options" "$d"
      [ -z "$second_asr" ] || transcribe "$second_asr" "$second_asr_options" "$d"
    done
  fi
  "$root/steps/score.sh" --asr "$asr" --second-asr "$second_asr" --spice "$spice" --unit-dir "$unit_dir" \
    --train-data "$data/train" --dev-data "$data/dev" --ceilings "$ceilings" --meteor-cache "$exp/meteor_cache" \
    "$data/$split" "$generated"
fi

if runs 11 "report"; then
  "$root/steps/report.sh" "$data/$split" "$system_dir/$split" "$system_dir/$split/report"
  cat "$system_dir/$split/results.md"
  printf '\nspoken descriptions: %s\nreport:              %s\n' \
    "$system_dir/$split/wav" "$system_dir/$split/report/index.html"
fi
note_stage
