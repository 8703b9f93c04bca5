"""The rows of the score tables: floors, the system, ceilings. The same rows for words and for units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from i2s.score import floors
from i2s.score.bootstrap import Measure
from i2s.score.captions import ORDER as CAPTION_ORDER
from i2s.score.captions import DocumentFrequencies, References, bleu
from i2s.score.inputs import Inputs
from i2s.score.wer import Edits, by_length, error_rate, error_rates

# Scores one hypothesis an image against that image's references.
Scorer = Callable[[Sequence[str], References], dict[str, Measure]]

DRAWS = 5  # random captions drawn for each image: one draw is noisy
UNIT_ORDER = 5  # of the longest n-grams of unit measures
Run = tuple[Sequence[str], Sequence[str], References]  # images, what was said of each, their references


@dataclass
class Row:
    """One line of a table. Its measures have statistics for every image of the test set, zeros where it has none.

    `references`: the mean number of references an image. `kind`: floor, system or ceiling. `read_by`: the recogniser
    between speech and words; empty where there is none. `edits`: behind its error rate.
    """

    key: str
    name: str
    kind: str
    measures: dict[str, Measure]
    images: int
    references: float = 0.0
    edits: Edits | None = None
    said: dict[str, str] = field(default_factory=dict)
    read_by: str = ""
    by_length: list[dict[str, float]] = field(default_factory=list)


class Rows:
    """Collects rows over the same images."""

    def __init__(self, inputs: Inputs, scorer: Scorer, order: int, frequencies: DocumentFrequencies | None = None):
        self.inputs, self.score = inputs, scorer
        self.images = list(inputs.references)
        self.position = {image: i for i, image in enumerate(self.images)}
        self._numbered = partial(References, order=order, frequencies=frequencies)
        self.all = self._numbered([list(of_image.values()) for of_image in inputs.references.values()])
        self.rows: list[Row] = []

    def add(self, key: str, name: str, kind: str, *runs: Run, read_by: str = "") -> Row:
        """Add the row that pools `runs`."""
        pooled: dict[str, list[Measure]] = {}
        for _, hypotheses, references in runs:
            for measure, value in self.score(hypotheses, references).items():
                pooled.setdefault(measure, []).append(value)
        spread = [[self.position[image] for image in images] for images, _, _ in runs]
        row = Row(
            key,
            name,
            kind,
            {measure: self._pool(values, spread) for measure, values in pooled.items()},
            images=len({image for images, _, _ in runs for image in images}),
            references=float(np.mean([len(refs) for _, _, references in runs for refs in references.texts])),
            said=dict(zip(runs[0][0], runs[0][1], strict=True)) if len(runs) == 1 else {},
            read_by=read_by,
        )
        self.rows.append(row)
        return row

    def _pool(self, measures: list[Measure], places: list[list[int]]) -> Measure:
        """One measure with a row of statistics for every image of the test set, zeros for those that have none."""
        stats = np.zeros((len(self.images), measures[0].stats.shape[1]))
        for measure, place in zip(measures, places, strict=True):
            stats[place] += measure.stats
        return Measure(stats, measures[0].combine)

    def spread(self, measure: Measure, images: Sequence[str]) -> Measure:
        """The measure with a row of statistics for every image of the test set."""
        return self._pool([measure], [[self.position[image] for image in images]])

    def add_floors(self, what: str) -> None:
        """What is reached without a look at the image: `what` is "caption" or "units"."""
        inputs = self.inputs
        if len(self.images) > 1:
            draws = floors.random_others(self.all.texts, DRAWS, seed=0)
            self.add("random", f"random other image's {what}", "floor", *((self.images, d, self.all) for d in draws))
        if inputs.constant or inputs.train:
            said = inputs.constant[0] if inputs.constant else floors.best_constant(inputs.train, inputs.dev)
            self.add_constant("constant", f"best constant {what}", said)
        heard = self.heard_of(inputs.resynth or inputs.voice)
        through = "voice and recogniser" if inputs.read_by else "the same voice"
        self.add_shuffled("random_spoken", f"random other image's {what}, through {through}", heard)
        if inputs.constant:
            self.add_constant("constant_spoken", f"best constant {what}, through {through}", inputs.constant[1])
            self.rows[-1].read_by = inputs.read_by

    def add_constant(self, key: str, name: str, said: str) -> None:
        """A floor that says the same of every image."""
        self.add(key, name, "floor", (self.images, [said] * len(self.images), self.all))

    def add_shuffled(self, key: str, name: str, heard: dict[str, str]) -> None:
        """What was heard of some images, each scored against other images' references."""
        if len(heard) > 1:
            images, references = self.of(heard)
            draws = floors.random_others([[said] for said in heard.values()], DRAWS, seed=1)
            self.add(key, name, "floor", *((images, d, references) for d in draws), read_by=self.inputs.read_by)

    def of(self, some: Collection[str]) -> tuple[list[str], References]:
        """These images, and their references."""
        images = list(some)
        if images == self.images:
            return images, self.all
        return images, self._numbered([list(self.inputs.references[image].values()) for image in images])

    def heard_of(self, heard: dict[str, str]) -> dict[str, str]:
        """image -> what was heard in the utterance of it."""
        return dict(zip(*self.own(heard)[:2], strict=True))

    def add_system(self, key: str, name: str, said: dict[str, str], read_by: str = "") -> Row:
        """The system, against all references."""
        return self.add(key, name, "system", (self.images, list(said.values()), self.all), read_by=read_by)

    def others(self, utterances: Sequence[str]) -> tuple[list[str], list[str], References]:
        """(images, those utterances, the other references) of the given utterances, where there is another one."""
        wanted = set(utterances)
        found = [
            (image, utterance, [said for other, said in of_image.items() if other != utterance])
            for image, of_image in self.inputs.references.items()
            for utterance in of_image
            if utterance in wanted and len(of_image) > 1
        ]
        return [i for i, _, _ in found], [u for _, u, _ in found], self._numbered([refs for _, _, refs in found])

    def add_as_ceilings(self) -> None:
        """System and floor against the references that the ceilings have: with fewer of them every score is lower."""
        inputs = self.inputs
        left_out = list(inputs.voice or inputs.resynth) or [next(iter(of)) for of in inputs.references.values()]
        images, _, references = self.others(left_out)
        if not images:
            return
        same, read_by = "same references as ceilings", inputs.read_by
        said = [inputs.system[image] for image in images]
        self.add("system_as_ceilings", f"this system, {same}", "system", (images, said, references), read_by=read_by)
        floor = next((row for key in ("constant_spoken", "constant") for row in self.rows if row.key == key), None)
        if floor:
            said = [floor.said[image] for image in images]
            run = (images, said, references)
            self.add("floor_as_ceilings", f"{floor.name}, {same}", "floor", run, read_by=floor.read_by)

    def add_ceiling(self, key: str, name: str, heard: dict[str, str], error: str, read_by: str = "") -> None:
        """What was heard in one utterance of each image: against the other references of that image and, as the error
        rate `error`, against what was said."""
        images, utterances, references = self.others(list(heard))
        if images:
            run = (images, [heard[u] for u in utterances], references)
            row = self.add(key, name, "ceiling", run, read_by=read_by)
        elif heard:
            row = Row(key, name, "ceiling", {}, len(heard), read_by=read_by)
            self.rows.append(row)
        else:
            return
        images, hypotheses, said = self.own(heard)
        rate, counts = error_rate(hypotheses, said)
        row.measures[error] = self.spread(rate, images)
        row.edits, row.by_length = Edits.of(counts), by_length(counts)

    def add_reference(self, name: str) -> None:
        """Each reference in its turn against the others of its image, pooled."""
        runs: list[Run] = []
        for turn in range(max(map(len, self.all.texts))):
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


