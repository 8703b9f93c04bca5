# shellcheck shell=bash
# Sourced by every script: finds the project, builds .venv at first use, puts both on the paths.
I2S_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export I2S_ROOT
export LC_ALL=C.UTF-8 PYTHONPATH="$I2S_ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1

_i2s_build_venv() {
  # The stamp names the requirements that the environment was built from; it is written last.
  local venv=$I2S_ROOT/.venv want
  want=$(sha256sum <"$I2S_ROOT/requirements.txt")
  if [ ! -f "$venv/.built" ] || [ "$(cat "$venv/.built")" != "$want" ]; then
    local python
    for python in "${PYTHON:-python3.11}" python3 python; do
      "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && break
      python=
    done
    if [ -z "$python" ]; then
      echo "path.sh: error: no Python 3.11 found; install it, or name it: PYTHON=/where/python3.11 ./run.sh" >&2
      return 1
    fi
    echo "path.sh: first use: building $venv from requirements.txt (a few minutes, about 7 GB of disk)" >&2
    "$python" -m venv --clear "$venv" &&
      "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar on \
        -r "$I2S_ROOT/requirements.txt" >&2 &&
      printf '%s\n' "$want" >"$venv/.built" || {
        echo "path.sh: error: installation failed; see above, then run again" >&2
        return 1
      }
  fi
  PATH=$venv/bin:$PATH
}

# I2S_VENV=none: use the Python packages of the environment that is active already (conda, a container).
if [ "${I2S_VENV:-}" != none ]; then
  _i2s_build_venv || exit 1
fi
export PATH
