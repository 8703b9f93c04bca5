"""Speak a table of units: unit-to-speech model, then vocoder.

Writes, of this job's share: OUT_DIR/wav/<id>.wav, OUT_DIR/mel.J.{ark,scp} (the spectrograms), wav.J.scp,
unit_durations.J, and failures.J (`id reason`: no end found, or attention lost).
"""

from __future__ import annotations

from pathlib import Path

from i2s import u2s, vocoder
from i2s.archive import write_ark
from i2s.audio import write_wav
from i2s.cli import parser, run
from i2s.config import from_dict
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_int_table, write_int_table, write_table
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import load_manifest
from i2s.progress import track


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--job", type=parse_job, default="1/1", metavar="J/N")
    options.add_argument("--batch-size", type=int, default=16, metavar="N", help="utterances synthesised together")
    options.add_argument("--vocoder", default="griffinlim")
    options.add_argument("--vocoder-weights", type=Path)
    options.add_argument("units", type=Path, metavar="UNITS", help="table of collapsed units")
    options.add_argument("u2s", type=Path, metavar="U2S_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()
    number, out = args.job[0], args.out

    features = from_dict(SpeechFeatureConfig, load_manifest(args.u2s, "u2s")["features"], str(args.u2s))
    model = u2s.load(args.u2s)
    to_wav = vocoder.load(args.vocoder, features, args.vocoder_weights)
    # Utterances of like length share a batch; the output does not depend on it.
    todo = sorted(share(list(read_int_table(args.units).items()), args.job), key=lambda item: len(item[1]))

    wavs: dict[str, str] = {}
    durations: dict[str, list[int]] = {}
    failures: dict[str, str] = {}
    with write_ark(out / f"mel.{number}.ark", out / f"mel.{number}.scp") as write:
        for at in track(range(0, len(todo), args.batch_size), "units to speech", unit="batch"):
            batch = todo[at : at + args.batch_size]
            speech = model.synthesise([units for _, units in batch])
            for (name, _), said, wav in zip(batch, speech, to_wav([s.mel for s in speech]), strict=True):
                path = out / "wav" / f"{name}.wav"
                write_wav(path, wav, features.sample_rate)
                wavs[name] = str(path)
                write(name, said.mel)
                if said.durations is not None:
                    durations[name] = said.durations
                if not (said.stopped and said.aligned):
                    failures[name] = "no-end" if not said.stopped else "attention-lost"
    write_int_table(out / f"unit_durations.{number}", durations)
    write_table(out / f"failures.{number}", failures)
    write_table(out / f"wav.{number}.scp", wavs)


if __name__ == "__main__":
    run(main)
