"""A scoring run: the one way from what was read to results.json, results.md, per_image.json and statistics.npz."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.files import write_text
from i2s.score.bootstrap import Measure, mean, ratio, root
from i2s.score.captions import caption_measures, read_frequencies
from i2s.score.diversity import diversity
from i2s.score.inputs import Inputs, some
from i2s.score.meteor import Meteor
from i2s.score.results import RESAMPLES, SEED, markdown, per_image, save_statistics, table
from i2s.score.rows import DRAWS, Row, caption_rows, unit_measures, unit_rows
from i2s.score.speech import SpeechStats, has_mos, repeats
from i2s.score.spice import spice
from i2s.score.text import TOKENS, Tokeniser

log = logging.getLogger(__name__)


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of every scoring command."""
    options.add_argument("--meteor", choices=("true", "false"), default="true", help="needs a Java; English only")
    options.add_argument("--meteor-cache", type=Path, metavar="DIR", help="METEOR's counts are kept there by content")
    options.add_argument("--spice", choices=("true", "false"), default="false", help="slow; needs Java 8 and CoreNLP")
    options.add_argument("--cider-df", type=Path, metavar="FILE", help="document frequencies for CIDEr's idf")
    options.add_argument("--tokens", choices=("auto", *TOKENS), default="auto", help="see i2s.score.text")


@dataclass(frozen=True)
class Spoken:
    """Speech to tell of: a row's key, name and kind, its statistics, what it says, and the images left unfinished.

    All by image; `unfinished` is None where no decoder told.
    """

    key: str
    name: str
    kind: str
    stats: dict[str, SpeechStats]
    said: dict[str, str]
    unfinished: set[str] | None = None


