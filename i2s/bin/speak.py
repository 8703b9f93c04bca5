"""Speak the captions of a `text` table into 16-bit mono wavs: FOLDER/<utterance>.wav, or FOLDER/<nnn>/<utterance>.wav
where there are more than 1000. A whole wav that is there already is kept. Captions that the voice cannot speak go
to FOLDER/failures.J, one `utterance-id reason` a line."""

from __future__ import annotations

import logging
import shlex
import time
import zlib
from pathlib import Path

import numpy as np
import soxr

from i2s.audio import write_wav
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.progress import track
from i2s.tts import CannotSpeak, Voice, load_from_text

log = logging.getLogger(__name__)
FOLDER_SIZE = 1000  # wavs a sub-folder: file systems and file browsers slow down with tens of thousands in one
PEAK = 0.95  # louder speech is scaled down to this, as resampling may overshoot full scale


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--tts", default="hibari", help="the voice (hibari)")
    options.add_argument("--tts-options", default="", metavar="'KEY=VALUE ...'", help="options of the voice")
    options.add_argument("--sample-rate", type=int, default=22050, help="of the wavs, in Hz (22050)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--job", default="1/1", help="J/N: speak the J-th of N parts of the table")
    options.add_argument("text")
    options.add_argument("folder")
    args = options.parse_args()
    job = parse_job(args.job)
    voice = load_from_text(args.tts, shlex.split(args.tts_options))
    captions = read_table(args.text, allow_empty_value=True)
    paths = wav_paths(list(captions), Path(args.folder))
    failures: dict[str, str] = {}
    seconds, start = 0.0, time.perf_counter()
    todo = share(sorted(captions), job)
    for utterance in track(todo, "speak", unit="caption"):
        if paths[utterance].is_file():
            continue
        try:
            wav = speak(voice, captions[utterance], utterance_seed(utterance, args.seed), args.sample_rate)
        except CannotSpeak as e:
            failures[utterance] = " ".join(str(e).split())
            continue
        write_wav(paths[utterance], wav, args.sample_rate)
        seconds += len(wav) / args.sample_rate
    write_table(Path(args.folder) / f"failures.{job[0]}", failures)
    took = time.perf_counter() - start
    log.info("%d captions, %d not spoken; %.0f s of speech in %.0f s", len(todo), len(failures), seconds, took)


def speak(voice: Voice, text: str, seed: int, sample_rate: int) -> np.ndarray:
    """Speech at `sample_rate`, float32 (N,) within [-PEAK, PEAK]. Raises CannotSpeak, also for bad output."""
    wav = soxr.resample(voice.speak(text, seed), voice.sample_rate, sample_rate)
    if not np.isfinite(wav).all():
        raise CannotSpeak("the voice gave NaN or infinite samples")
    peak = float(np.abs(wav).max(initial=0.0))
    if peak < 1e-3:
        raise CannotSpeak("the voice gave silence")
    return wav if peak <= PEAK else wav * (PEAK / peak)


def utterance_seed(utterance: str, seed: int) -> int:
    """A seed that depends on the utterance alone, not on the order or the job in which it is spoken."""
    return zlib.crc32(f"{seed} {utterance}".encode())


def wav_paths(utterances: list[str], folder: Path) -> dict[str, Path]:
    """Where each utterance's wav lies: `folder` itself, or numbered sub-folders of at most FOLDER_SIZE wavs."""
    if len(utterances) <= FOLDER_SIZE:
        return {u: folder / f"{u}.wav" for u in utterances}
    ordered = sorted(utterances, key=str.encode)
    return {u: folder / f"{i // FOLDER_SIZE:03d}" / f"{u}.wav" for i, u in enumerate(ordered)}


if __name__ == "__main__":
    run(main)
