"""Transcribe the wavs of a `wav.scp` into a table `id words`; where nothing was heard, the id stands alone on its line.
The table is written every few wavs: a run that was stopped goes on behind what is there."""

from __future__ import annotations

import logging
import shlex
import time
from pathlib import Path

from i2s.asr import load_from_text
from i2s.audio import read_wav
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.progress import track

log = logging.getLogger(__name__)
CHUNK = 16  # wavs read, transcribed and written at a time


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--asr", default="pocketsphinx", help="the recogniser (pocketsphinx)")
    options.add_argument("--asr-options", default="", metavar="'KEY=VALUE ...'", help="options of the recogniser")
    options.add_argument("--lm-text", help="captions for recognisers that make a language model of them")
    options.add_argument("--job", default="1/1", help="J/N: transcribe the J-th of N parts of the table")
    options.add_argument("wav_scp")
    options.add_argument("out")
    args = options.parse_args()
    wavs = read_table(args.wav_scp)
    words = read_table(args.out, allow_empty_value=True) if Path(args.out).is_file() else {}
    todo = [key for key in share(sorted(wavs), parse_job(args.job)) if key not in words]
    if not todo:
        write_table(args.out, words)  # a job may have nothing to do; its table is there all the same
        return
    recogniser = load_from_text(args.asr, shlex.split(args.asr_options), args.lm_text)
    seconds, start = 0.0, time.perf_counter()
    progress = track(None, "transcribe", total=len(todo), unit="wav")
    for first in range(0, len(todo), CHUNK):
        keys = todo[first : first + CHUNK]
        by_rate: dict[int, list[str]] = {}
        audio = {}
        for key in keys:
            audio[key], rate = read_wav(wavs[key])
            by_rate.setdefault(rate, []).append(key)
            seconds += len(audio[key]) / rate
        for rate, same in by_rate.items():
            words.update(zip(same, recogniser.transcribe([audio[key] for key in same], rate), strict=True))
        write_table(args.out, words)
        progress.update(len(keys))
    progress.close()
    took = time.perf_counter() - start
    log.info("%d wavs, %.0f s of speech in %.0f s", len(todo), seconds, took)


if __name__ == "__main__":
    run(main)
