"""The report: everything in it, nothing unescaped, nothing from the network."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from i2s.archive import write_ark
from i2s.corpus.tables import write_table
from i2s.errors import UserError
from i2s.report.charts import Chart, Series
from i2s.report.collect import Source
from i2s.report.curves import learning_curves, unit_statistics
from i2s.report.matches import match_orders
from i2s.report.tables import lower_is_better, tables
from i2s.score.text import TOKENS, Tokeniser
from tests.report_recipe import EVIL, FIRST, HEARD, IMAGES, SECONDS, UNITS, make, make_recipe, place, row

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_recipe()
    return tmp_path


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._in = "", [""], ""
        self.feed(page)

    @property
    def gallery(self) -> dict[str, Any]:
        """What the page's script shows."""
        return json.loads(next(s for s in self.scripts if s.startswith("{")))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._in = tag if tag in ("script", "style") else self._in

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = ""
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._in == "":
            self.text += data
        else:
            self.scripts[-1] += data


def addresses(gallery: dict[str, Any]) -> list[str]:
    """Of all media of the images."""
    found = [item["photo"] for item in gallery["items"]]
    takes = [take for item in gallery["items"] for take in item["takes"]]
    return found + [take[key] for take in takes for key in ("audio", "spectrogram") if take[key]]


def test_the_page_holds_everything_and_escapes_it(recipe: Path) -> None:
    page = Page(make())
    assert not [a for _, a in page.elements if "onerror" in a or a.get("src")]
    for said in ("9.0 – 11.2", "this system", EVIL, "no caption language model", "perplexity", "1,200", "20 %"):
        assert said in page.text, said
    items = page.gallery["items"]
    assert [item["image"] for item in items] == IMAGES
    assert items[0]["references"] == [f"A brown dog {k} {EVIL}" for k in range(2)]
    takes = {take["key"]: take for take in items[0]["takes"]}
    assert list(takes) == ["system", "voice", "resynth"]
    assert takes["system"]["heard"] == HEARD[FIRST] and takes["system"]["scores"] == {
        "CIDEr": 0,
        "tone gap (tones)": 0,
    }
    assert takes["voice"]["said"] == f"A brown dog 1 {EVIL}" and takes["resynth"]["said"] is None
    assert [item["takes"][0]["failure"] for item in items] == [None, "attention-lost", None]
    assert [item["takes"][0]["seconds"] for item in items] == list(SECONDS.values())
    files = addresses(page.gallery)
    assert len(files) == len([f for f in files if Path("out", f).is_file()]) == 3 * (1 + 3 + 1)
    samples, rate = soundfile.read("out/media/0000-system.wav")
    np.testing.assert_allclose(samples, soundfile.read("wav0.wav")[0])
    assert rate == 22050
    assert Image.open("out/media/0000-system.png").size == (40, 80)


