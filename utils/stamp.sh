# shellcheck shell=bash
# Sourced by steps: lets a finished step be skipped and a killed one go on where it stopped.
#
#   stamp_set FILE "OPTIONS" INPUT...   name the stamp, the options and the input files that the outputs depend on; with
#                                       a table of matrices (.scp) come the archives that hold them
#   files_state TABLE                   print what to put among the options where the files that TABLE names are inputs
#   folder_state PATH                   the same for a folder, all that is in it (or for a file)
#   weights_state PATH          print PATH and, of a model directory of ours, what tells it from one trained anew
#   stamp_holds OUTPUT...               true if the step was finished with these very options and inputs
#   stamp_begin [SPLIT]                 true if what lies there unfinished was begun with these very options and inputs,
#                                       and split alike (say, nj=4), which is of no account once the step is finished
#                                       (refused while another process is at work in the stamp's folder)
#   stamp_end                           record that the step is finished
#
# A step reads:  stamp_set ...; stamp_holds out && exit 0; stamp_begin || rm -rf partial; work; stamp_end

stamp_set() {
  stamp_file=$1 stamp_text="options $2"$'\n'
  shift 2
  local input
  for input in "$@"; do
    if [ ! -f "$input" ]; then
      echo "$0: error: $input: no such file; run the stage that makes it first" >&2
      exit 1
    fi
    stamp_text+="$(sha256sum <"$input" | cut -c1-64) $input$(archives_state "$input")"$'\n'
  done
}

archives_state() { # TABLE: of one that names matrices in archives, a short text that changes when these are written anew
  case $1 in *.scp) ;; *) return 0 ;; esac
  local archives
  # (New matrices of the old shapes leave the table, `key archive:offset`, as it was.)
  archives=$(sed -nE 's/^[^[:space:]]+[[:space:]]+(.*):[0-9]+$/\1/p' "$1" | LC_ALL=C sort -u)
  [ -z "$archives" ] || printf ' %s' "$(_state_of <<<"$archives")"
}

_state_of() { # of the files that stdin names
  { xargs -r -d '\n' stat -L --format '%n %s %y' -- 2>&1 || true; } | sha256sum | cut -c1-16
}

files_state() { # TABLE: a short text that changes when a file named in its second column is written anew
  [ -f "$1" ] || return 0
  # (Kaldi's pipes, entries that end in |, are no files.)
  { grep -v '|[[:space:]]*$' "$1" || true; } | sed 's/^[[:space:]]*[^[:space:]]*[[:space:]]*//' | _state_of
}

folder_state() { # PATH: a short text that changes when a file there is written anew
  { find -L "$1" -type f -printf '%P %s %T@\n' 2>/dev/null || true; } | sort | sha256sum | cut -c1-16
}

weights_state() { # PATH: what to put among the options where PATH, if any, names weights
  printf %s "$1"
  if [ -f "${1:+$1/manifest.json}" ]; then sha256sum <"$1/manifest.json" | cut -c1-16; fi
}

stamp_holds() {
  local output
  for output in "$@"; do
    [ -e "$output" ] || return 1
  done
  if [ -f "$stamp_file" ] && [ "$(cat "$stamp_file")" = "${stamp_text%$'\n'}" ]; then
    echo "$(basename "$0"): $(dirname "$stamp_file"): up to date" >&2
    return 0
  fi
  return 1
}

_stamp_lock() { # held by all that the step starts: what a killed step left running counts, too
  local folder
  folder=$(dirname "$stamp_file")
  mkdir -p "$folder"
  if [ -n "${stamp_lock:-}" ] || ! command -v flock >/dev/null; then return; fi
  exec {stamp_lock}<"$folder"
  local status=0
  flock --wait 5 --conflict-exit-code 100 "$stamp_lock" 2>/dev/null || status=$?
  if [ "$status" = 100 ]; then # any other: this file system knows no locks
    echo "$0: error: another process is at work in $folder; wait for it, or stop it (ps -ef | grep $folder)" >&2
    exit 1
  fi
}

stamp_begin() {
  _stamp_lock
  local same=1 begun="$stamp_text${1:-}"
  [ -f "$stamp_file.begun" ] && [ "$(cat "$stamp_file.begun")" = "${begun%$'\n'}" ] && same=0
  rm -f "$stamp_file"
  printf %s "$begun" >"$stamp_file.begun.tmp" && mv "$stamp_file.begun.tmp" "$stamp_file.begun"
  return $same
}

stamp_end() {
  printf %s "$stamp_text" >"$stamp_file.tmp" && mv "$stamp_file.tmp" "$stamp_file" && rm -f "$stamp_file.begun"
  if [ -n "${stamp_lock:-}" ]; then exec {stamp_lock}<&- && unset stamp_lock; fi
}
