"""Stage 6 for words and phones: one job's share of what is said when in DATA_DIR, as CTM files.

Reads DATA_DIR/wav.scp and, for words and phones-l1 that are aligned here, DATA_DIR/text. An utterance that cannot be
aligned ends the job, or with on_failure=skip is written to FAILURES.K (`utterance-id reason`), the others to CTM.K, for
the K-th thousand of them: what a job that was stopped has done is not done again.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from i2s.audio import read_wav
from i2s.cli import add_config, parser, run
from i2s.config import load_config
from i2s.corpus.ctm import write_ctm
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import iter_table, read_table, write_table
from i2s.errors import UserError
from i2s.progress import track
from i2s.units.aligned import KINDS, AlignedConfig, Alignments
from i2s.units.phones import Unalignable

log = logging.getLogger(__name__)
_CHUNK = 1000  # utterances of a file


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--units", choices=KINDS, required=True)
    options.add_argument("--job", type=parse_job, default=(1, 1), metavar="J/N", help="the J-th of N slices of wav.scp")
    add_config(options, "AlignedConfig")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("out", type=Path, metavar="CTM")
    options.add_argument("failures", type=Path, metavar="FAILURES")
    args = options.parse_args()
    config = load_config(AlignedConfig, args.config, args.overrides)
    wavs = share(list(iter_table(args.data / "wav.scp")), args.job)
    alignments = Alignments(args.units, config, only={utterance for utterance, _ in wavs})
    text = read_table(args.data / "text", allow_empty_value=True) if alignments.reads_text else {}
    todo = []
    for number, first in enumerate(range(0, len(wavs), _CHUNK), 1):
        parts = [path.with_name(f"{path.name}.{number}") for path in (args.out, args.failures)]
        if not parts[0].is_file():
            todo.append((wavs[first : first + _CHUNK], *parts))

    left = sum(len(chunk) for chunk, *_ in todo)
    with track(None, "aligning", total=len(wavs), initial=len(wavs) - left, unit="utt") as bar:
        for chunk, out, failures_out in todo:
            said, failures = {}, {}
            for utterance, entry in chunk:
                try:
                    wav, rate = read_wav(entry) if alignments.reads_speech else (np.zeros(0, np.float32), 0)
                    said[utterance] = alignments.align(utterance, wav, rate, text.get(utterance, ""))
                except Unalignable as e:
                    if config.on_failure == "error":
                        raise UserError(
                            f"{args.data}: {utterance}: {e}\nmend it, or leave such utterances out with on_failure=skip"
                        ) from e
                    failures[utterance] = str(e)
                bar.update()
            if failures:
                log.warning("%d of %d utterances cannot be aligned: %s", len(failures), len(chunk), failures_out)
            write_table(failures_out, failures)
            write_ctm(out, said)


if __name__ == "__main__":
    run(main)
