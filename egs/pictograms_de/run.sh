#!/usr/bin/env bash
# The embedded corpus's pictures described in German speech, the text of which is withheld: a stand-in for a language
# without writing. Options: run.sh --help
set -euo pipefail
# shellcheck disable=SC2034 # own and help_message are read by recipe_options.sh
own=() help_message="Usage: egs/pictograms_de/run.sh [options]
Stage 2 draws the scenes of the embedded corpus and has five German captions of each read out by a German voice (SVOX
Pico); what was read out stays in the folder of downloads. Stages 3 to 11 see pictures and recordings alone: scores are
in units.
The options are those of the main run.sh; --tts, --asr and their options have nothing to do here."
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/utils/recipe_options.sh"
exec "$root/run.sh" "${rest[@]}"
