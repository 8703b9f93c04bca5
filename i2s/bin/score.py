"""Stage 10: score a system on one split, beside floors and ceilings.

Words, where DATA_DIR has `text`: what a recogniser heard in the generated speech (SYSTEM_DIR/transcripts/ASR) against
the captions: BLEU-1..4, METEOR, ROUGE-L, CIDEr. Units, where --unit-dir is given: the generated speech encoded again
(SYSTEM_DIR/reencoded_units), or where it was not, the units that were predicted (SYSTEM_DIR/units), against the
recordings' units: BLEU-1..5 and unit error rate. Speech, where it was measured (SYSTEM_DIR/speech). Writes
SYSTEM_DIR/{results.json,results.md,per_image.json,statistics.npz}.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.corpus.tables import read_table
from i2s.errors import UserError
from i2s.files import read_json
from i2s.score.inputs import Splits, about_recogniser, kind_respoken, read_captions, read_units, said_in_units
from i2s.score.run import Run, Spoken, add_options
from i2s.score.speech import read_stats


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--asr", default="pocketsphinx", metavar="NAME", help="whose transcripts to score")
    options.add_argument("--second-asr", default="", metavar="NAME", help="whose transcripts to score, too")
    options.add_argument("--unit-dir", type=Path, metavar="DIR", help="units; scores in units too")
    options.add_argument("--train-data", type=Path, metavar="DIR", help="for the constant floors")
    options.add_argument("--dev-data", type=Path, metavar="DIR", help="the constants are chosen there")
    options.add_argument("--ceilings", type=Path, metavar="DIR", help="holds voice/ and resynth/, perhaps constant/")
    add_options(options)
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("system", type=Path, metavar="SYSTEM_DIR", help="the generated split: exp/<system>/<split>")
    args = options.parse_args()

    scoring = Run(str(args.system), args)
    splits = Splits(args.train_data, args.dev_data, args.ceilings)
    said: dict[str, dict[str, str]] = {}  # of the speech that is measured
    if args.unit_dir and said_in_units(args.system, args.unit_dir):
        inputs = read_units(args.data, args.system, args.unit_dir, splits)
        scoring.units(inputs, args.unit_dir)
        said = {"system": inputs.system, "resynth": inputs.resynth, "voice": inputs.voice}
    if (args.data / "text").is_file():
        inputs, tokeniser = read_captions(args.data, args.system, args.asr, splits, args.tokens, args.second_asr)
        scoring.settings["asr"] = about_recogniser(args.system / "transcripts" / args.asr)
        scoring.captions(inputs, tokeniser)
        said = {"system": inputs.system, "resynth": inputs.resynth, "voice": inputs.voice}
        for missing, option in ((not inputs.train, "--train-data"), (not inputs.voice, "--ceilings")):
            if missing:
                scoring.note(f"without {option} some floors or ceilings are missing")
    if not said:
        raise UserError(
            f"nothing to score: {args.data} has no text, and there is no --unit-dir or {args.system}/reencoded_units "
            "(made by steps/reencode.sh)"
        )
    if args.ceilings:
        scoring.settings["ceilings"] = str(args.ceilings)
    if (args.system / "speech").is_file():
        scoring.speech(list(inputs.references), measured(args.data, args.system, args.ceilings, said))
    scoring.write(args.system)


def measured(data: Path, system: Path, ceilings: Path | None, said: dict[str, dict[str, str]]) -> list[Spoken]:
    """What steps/measure_speech.sh found in the speech of the system and of the ceilings, by image."""
    stats = read_stats(system / "speech")
    spoken = [Spoken("system", "this system", "system", stats, said["system"], unfinished_of(system))]
    image_of = read_table(data / "utt2image")
    for key, name in (("resynth", f"reference {kind_respoken(ceilings)}, spoken again"), ("voice", "reference speech")):
        if ceilings and (table := ceilings / key / "speech").is_file():
            stats = {image_of[u]: found for u, found in read_stats(table).items()}
            spoken.append(Spoken(key, name, "ceiling", stats, {image_of[u]: text for u, text in said[key].items()}))
    return spoken


def unfinished_of(system: Path) -> set[str] | None:
    """The images whose description was cut off, as units or as speech; None where no search and no decoder told."""
    failures, search = system / "failures", system / "search.json"
    cut = set(read_table(failures, allow_empty_value=True)) if failures.is_file() else set()
    if search.is_file():
        cut |= {image for image, found in read_json(search)["images"].items() if not found["finished"]}
    return cut if failures.is_file() or search.is_file() else None


if __name__ == "__main__":
    run(main)
