#!/usr/bin/env bash
# Stage 5: image features of one data directory.
set -euo pipefail
nj=1
cmd=
image_feats=efficientnet-lite0
image_weights=
on_bad_image=error
views=1
help_message="Usage: steps/image_feats.sh [options] DATA_DIR
Compute the features of DATA_DIR/images.scp into DATA_DIR/image_feats.scp: one matrix an image, a row for each position
of the network's last map in reading order, or for each region (DATA_DIR/image_regions.scp then holds boxes, classes and
scores). DATA_DIR/image_feats.json tells which network and weights made them. Those of another network are not lost:
they are put aside in DATA_DIR/image_feats.NAME, and come back when that network is asked for again.
  --nj N               jobs, split over the images (default $nj: one job uses all cores, or the GPU)
  --cmd CMD            where jobs run (default \$cpu_cmd of cmd.sh; \$gpu_cmd for a GPU)
  --image-feats NAME   the network (default $image_feats); './run.sh --image-feats help' lists them
  --image-weights PATH a weights file, or a folder that holds it, in place of the official download
  --views N            also of N - 1 changed copies of each photo, into DATA_DIR/image_views.scp: random parts of three
                       quarters or more of its width and height, every other one mirrored. Training then sees one of
                       the N at a time. Not for descriptions that tell left from right (default $views: none)
  --on-bad-image WHAT  error: stop at an image that cannot be read (default); skip: leave it and its utterances out of
                       DATA_DIR, and list it in DATA_DIR/image_failures"
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/path.sh"
. "$root/cmd.sh"
. "$root/utils/parse_options.sh"
. "$root/utils/stamp.sh"
if [ $# -ne 1 ]; then
  printf '%s\n' "$help_message" >&2
  exit 2
fi
data=$1 out=$1/image_feats

# What is put aside counts as begun: when it comes back, nothing is computed, and the tables become DATA_DIR's anew.
there=$({ cat "$out"/.done{,.begun} 2>/dev/null || true; } | sed -n '1s/.* image-feats=\([^ ]*\) .*/\1/p')
if [ -n "$there" ] && [ "$there" != "$image_feats" ]; then
  if [ -f "$out/.done" ]; then
    parts=("$out"/image_feats.*.scp)
    { cat "$out/.done" && printf 'nj=%s' "${#parts[@]}"; } >"$out/.done.begun"
    rm "$out/.done"
  fi
  rm -rf "$out.$there"
  mv "$out" "$out.$there"
fi
if [ ! -d "$out" ] && [ -d "$out.$image_feats" ]; then
  mv "$out.$image_feats" "$out"
  if [ -f "$out/.done.begun" ]; then nj=$(sed -n '$s/^nj=//p' "$out/.done.begun"); fi # as it was split then
fi

stamp_images() {
  local weights=$image_weights
  if [ -n "$weights" ]; then weights+=" $(folder_state "$weights")"; fi
  stamp_set "$out/.done" \
    "image-feats=$image_feats views=$views weights=$weights on-bad-image=$on_bad_image images=$(files_state "$data/images.scp")" \
    "$data/images.scp"
}
stamp_images
stamp_holds "$data/image_feats.scp" "$data/image_feats.json" && exit 0
stamp_begin "nj=$nj" || rm -f "$out"/image_*.*
echo "$(basename "$0"): $image_feats of $data, $nj jobs; logs: $out/log" >&2
# shellcheck disable=SC2086 # a command with its options
${cmd:-$cpu_cmd} JOB="1:$nj" "$out/log/extract.JOB.log" \
  python -m i2s.bin.extract_images --image-feats "$image_feats" ${image_weights:+--image-weights "$image_weights"} \
  --views "$views" --on-bad-image "$on_bad_image" --job "JOB/$nj" "$data/images.scp" "$out"
python -m i2s.bin.finish_images "$data" "$out"
if [ -s "$data/image_failures" ]; then
  # images.scp may have changed: the stamp is of the images that remain.
  stamp_images
  stamp_begin || true
fi
stamp_end