class Run:
    """Collects the parts of the results of `system` (a name), with the values of `add_options`."""

    def __init__(self, system: str, options: argparse.Namespace):
        self.options = options
        self.results: dict[str, Any] = {"settings": {"system": system}, "notes": []}
        self.rows: dict[str, list[Row]] = {}
        self.images: dict[str, list[str]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        return self.results["settings"]

    def note(self, text: str) -> None:
        """Say it, and keep it in the results."""
        log.warning(text)
        self.results["notes"].append(text)

    def captions(self, inputs: Inputs, tokeniser: Tokeniser) -> None:
        """Score words."""
        options = self.options
        frequencies = read_frequencies(options.cider_df) if options.cider_df else None
        self.settings["tokens"] = TOKENS[tokeniser.kind]
        self.settings["cider"] = (
            f"idf from {options.cider_df}, {frequencies.documents} documents"
            if frequencies
            else f"idf from the references of these {len(inputs.references)} images"
        )
        with ExitStack() as stack:
            meteor = None
            if options.meteor == "true" and tokeniser.kind == "characters":
                self.note("METEOR left out: it is for English, and these texts are written without spaces")
            elif options.meteor == "true":
                try:
                    meteor = stack.enter_context(Meteor(cache=options.meteor_cache))
                except UserError as e:
                    self.note(f"METEOR left out: {e}")
            rows = caption_rows(inputs, partial(caption_measures, meteor=meteor), frequencies)
        if options.spice == "true":
            for row in rows:
                if row.key == "system":
                    row.measures["SPICE"] = spice(
                        list(inputs.system.values()), [list(refs.values()) for refs in inputs.references.values()]
                    )
            self.note("SPICE is computed for the system only")
        silent = sum(not heard for heard in inputs.system.values())
        if silent:
            who = "the recogniser heard nothing" if inputs.read_by else "nothing is said"
            self.note(f"{who} in {silent} of {len(inputs.system)} descriptions (scored 0)")
        self._finish("captions", inputs, rows)
        self._diversity(inputs)

    def units(self, inputs: Inputs, folder: Path | None = None) -> None:
        """Score units of the inventory in `folder`."""
        if inputs.left_out:
            some_out = f"{some(inputs.left_out)}, none of whose utterances could be aligned"
            self.note(f"scores in units are of {len(inputs.references)} images, without {some_out}")
        self._finish("units", inputs, unit_rows(inputs, unit_measures))
        length = np.mean([len(said.split()) for said in inputs.system.values()])
        self.settings["units"] = {"mean_length": round(float(length), 1), **({"folder": str(folder)} if folder else {})}
        self._diversity(inputs, ", units")

    def speech(self, images: Sequence[str], spoken: Sequence[Spoken]) -> None:
        """Tell of the speech itself."""
        rows = [row for row in (_speech_row(images, one) for one in spoken) if row.measures]
        if not has_mos():
            self.note("DNSMOS left out: speechmos is not installed (pip install --no-deps speechmos)")
        self.rows["speech"], self.images["speech"] = rows, list(images)
        self.results["speech"] = table(rows, len(images))

    def _finish(self, part: str, inputs: Inputs, rows: list[Row]) -> None:
        images = list(inputs.references)
        self.settings.setdefault("references", {})[part] = inputs.fingerprint
        self.images[part] = images
        self.rows[part] = rows
        self.results[part] = table(rows, len(images))

    def _diversity(self, inputs: Inputs, of: str = "") -> None:
        training = {said for of_image in inputs.train for said in of_image}
        one_each = [next(iter(of_image.values())) for of_image in inputs.references.values()]
        said = inputs.predicted or inputs.system
        samples = [[said[image], *others] for image, others in inputs.samples.items()]
        rows: list[tuple[str, str, Sequence[str], Sequence[Sequence[str]]]] = [
            ("system", f"this system{of}", list(said.values()), samples),
            (
                "reference",
                f"one reference of each image{of}",
                one_each,
                [list(r.values()) for r in inputs.references.values()],
            ),
        ]
        found = [{"key": key, "name": name, **diversity(texts, training, many)} for key, name, texts, many in rows]
        part = self.results.setdefault("diversity", {"rows": []})
        part["rows"] = [*found, *part["rows"]]  # words, which are scored last, first

    def write(self, folder: Path) -> None:
        """Write the files. Raises UserError where nothing was scored."""
        images = sorted({image for part in self.images.values() for image in part}, key=str.encode)
        self.settings.update(
            intervals=f"95 %, percentile bootstrap over images, {RESAMPLES} resamples, seed {SEED}",
            random=f"{DRAWS} draws an image",
            images=len(images),
        )
        each: dict[str, dict[str, Any]] = {}
        for part, rows in self.rows.items():
            for image, scores in per_image(rows, self.images[part]).items():
                each.setdefault(image, {})[part] = scores
        save_statistics(folder / "statistics.npz", images, self.images, self.rows)
        write_text(folder / "per_image.json", json.dumps(each, ensure_ascii=False, indent=1) + "\n")
        write_text(folder / "results.md", markdown(self.results))
        write_text(folder / "results.json", json.dumps(self.results, ensure_ascii=False, indent=1) + "\n")


def _speech_row(images: Sequence[str], spoken: Spoken) -> Row:
    nothing = SpeechStats(float("nan"), float("nan"))
    stats = [spoken.stats.get(image, nothing) for image in images]

    def column(name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in stats], np.float64)

    def share(marked: Iterable[str] | None, of: Collection[str]) -> Measure:
        chosen = set(marked or ())
        return mean([float(image in chosen) if image in of else float("nan") for image in images])

    measures = {"seconds": mean(column("seconds"), scale=1.0), "cut off": mean(column("cut_off"))}
    if spoken.unfinished is not None:
        measures["unfinished"] = share(spoken.unfinished, images)
    if spoken.said:
        measures["repeating"] = share((i for i, said in spoken.said.items() if repeats(said)), spoken.said)
    if np.isfinite(column("mos")).any():
        measures["DNSMOS"] = mean(column("mos"), scale=1.0)
    if column("frames").any():
        measures["MCD"] = ratio(column("distortion"), column("frames"), scale=1.0)
        measures["F0"] = Measure(np.stack([column("f0"), column("voiced")], axis=1), root)
        measures["voicing"] = ratio(column("voicing"), column("frames"))
    found = {image: said for image, said in spoken.said.items() if image in spoken.stats}
    return Row(spoken.key, spoken.name, spoken.kind, measures if spoken.stats else {}, len(spoken.stats), said=found)
