"""Speech features of one job's share of WAV_SCP: OUT_DIR/logmel.J.{ark,scp}, OUT_DIR/mfcc.J.{ark,scp}, or both.

Each wav is read once and transformed once. A job whose scp files are there already has nothing to do.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import ExitStack
from pathlib import Path

from i2s.archive import write_ark
from i2s.audio import read_wav
from i2s.cli import parser, run
from i2s.config import load_config, to_dict
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import iter_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig, log_mel, mfcc_of_log_mel
from i2s.files import write_text
from i2s.progress import track

KINDS = ("logmel", "mfcc")
log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kind", choices=[*KINDS, "both"], default="both")
    options.add_argument("--config", type=Path, help="yaml with keys of SpeechFeatureConfig (default: its defaults)")
    options.add_argument("--save-config", type=Path, metavar="FILE", help="job 1 writes the whole configuration here")
    options.add_argument("--job", default="1/1", metavar="J/N", help="do the J-th of N parts of the table")
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of entries that end in |")
    options.add_argument("wav_scp", type=Path, metavar="WAV_SCP")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    job = parse_job(args.job)
    config = load_config(SpeechFeatureConfig, args.config)
    if args.save_config and job[0] == 1:
        write_text(args.save_config, json.dumps(to_dict(config), indent=2) + "\n")

    prefixes = {kind: args.out / f"{kind}.{job[0]}" for kind in KINDS if args.kind in (kind, "both")}
    if all(Path(f"{prefix}.scp").is_file() for prefix in prefixes.values()):
        log.info("job %s: done before", args.job)
        return
    entries = share(list(iter_table(args.wav_scp)), job)
    samples, start = 0, time.perf_counter()
    with ExitStack() as stack:
        write = {k: stack.enter_context(write_ark(f"{p}.ark", f"{p}.scp")) for k, p in prefixes.items()}
        for utterance, entry in track(entries, "speech features", unit="utterance"):
            try:
                wav, _ = read_wav(entry, config.sample_rate, args.allow_pipes)
                mel = log_mel(wav, config)
            except UserError as e:
                file = "" if entry in str(e) else f"{entry}: "
                raise UserError(f"{args.wav_scp}: {utterance}: {file}{e}") from e
            if "logmel" in write:
                write["logmel"](utterance, mel)
            if "mfcc" in write:
                write["mfcc"](utterance, mfcc_of_log_mel(mel, config))
            samples += len(wav)
    took = time.perf_counter() - start
    log.info("%d utterances, %.0f s of speech in %.1f s", len(entries), samples / config.sample_rate, took)


if __name__ == "__main__":
    run(main)