def test_attention_goes_with_the_time_where_there_are_no_units(recipe: Path) -> None:
    system = Path("exp/sys/test")
    for table in ("units", "unit_durations"):
        (system / table).unlink()
    with write_ark(system / "attention.ark", system / "attention.scp") as write:
        write(FIRST, np.repeat(np.eye(6), 10, axis=0))  # 60 steps in 1.5 s, from the first position to the last
    take = Page(make()).gallery["items"][0]["takes"][0]
    assert take["units"] == [] and len(take["ends"]) == 15 and take["ends"][-1] == 1
    weights = np.frombuffer(base64.b64decode(take["attention"]["weights"]), np.uint8).reshape(15, 6)
    looked_at = [np.bincount(np.arange(4 * moment, 4 * moment + 4) // 10).argmax() for moment in range(15)]
    assert weights.argmax(1).tolist() == looked_at


def test_nothing_is_fetched_from_a_network(recipe: Path) -> None:
    page = make("--other", "exp/new/test")
    assert not re.findall(r"""https?:|@import|url\(|["']//|fetch\(|import\(""", page)
    assert "default-src 'none'" in page


def test_embedded_media_need_no_folder(recipe: Path) -> None:
    page = Page(make("--embed", "true"))
    assert sorted(p.name for p in Path("out").iterdir()) == [".i2s-report", "index.html"]
    assert all(address.startswith("data:") for address in addresses(page.gallery))
    kind, content = page.gallery["items"][2]["takes"][0]["audio"].split(";base64,")
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:audio/wav"
    np.testing.assert_allclose(samples, soundfile.read("wav2.wav")[0])


def test_matched_words_are_marked_with_the_longest_run_in_one_reference() -> None:
    tokenise = Tokeniser("words")
    references = ["A black dog runs.", "the cat, in a black hat"]
    words, orders = match_orders("a black dog in a black hat runs far", references, tokenise)
    assert words == ["a", "black", "dog", "in", "a", "black", "hat", "runs", "far"]
    assert orders == [3, 3, 3, 4, 4, 4, 4, 1, 0]
    assert match_orders("runs the", references, tokenise)[1] == [
        1,
        1,
    ]  # a run does not go from one reference to the next
    assert match_orders("one two three four five six", ["one two three four five six"], tokenise)[1] == [4] * 6
    assert match_orders("", references, tokenise) == ([], []) and match_orders("dog", [], tokenise) == (["dog"], [0])


def test_scripts_without_spaces_are_matched_by_characters_as_they_are_scored() -> None:
    tokenise = Tokeniser.of_scores({"tokens": TOKENS["characters"]})
    assert match_orders("一只狗。", ["一只猫", "狗"], tokenise) == (["一", "只", "狗"], [2, 2, 1])
    assert Tokeniser.of_scores({"tokens": TOKENS["ptb"]}) == Tokeniser.of_scores({}) == Tokeniser("words")


def test_ceilings_are_matched_against_the_other_references(recipe: Path) -> None:
    system, voice, _ = Page(make()).gallery["items"][0]["takes"]
    assert system["words"][:4] == ["a", "brown", "dog", "script"] and system["orders"][:4] == [3, 3, 3, 4]
    # "A brown dog 1" is its own caption: the other one ends in 0.
    assert list(zip(voice["words"], voice["orders"], strict=True)) == [("a", 3), ("brown", 3), ("dog", 3), ("1", 0)]


def test_tables_take_any_measure_and_know_which_way_is_up(recipe: Path) -> None:
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    assert {"WER", "tone gap (tones)"} <= (lower := lower_is_better(results)) and not {"CIDEr", "BLEU-4"} & lower
    captions, tones = tables([results], [{}])
    assert captions.measures == ["CIDEr", "BLEU-4", "WER"] and tones.measures == ["tone gap"]
    assert [(s.measure, s.places) for s in captions.stands] == [("CIDEr", [20.0])]
    assert [(r.kind, r.system) for r in captions.stands[0].rows] == [("floor", None), ("system", 0), ("ceiling", None)]
    assert tones.stands[0].places == [37.5]
    results["captions"]["rows"][0]["scores"]["CIDEr"] = float("nan")
    assert tables([results], [{}])[0].stands == []


def test_the_place_shown_is_that_below_the_highest_ceiling(recipe: Path) -> None:
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    people = place("constant", CIDEr=15.0) | {"ceiling": "reference"}
    results["captions"]["rows"].append(row("reference", "people", "ceiling", {"CIDEr": 55.0}))
    results["captions"]["places"].append(people)
    (stand,) = tables([results], [{}])[0].stands
    assert stand.places == [15.0] and [r.name for r in stand.rows][-1] == "people" and len(stand.rows) == 4


def test_two_systems_side_by_side(recipe: Path) -> None:
    page = Page(make("--other", "exp/new/test"))
    takes = page.gallery["items"][0]["takes"]
    assert [(t["key"], t["title"]) for t in takes[:2]] == [("system", "sys/test"), ("other", "new/test")]
    assert takes[1]["scores"]["CIDEr"] == 12 and takes[1]["attention"]
    assert "A: this system" in page.text and "B: this system" in page.text
    both = [
        [json.loads(Path(f"exp/{s}/test/{f}.json").read_text()) for s in ("sys", "new")]
        for f in ("results", "per_image")
    ]
    captions, tones = tables(*both)
    # CIDEr 0, 10, 20 against 12 each: the second is better twice; the gap, which is better small, twice the first's.
    assert [v.better for v in captions.versus if v.measure == "CIDEr"] == [(1, 0, 2)]
    assert tones.versus[0].better == (2, 0, 1)
    assert [len(s.places) for s in captions.stands] == [2]


def test_systems_of_the_same_name_are_told_apart(recipe: Path) -> None:
    shutil.copytree("exp/sys", "exp/again/sys")
    source = Source(Path("data/test"), Path("exp/sys/test"), other=Path("exp/again/sys/test"))
    assert [s.name for s in source.systems] == ["exp/sys/test", "exp/again/sys/test"]


def test_learning_curves_come_from_the_events_of_the_models(recipe: Path) -> None:
    (curves,) = learning_curves([Path("exp/sys/test"), Path("exp/sys/test"), Path("exp/new/test")])
    assert curves.folder == "model"
    assert [chart.title for chart in curves.charts] == ["loss", "learning rate"]  # each line once, no epochs
    dev, train = curves.charts[0].series
    assert (dev.name, train.name) == ("dev", "train") and list(dev.x) == [99, 199, 299]
    assert train.y[-1] == pytest.approx(5 / 300) and 100 < len(train.x) <= 200
    page = Page(make())
    drawn = [a.get("aria-label") or "" for tag, a in page.elements if tag == "svg"]
    assert [label for label in drawn if label.startswith("loss: dev from 5.05 to 1.67; train")]


def test_unit_statistics_of_any_kind_are_shown(recipe: Path) -> None:
    statistics = unit_statistics(Path("exp/units"))
    assert statistics and statistics.splits == ["train", "test"]
    assert statistics.rows == [
        ("utterances", ["1,200", "4"]),
        ("perplexity", ["3.2", "3.2"]),
        ("used of pieces", ["7", "7"]),
    ]
    assert [list(chart.series[0].y) for chart in statistics.charts][1] == [
        pytest.approx(100 / 3),
        pytest.approx(200 / 3),
    ]
    Path("exp/units/phones.png").write_bytes(Path("data/test/images/0.png").read_bytes())
    assert "Units against phones" in make()
    assert unit_statistics(Path("exp")) is None


def test_charts_of_odd_lines() -> None:
    label = f"{EVIL}"
    assert "<img" not in Chart(label, label, [Series(label, [0, 1], [1.0, 2.0])]).svg
    assert Chart("none", "x", [Series("a", [], [])]).svg == ""
    assert "circle" in Chart("one point", "x", [Series("a", [3], [7.0])]).svg
    flat = Chart("flat, with gaps", "x", [Series("a", [0, 1, 2, 3], [1.0, float("nan"), float("inf"), 1.0])]).svg
    assert "nan" not in flat and "inf" not in flat.replace("flat, with gaps", "")
    logarithmic = Chart("log", "x", [Series("a", [0, 1, 2], [0.0, 0.1, 30.0])], log=True).svg
    assert re.findall(r'class="y"[^>]*>([^<]*)<', logarithmic) == ["0.1", "1", "10"]


def test_attention_is_each_units_share_of_its_largest(recipe: Path) -> None:
    takes = [item["takes"][0] for item in Page(make()).gallery["items"]]
    assert [take["units"] for take in takes] == list(UNITS.values())
    assert takes[0]["ends"] == [0.25, 0.75, 1.0]
    attention = takes[0]["attention"]
    weights = np.frombuffer(base64.b64decode(attention["weights"]), np.uint8).reshape(3, 2, 3)
    assert (attention["height"], attention["width"]) == (2, 3)
    np.testing.assert_array_equal(weights.max((1, 2)), 255)


def test_textless_and_unscored_systems_have_a_report_too(recipe: Path) -> None:
    for gone in ("data/test/text", *map(str, Path("exp/sys/test").glob("*.json")), "exp/sys/test/attention.scp"):
        Path(gone).unlink()
    page = Page(make("--num-items", "2"))
    assert "No scores yet" in page.text and page.gallery["measures"] == []
    assert [len(item["takes"]) for item in page.gallery["items"]] == [2, 2]
    take = page.gallery["items"][0]["takes"][0]
    assert take["heard"] is None and take["attention"] is None and take["scores"] == {}
    assert "3 images described; 2 of them below, evenly spaced" in page.text


def test_attention_that_does_not_fit_the_grid_is_left_out(recipe: Path) -> None:
    Path("data/test/image_feats.json").write_text(json.dumps({"kind": "resnet50", "grid": [7, 7]}))
    assert all(item["takes"][0]["attention"] is None for item in Page(make()).gallery["items"])


def test_attention_over_regions_is_drawn_over_their_boxes(recipe: Path) -> None:
    Path("data/test/image_feats.json").write_text(json.dumps({"kind": "fasterrcnn", "grid": None}))
    boxes = np.array([[0, 0, 0.5, 1, 3, 0.9], [0.5, 0.5, 1, 1, 4, 0.8]])
    with write_ark("data/test/regions.ark", "data/test/image_regions.scp") as write:
        write("b%2", boxes)
    with write_ark("exp/sys/test/attention.ark", "exp/sys/test/attention.scp") as write:
        write("b%2", np.array([[0.2, 0.8]]))
    attention = Page(make()).gallery["items"][1]["takes"][0]["attention"]
    weights = np.frombuffer(base64.b64decode(attention["weights"]), np.uint8).reshape(28, 28)
    assert (weights[:, :14] == round(0.2 / 0.8 * 255)).all()  # the left half
    assert (weights[14:, 14:] == 255).all() and (weights[:14, 14:] == 0).all()


def test_items_are_evenly_spaced_with_the_best_the_median_and_the_worst(recipe: Path) -> None:
    source = Source(Path("data/test"), Path("exp/sys/test"))
    source.described = [f"{i:02}" for i in range(20)]
    assert source.choose(99) == source.described
    assert source.choose(4) == ["00", "05", "10", "15"]  # no scores
    order = [7, 3, *range(8, 20), 0, 1, 2, 4, 5, 6]
    source.systems[0].per_image = {
        f"{i:02}": {"captions": {"system": {"said": "", "scores": {"BLEU-4": 0.0, "CIDEr": float(rank)}}}}
        for rank, i in enumerate(order)
    }
    assert source.choose(2) == ["00", "06", "07", "10", "16"]  # 7 the worst, 6 the best, 16 between


def test_bad_input_is_named(recipe: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a report"):
        make()
    assert Path("out/thesis.tex").read_text() == "mine"
    shutil.rmtree("out")
    with pytest.raises(UserError, match="num-items 0"):
        make("--num-items", "0")
    with pytest.raises(UserError, match=r"exp/none/wav\.scp: no such file"):
        make("--other", "exp/none")
    Path("exp/units/stats.json").write_text("{")
    with pytest.raises(UserError, match=r"stats\.json: not valid JSON"):
        make()
    Path("exp/units/stats.json").unlink()
    write_table("exp/new/test/wav.scp", {"zebra": "wav0.wav"})
    with pytest.raises(UserError, match="of another split"):
        make("--other", "exp/new/test")
    write_table("exp/sys/test/wav.scp", {"b%2": "gone.wav"})
    with pytest.raises(UserError, match=r"gone\.wav"):
        make()
    write_table("exp/sys/test/wav.scp", {"b%2": "cat wav0.wav |"})
    with pytest.raises(UserError, match="needs wav files"):
        make()
    assert not Path("out").exists()


def test_the_step_makes_a_report_once(recipe: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "I2S_VENV": "none"}

    def step(*options: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "steps/report.sh", *options, "data/test", "exp/sys/test", "exp/sys/test/report"]
        return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, check=False)

    two = ("--num-items", "1", "--other", "exp/new/test", "--embed", "true")
    first = step(*two)
    assert first.returncode == 0, first.stderr
    assert "new/test" in Path("exp/sys/test/report/index.html").read_text()
    again = step(*two)
    assert again.returncode == 0 and "up to date" in again.stderr
    Path("exp/new/test/results.json").write_text("{}")
    assert "up to date" not in step(*two).stderr
