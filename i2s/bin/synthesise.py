"""Speak a table of units: unit-to-speech model, then vocoder where the model draws spectrograms only.

Writes, of this job's share: OUT_DIR/wav/<id>.wav, OUT_DIR/mel.J.{ark,scp} (the spectrograms), wav.J.scp,
unit_durations.J, and failures.J (`id reason`: no end found, or attention lost).
"""

from __future__ import annotations

from pathlib import Path

from i2s import u2s
from i2s.cli import parser, run
from i2s.config import from_dict
from i2s.corpus.jobs import share
from i2s.corpus.tables import read_int_table
from i2s.errors import UserError
from i2s.features.speech import SpeechFeatureConfig
from i2s.modeldir import load_manifest
from i2s.progress import batches
from i2s.vocoder.speak import add_options, write_speech


def main() -> None:
    options = parser(__doc__)
    add_options(options)
    options.add_argument("--durations", type=Path, metavar="TABLE", help="frames of units; default: the model's own")
    options.add_argument("units", type=Path, metavar="UNITS", help="table of collapsed units")
    options.add_argument("u2s", type=Path, metavar="U2S_DIR")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    args = options.parse_args()

    features = from_dict(SpeechFeatureConfig, load_manifest(args.u2s, "u2s")["features"], str(args.u2s))
    model, units = u2s.load(args.u2s), read_int_table(args.units)
    given = read_int_table(args.durations) if args.durations else None
    if given is not None and (missing := sorted(set(units) - set(given))):
        raise UserError(f"{args.durations}: {missing[0]} is missing, whose units are in {args.units}")
    # Utterances of like length share a batch; the output does not depend on it.
    todo = sorted(share(list(units), args.job), key=lambda name: len(units[name]))
    spoken = (
        (names, model.synthesise([units[n] for n in names], None if given is None else [given[n] for n in names]))
        for names in batches(todo, args.batch_size, "units to speech")
    )
    write_speech(args.out, spoken, features, args)


if __name__ == "__main__":
    run(main)
