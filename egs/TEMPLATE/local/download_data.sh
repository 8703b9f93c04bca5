#!/usr/bin/env bash
# Stage 1: nothing to download; the corpus is on this machine. Says so if it is not.
set -euo pipefail
for option in photos recordings pairs; do
  if [ -z "${!option:-}" ]; then
    echo "run.sh: error: option --$option is missing; see run.sh --help and docs/own_corpus.md" >&2
    exit 2
  fi
done
