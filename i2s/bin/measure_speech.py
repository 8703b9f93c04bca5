"""Measure the wavs of a `wav.scp`: a table of length, ending and predicted quality (where speechmos is installed) and,
given recordings of the same ids, of mel-cepstral distortion, F0 and voicing errors (i2s.score.speech.SpeechStats)."""

from __future__ import annotations

from pathlib import Path

import soxr

from i2s.audio import read_wav
from i2s.cli import parser, run
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.progress import track
from i2s.score.speech import speech_stats, to_row


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--recordings", type=Path, metavar="WAV_SCP", help="to compare with")
    options.add_argument("--job", default="1/1", help="J/N: measure the J-th of N parts of the table")
    options.add_argument("wav_scp", type=Path)
    options.add_argument("out", type=Path)
    args = options.parse_args()
    wavs = read_table(args.wav_scp)
    recordings = read_table(args.recordings) if args.recordings else {}
    if args.recordings and (missing := sorted(set(wavs) - set(recordings))):
        raise UserError(f"{args.recordings}: lacks {missing[0]} and {len(missing) - 1} more of {args.wav_scp}")
    rows = {}
    for key in track(share(sorted(wavs), parse_job(args.job)), "measure", unit="wav"):
        wav, rate = read_wav(wavs[key])
        recording = None
        if recordings:
            recording, its_rate = read_wav(recordings[key])
            recording = soxr.resample(recording, its_rate, rate) if its_rate != rate else recording
        rows[key] = to_row(speech_stats(wav, rate, recording))
    write_table(args.out, rows)


if __name__ == "__main__":
    run(main)
