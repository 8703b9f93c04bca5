# shellcheck shell=bash
# Sourced by every script: finds the project, builds .venv at first use, puts both on the paths.
I2S_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export I2S_ROOT
export LC_ALL=C.UTF-8 PYTHONPATH="$I2S_ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1

_i2s_python() {
  local python
  for python in "${PYTHON:-python3.11}" python3 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  echo "path.sh: error: no Python 3.11 found; install it, or name it: PYTHON=/where/python3.11 ./run.sh" >&2
  return 1
}

_i2s_build_venv() {
  local venv=$I2S_ROOT/.venv want python packages free
  PATH=$venv/bin:$PATH
  want=$(cat "$I2S_ROOT"/{requirements,constraints}.txt | sha256sum)
  # The stamp names the requirements that the environment was built from; it is written last.
  if [ -f "$venv/.built" ] && [ "$(cat "$venv/.built")" = "$want" ]; then return; fi
  python=$(_i2s_python) || return 1
  free=$(df -Pk "$I2S_ROOT" | awk 'NR == 2 { print int($4 / 1e6) }')
  if [ "$free" -lt 10 ]; then
    echo "path.sh: error: the first use builds .venv, which takes 10 GB of disk (7 GB when done); $I2S_ROOT has $free GB" \
      "left. Make room there, or use packages that are installed already: I2S_VENV=none (see path.sh)" >&2
    return 1
  fi
  packages=$(grep -c == "$I2S_ROOT/constraints.txt")
  echo "path.sh: first use: building .venv from requirements.txt: about 7 GB, a few minutes; log: .venv/install.log" >&2
  if "$python" -m venv --clear "$venv" &&
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
      -r "$I2S_ROOT/requirements.txt" 2>&1 | tee "$venv/install.log" | awk -v total="$packages" '
        /^Collecting/ && ++n % 10 == 0 { printf "path.sh: found %d of about %d packages\n", n, total; fflush() }
        /^Installing collected/ { print "path.sh: unpacking them"; fflush() }' >&2 &&
    [ "${PIPESTATUS[0]}" -eq 0 ]; then
    printf '%s\n' "$want" >"$venv/.built"
  else
    tail -n 15 "$venv/install.log" >&2 || true
    echo "path.sh: error: the installation failed; see .venv/install.log, then run again" >&2
    return 1
  fi
}

# I2S_VENV=none: use the Python packages of the environment that is active already (conda, a container).
if [ "${I2S_VENV:-}" != none ]; then
  _i2s_build_venv || exit 1
fi
export PATH
