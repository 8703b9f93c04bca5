#!/usr/bin/env bash
# All checks: style, types, shell, unit tests, recipe tests. Arguments go to pytest (`tests/run.sh -k units`).
# More is tested where these are set: I2S_TEST_KILLS=20 (kills of a run, not 4), and folders of what cannot be in the
# project: I2S_TEST_MODELS (recognisers' weights), I2S_TEST_FLICKR8K (its text files), I2S_TEST_COCO (captions_val2014.json).
set -euo pipefail
cd "$(dirname "$0")/.."
. ./path.sh
if [ $# -eq 0 ]; then
  ruff check .
  ruff format --check .
  mypy
  git ls-files -z '*.sh' | xargs -0 shellcheck -x
  set -- -n "$(nproc)" --dist loadfile --no-loadscope-reorder tests
fi
# The workers share the cores: one thread each.
OMP_NUM_THREADS=1 exec python -m pytest "$@"