def caption_rows(inputs: Inputs, scorer: Scorer, frequencies: DocumentFrequencies | None = None) -> list[Row]:
    """Words: floors, the system, and what recogniser, synthesis and people leave possible."""
    rows = Rows(inputs, scorer, CAPTION_ORDER, frequencies)
    rows.add_floors("caption")
    if inputs.read_by:
        rows.add_shuffled("shuffled", "this system's speech of another image", inputs.system)
    if inputs.noise:
        images, references = rows.of(inputs.noise)
        run = (images, list(inputs.noise.values()), references)
        rows.add("noise", "noise, as loud and long as its speech", "floor", run, read_by=inputs.read_by)
    rows.add_system("system", "this system", inputs.system, inputs.read_by)
    if inputs.second:
        rows.add_system("system_second", "this system, second recogniser", inputs.second.system, inputs.second.read_by)
    rows.add_as_ceilings()
    for read, after in ((inputs, ""), (inputs.second, "_second")):
        if read:
            resynth, voice = f"reference {read.again}, spoken again and read back", "reference speech, read back"
            rows.add_ceiling(f"resynth{after}", resynth, read.resynth, "WER", read.read_by)
            rows.add_ceiling(f"voice{after}", voice, read.voice, "WER", read.read_by)
    rows.add_reference("one reference caption against the others")
    return rows.rows


def unit_rows(inputs: Inputs, scorer: Scorer) -> list[Row]:
    """Units: what generated speech says when it is encoded again, or what was predicted."""
    rows = Rows(inputs, scorer, UNIT_ORDER)
    rows.add_floors("units")
    if inputs.train:
        flat = [sequence for of_image in inputs.train for sequence in of_image]
        rows.add_constant("majority", "most frequent unit, repeated", floors.most_frequent(flat))
    how = "its speech encoded again" if inputs.encoded else "units before synthesis"
    rows.add_system("system", f"this system, {how}", inputs.system)
    if inputs.predicted:
        rows.add_system("predicted", "this system, units before synthesis", inputs.predicted)
    for row in rows.rows:
        if row.said and row.kind != "floor":
            _, _, counts = error_rates(list(row.said.values()), rows.all)
            row.edits = Edits.of(counts)
    rows.add_as_ceilings()
    rows.add_ceiling("resynth", f"reference {inputs.again}, spoken and encoded again", inputs.resynth, "UER own")
    rows.add_reference("one recording's units against the others")
    return rows.rows


def unit_measures(hypotheses: Sequence[str], references: References | Sequence[Sequence[str]]) -> dict[str, Measure]:
    """BLEU-1..5 and unit error rates of sequences of units: the `Scorer` of units."""
    references = References.of(references, UNIT_ORDER)
    nearest, every, _ = error_rates(hypotheses, references)
    return {**bleu(hypotheses, references, UNIT_ORDER), "UER nearest": nearest, "UER mean": every}
