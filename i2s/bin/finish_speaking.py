"""Finish stage 3: write DATA_DIR/wav.scp from the wavs in WAVS (default DATA_DIR/wav) and DATA_DIR/speak_failures from
the jobs' lists there, and take what was not spoken out of the other tables, so that the data directory stays valid.
DATA_DIR/text itself is left: the table to replace it is WAVS/text, written only where a caption was not spoken."""

from __future__ import annotations

import logging
from pathlib import Path

from i2s.bin.speak import wav_paths
from i2s.cli import parser, run
from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("data", type=Path)
    options.add_argument("wavs", type=Path, nargs="?")
    args = options.parse_args()
    data, wavs = args.data, args.wavs or args.data / "wav"
    captions = read_table(data / "text", allow_empty_value=True)
    failures: dict[str, str] = {}
    for part in sorted(wavs.glob("failures.*")):
        failures.update(read_table(part))
    paths = wav_paths(list(captions), wavs)
    spoken = {u: path for u, path in paths.items() if u not in failures}
    missing = [u for u, path in spoken.items() if not path.is_file()]
    if missing:
        raise UserError(f"{wavs}: {len(missing)} wavs are missing, the first is {spoken[missing[0]]}; run again")
    if not spoken:
        raise UserError(f"{data}: the voice could speak none of {len(captions)} captions; see {data}/wav/log")
    write_table(data / "wav.scp", spoken)
    write_table(data / "speak_failures", failures)
    log.info("%s: %d captions spoken, %d not", data, len(spoken), len(failures))
    if failures:
        log.warning("not spoken, see %s/speak_failures: %s", data, " ".join(list(failures)[:10]))
        drop(data, set(failures))
        write_table(wavs / "text", {u: words for u, words in captions.items() if u not in failures})


def drop(data: Path, unspoken: set[str]) -> None:
    """Take the utterances `unspoken` out of the tables of `data` that are there; twice is the same as once."""
    for name in ("utt2image", "utt2spk", "utt2dur"):
        if (data / name).is_file():
            rows = read_table(data / name)
            write_table(data / name, {u: value for u, value in rows.items() if u not in unspoken})
    if (data / "spk2utt").is_file():
        speakers = {s: [u for u in us.split() if u not in unspoken] for s, us in read_table(data / "spk2utt").items()}
        write_table(data / "spk2utt", {s: " ".join(us) for s, us in speakers.items() if us})


if __name__ == "__main__":
    run(main)
