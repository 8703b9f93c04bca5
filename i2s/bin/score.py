"""Stage 10: score a system on one split, beside floors and ceilings.

Words, where DATA_DIR has `text`: what a recogniser heard in the generated speech (SYSTEM_DIR/transcripts/ASR) against
the captions: BLEU-1..4, METEOR, ROUGE-L, CIDEr. Units, where --unit-dir is given: the generated speech encoded again
(SYSTEM_DIR/reencoded_units) against the recordings' units: BLEU-1..4 and unit error rate.
Writes SYSTEM_DIR/{results.json,results.md,per_image.json}.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import write_text
from i2s.score.captions import caption_measures
from i2s.score.inputs import about_recogniser, read_captions, read_units
from i2s.score.meteor import Meteor
from i2s.score.results import RESAMPLES, SEED, markdown, per_image, table
from i2s.score.rows import DRAWS, caption_rows, unit_measures, unit_rows
from i2s.score.spice import spice

log = logging.getLogger(__name__)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--asr", default="pocketsphinx", metavar="NAME", help="whose transcripts to score")
    options.add_argument("--meteor", choices=("true", "false"), default="true", help="needs a Java; English only")
    options.add_argument("--spice", choices=("true", "false"), default="false", help="slow; needs Java 8 and CoreNLP")
    options.add_argument("--unit-dir", type=Path, metavar="DIR", help="units; scores in units too")
    options.add_argument("--train-data", type=Path, metavar="DIR", help="for the constant floors")
    options.add_argument("--ceilings", type=Path, metavar="DIR", help="holds voice/ and resynth/")
    options.add_argument("data", type=Path, metavar="DATA_DIR")
    options.add_argument("system", type=Path, metavar="SYSTEM_DIR", help="the generated split: exp/<system>/<split>")
    args = options.parse_args()

    results: dict[str, Any] = {"settings": {"system": str(args.system)}, "notes": []}
    images: dict[str, dict[str, Any]] = {}
    if (args.data / "text").is_file():
        score_captions(args, results, images)
    if args.unit_dir and (args.system / "reencoded_units").is_file():
        score_units(args, results, images)
    if not images:
        raise UserError(
            f"nothing to score: {args.data} has no text, and there is no --unit-dir or {args.system}/reencoded_units "
            "(made by steps/reencode.sh)"
        )
    results["settings"] |= {
        "tokens": "lower case; letters, digits, inner apostrophes; split at spaces (i2s.score.text)",
        "intervals": f"95 %, percentile bootstrap over images, {RESAMPLES} resamples, seed {SEED}",
        "random": f"{DRAWS} draws an image",
        "images": len(images),
        **({"ceilings": str(args.ceilings)} if args.ceilings else {}),
    }
    write_text(args.system / "per_image.json", json.dumps(images, ensure_ascii=False, indent=1) + "\n")
    write_text(args.system / "results.md", markdown(results))
    write_text(args.system / "results.json", json.dumps(results, ensure_ascii=False, indent=1) + "\n")


def score_captions(args: Any, results: dict[str, Any], images: dict[str, dict[str, Any]]) -> None:
    """Fill in `captions` of the results and of each image."""
    results["settings"]["asr"] = about_recogniser(args.system / "transcripts" / args.asr)
    inputs = read_captions(args.data, args.system, args.asr, args.train_data, args.ceilings)
    with ExitStack() as stack:
        meteor = None
        if args.meteor == "true":
            try:
                meteor = stack.enter_context(Meteor())
            except UserError as e:
                note(results, f"METEOR left out: {e}")
        scorer = partial(caption_measures, meteor=meteor)
        rows = caption_rows(inputs, scorer)
    if args.spice == "true":
        for row in rows:
            if row.key == "system":
                row.measures["SPICE"] = spice(
                    list(inputs.system.values()), [list(refs.values()) for refs in inputs.references.values()]
                )
        note(results, "SPICE is computed for the system only")
    silent = [image for image, heard in inputs.system.items() if not heard]
    if silent:
        note(results, f"the recogniser heard nothing in {len(silent)} of {len(inputs.system)} descriptions (scored 0)")
    for missing, option in ((not inputs.train, "--train-data"), (not inputs.voice, "--ceilings")):
        if missing:
            note(results, f"without {option} some floors or ceilings are missing")
    results["captions"] = table(rows, len(inputs.references))
    for image, scores in per_image(rows, list(inputs.references)).items():
        images.setdefault(image, {})["captions"] = scores


def score_units(args: Any, results: dict[str, Any], images: dict[str, dict[str, Any]]) -> None:
    """Fill in `units` of the results and of each image."""
    inputs = read_units(args.data, args.system, args.unit_dir, args.train_data, args.ceilings)
    rows = unit_rows(inputs, unit_measures)
    results["units"] = table(rows, len(inputs.references))
    mean = np.mean([len(said.split()) for said in inputs.system.values()])
    results["settings"]["units"] = {"folder": str(args.unit_dir), "mean_length": round(float(mean), 1)}
    for image, scores in per_image(rows, list(inputs.references)).items():
        images.setdefault(image, {})["units"] = scores


def note(results: dict[str, Any], text: str) -> None:
    log.warning(text)
    results["notes"].append(text)


if __name__ == "__main__":
    run(main)
