"""The rows of the score tables: floors, the system, ceilings. The same rows for words and for units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from i2s.score import floors
from i2s.score.bootstrap import Measure, pool
from i2s.score.captions import bleu
from i2s.score.inputs import Inputs
from i2s.score.wer import Edits, unit_error, unit_errors, word_error

# Scores one hypothesis an image against that image's references.
Scorer = Callable[[Sequence[str], Sequence[Sequence[str]]], dict[str, Measure]]

DRAWS = 5  # random captions drawn for each image: one draw is noisy


@dataclass
class Row:
    """One line of a table. Its measures have statistics for every image of the test set, zeros where it has none.

    `references`: the mean number of references an image. `kind`: floor, system or ceiling.
    """

    key: str
    name: str
    kind: str
    measures: dict[str, Measure]
    images: int
    references: float
    edits: Edits | None = None
    said: dict[str, str] = field(default_factory=dict)


class Rows:
    """Collects rows over the same images."""

    def __init__(self, inputs: Inputs, scorer: Scorer):
        self.inputs, self.score = inputs, scorer
        self.images = list(inputs.references)
        self.position = {image: i for i, image in enumerate(self.images)}
        self.all = [list(of_image.values()) for of_image in inputs.references.values()]
        self.rows: list[Row] = []

    def add(self, key: str, name: str, kind: str, *runs: tuple[Sequence[str], Sequence[str], list[list[str]]]) -> Row:
        """Add the row that pools `runs`: each (images, hypotheses, references)."""
        pooled: dict[str, list[Measure]] = {}
        for images, hypotheses, references in runs:
            for measure, value in self.score(hypotheses, references).items():
                pooled.setdefault(measure, []).append(self.spread(value, images))
        row = Row(
            key,
            name,
            kind,
            {measure: pool(values) for measure, values in pooled.items()},
            images=len({image for images, _, _ in runs for image in images}),
            references=float(np.mean([len(refs) for _, _, references in runs for refs in references])),
            said=dict(zip(runs[0][0], runs[0][1], strict=True)) if len(runs) == 1 else {},
        )
        self.rows.append(row)
        return row

    def spread(self, measure: Measure, images: Sequence[str]) -> Measure:
        """The measure with a row of statistics for every image of the test set."""
        stats = np.zeros((len(self.images), measure.stats.shape[1]))
        stats[[self.position[image] for image in images]] = measure.stats
        return Measure(stats, measure.combine)

    def add_floors(self, what: str) -> None:
        """What is reached without a look at the image: `what` is "caption" or "units"."""
        if len(self.images) > 1:
            draws = floors.random_others(self.all, DRAWS, seed=0)
            self.add("random", f"random other image's {what}", "floor", *((self.images, d, self.all) for d in draws))
        if self.inputs.train:
            self.add_constant("constant", f"best constant {what}", floors.best_constant(self.inputs.train))

    def add_constant(self, key: str, name: str, said: str) -> None:
        """A floor that says the same of every image."""
        self.add(key, name, "floor", (self.images, [said] * len(self.images), self.all))

    def add_system(self, key: str, name: str, said: dict[str, str]) -> None:
        """The system, against all references."""
        self.add(key, name, "system", (self.images, list(said.values()), self.all))

    def others(self, utterances: Sequence[str]) -> tuple[list[str], list[str], list[list[str]]]:
        """(images, those utterances, the other references) of the given utterances, where there is another one."""
        wanted = set(utterances)
        found = [
            (image, utterance, [said for other, said in of_image.items() if other != utterance])
            for image, of_image in self.inputs.references.items()
            for utterance in of_image
            if utterance in wanted and len(of_image) > 1
        ]
        return [i for i, _, _ in found], [u for _, u, _ in found], [refs for _, _, refs in found]

    def add_system_as_ceilings(self, name: str) -> None:
        """The system against the references that the ceilings have: with fewer references every score is lower."""
        images, _, references = self.others(list(self.inputs.voice or self.inputs.resynth))
        if images:
            hypotheses = [self.inputs.system[image] for image in images]
            self.add("system_as_ceilings", name, "system", (images, hypotheses, references))

    def add_ceiling(self, key: str, name: str, heard: dict[str, str]) -> Row | None:
        """What was heard in one utterance of each image, against the other references of that image."""
        images, utterances, references = self.others(list(heard))
        if not images:
            return None
        return self.add(key, name, "ceiling", (images, [heard[u] for u in utterances], references))

    def add_reference(self, name: str) -> None:
        """Each reference in its turn against the others of its image, pooled."""
        runs = []
        for turn in range(max(map(len, self.all))):
            utterances = [list(of_image)[turn] for of_image in self.inputs.references.values() if turn < len(of_image)]
            images, left_out, references = self.others(utterances)
            if images:
                own = [self.inputs.references[i][u] for i, u in zip(images, left_out, strict=True)]
                runs.append((images, own, references))
        if runs:
            self.add("reference", name, "ceiling", *runs)

    def own(self, heard: dict[str, str]) -> tuple[list[str], list[str], list[str]]:
        """(images, what was heard, what was said) of utterances."""
        found = [
            (image, heard[utterance], said)
            for image, of_image in self.inputs.references.items()
            for utterance, said in of_image.items()
            if utterance in heard
        ]
        return [i for i, _, _ in found], [h for _, h, _ in found], [s for _, _, s in found]


def caption_rows(inputs: Inputs, scorer: Scorer) -> list[Row]:
    """Words: floors, the system, and what recogniser, synthesis and people leave possible."""
    rows = Rows(inputs, scorer)
    rows.add_floors("caption")
    rows.add_system("system", "this system", inputs.system)
    rows.add_system_as_ceilings("this system, same references as ceilings")
    for key, name, heard in (
        ("resynth", "reference units, spoken again and read back", inputs.resynth),
        ("voice", "reference speech, read back", inputs.voice),
    ):
        row = rows.add_ceiling(key, name, heard)
        if row:
            images, hypotheses, said = rows.own(heard)
            error, row.edits = word_error(hypotheses, said)
            row.measures["WER"] = rows.spread(error, images)
    rows.add_reference("one reference caption against the others")
    return rows.rows


def unit_rows(inputs: Inputs, scorer: Scorer) -> list[Row]:
    """Units: what generated speech says when it is encoded again."""
    rows = Rows(inputs, scorer)
    rows.add_floors("units")
    if inputs.train:
        flat = [sequence for of_image in inputs.train for sequence in of_image]
        rows.add_constant("majority", "most frequent unit, repeated", floors.most_frequent(flat))
    rows.add_system("system", "this system, its speech encoded again", inputs.system)
    if inputs.predicted:
        rows.add_system("predicted", "this system, units before synthesis", inputs.predicted)
    rows.add_system_as_ceilings("this system, same references as ceilings")
    row = rows.add_ceiling("resynth", "reference units, spoken and encoded again", inputs.resynth)
    if row:
        images, hypotheses, said = rows.own(inputs.resynth)
        error = unit_error([h.split() for h in hypotheses], [s.split() for s in said])
        row.measures["UER own"] = rows.spread(error, images)
    rows.add_reference("one recording's units against the others")
    return rows.rows


def unit_measures(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Measure]:
    """BLEU-1..4 and unit error rates of sequences of units: the `Scorer` of units."""
    measures = bleu(hypotheses, references)
    nearest, every = unit_errors([h.split() for h in hypotheses], [[r.split() for r in refs] for refs in references])
    return {**measures, "UER nearest": nearest, "UER mean": every}
