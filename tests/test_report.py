"""The report: everything in it, nothing unescaped, nothing from the network, and alive in a real browser."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from i2s.archive import write_ark
from i2s.audio import write_wav
from i2s.bin import report
from i2s.corpus.tables import write_int_table, write_table
from i2s.errors import UserError
from i2s.report.collect import Source

ROOT = Path(__file__).resolve().parent.parent
EVIL = "</script><img src=x onerror=\"document.title='owned'\"> & 'dogs'"
IMAGES = ["a#1", "b%2", "c:3"]
UNITS = {"a#1": [5, 6, 7], "b%2": [5], "c:3": [8, 9]}
DURATIONS = {"a#1": [10, 20, 10], "b%2": [40], "c:3": [20, 20]}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe folder after scoring, three images, with ids and captions that must be escaped."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    data, system = Path("data/test"), Path("exp/sys/test")
    wavs = {}
    for i, image in enumerate(IMAGES):
        Path(data, "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(data / "images" / f"{i}.png")
        wavs[image] = f"wav{i}.wav"
        write_wav(wavs[image], 0.1 * rng.standard_normal(40 * 256), 22050)
    write_table(data / "images.scp", {image: f"{data}/images/{i}.png" for i, image in enumerate(IMAGES)})
    write_table(data / "utt2image", {f"{image}-{k}": image for image in IMAGES for k in range(2)})
    write_table(data / "text", {f"{image}-{k}": f"caption {k} {EVIL}" for image in IMAGES for k in range(2)})
    write_table(data / "wav.scp", {f"{image}-{k}": wavs[image] for image in IMAGES for k in range(2)})
    (data / "image_feats.json").write_text(json.dumps({"kind": "resnet50", "grid": [2, 3], "dim": 4}))
    write_table(system / "wav.scp", wavs)
    write_int_table(system / "units", UNITS)
    write_int_table(system / "unit_durations", DURATIONS)
    write_table(system / "failures", {"b%2": "attention-lost"})
    with write_ark(system / "attention.ark", system / "attention.scp") as write:
        for image, units in UNITS.items():
            write(image, rng.random((len(units), 6)))
    with write_ark(system / "mel.ark", system / "feats.scp") as write:
        for image in IMAGES:
            write(image, rng.random((40, 80)))
    resynth = Path("exp/ceilings/test/resynth")
    write_table(resynth / "wav.scp", {f"{image}-1": wavs[image] for image in IMAGES})
    score = {"value": 12.3, "low": 11.25, "high": 13.5}
    rows = [
        {"key": "constant", "name": "best constant caption", "kind": "floor", "images": 3, "references": 2.0}
        | {"scores": {"CIDEr": score}, "said": EVIL},
        {"key": "system", "name": "this system", "kind": "system", "images": 3, "references": 2.0}
        | {"scores": {"BLEU-4": score, "CIDEr": score}},
    ]
    settings = {"asr": {"name": "vosk", "caption_lm": False}, "ceilings": "exp/ceilings/test"}
    comparisons = [{"a": "system", "b": "constant", "how": "difference", "scores": {"CIDEr": score}}]
    results = {"settings": settings, "notes": [EVIL], "captions": {"rows": rows, "comparisons": comparisons}}
    (system / "results.json").write_text(json.dumps(results))
    heard = {"a#1": f"heard {EVIL}", "b%2": "", "c:3": "a cat"}
    per_image = {
        image: {"captions": {"system": {"said": said, "scores": {"CIDEr": 10.0 * i}}}}
        for i, (image, said) in enumerate(heard.items())
    }
    (system / "per_image.json").write_text(json.dumps(per_image))
    return tmp_path


def make(*arguments: str) -> str:
    """Run the command in this process; returns the page."""
    sys.argv = ["report", *arguments, "data/test", "exp/sys/test", "out"]
    report.main()
    return Path("out/index.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._in = "", [""], ""
        self.feed(page)

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


def test_the_page_holds_everything_and_escapes_it(recipe: Path) -> None:
    page = Page(make())
    linked = [a[key] for _, a in page.elements for key in ("src", "href") if a.get(key)]
    assert len(linked) == len([x for x in linked if x and Path("out", x).is_file()]) == 3 * (1 + 3 + 1)
    assert not [a for _, a in page.elements if "onerror" in a or a.get("src") == "x"]
    for said in (
        *IMAGES,
        f"caption 1 {EVIL}",
        f"heard {EVIL}",
        "nothing",
        "attention-lost",
        "11.2 – 13.5",
        "this system",
    ):
        assert said in page.text, said
    assert page.text.count("Reference units, spoken again") == 3
    assert "no caption language model" in page.text
    samples, rate = soundfile.read("out/media/0000-generated.flac")
    np.testing.assert_allclose(samples, soundfile.read("wav0.wav")[0])
    assert rate == 22050
    assert Image.open("out/media/0000-generated.png").size == (40, 80)


def test_nothing_is_fetched_from_a_network(recipe: Path) -> None:
    page = make()
    assert not re.findall(r"""https?:|@import|url\(|["']//|fetch\(|import\(""", page)


def test_units_move_with_the_speech(recipe: Path) -> None:
    scripts = Page(make()).scripts
    player = json.loads(next(s for s in scripts if s.startswith("[")))
    assert [p["units"] for p in player] == list(UNITS.values())
    assert player[0]["ends"] == [0.25, 0.75, 1.0]
    attention = player[0]["attention"]
    weights = np.frombuffer(base64.b64decode(attention["weights"]), np.uint8).reshape(3, 2, 3)
    assert (attention["height"], attention["width"]) == (2, 3)
    np.testing.assert_array_equal(weights.max((1, 2)), 255)


def test_textless_and_unscored_systems_have_a_report_too(recipe: Path) -> None:
    for gone in ("data/test/text", *map(str, Path("exp/sys/test").glob("*.json")), "exp/sys/test/attention.scp"):
        Path(gone).unlink()
    page = Page(make("--num-items", "2"))
    assert "No scores yet" in page.text and "No attention over a grid" in page.text
    assert page.text.count("Generated speech") == 2 and "references" not in page.text
    assert "3 images described; 2 of them below, evenly spaced" in page.text


def test_attention_that_does_not_fit_the_grid_is_left_out(recipe: Path) -> None:
    Path("data/test/image_feats.json").write_text(json.dumps({"kind": "resnet50", "grid": [7, 7]}))
    assert "No attention over a grid" in make()


def test_attention_over_regions_is_drawn_over_their_boxes(recipe: Path) -> None:
    Path("data/test/image_feats.json").write_text(json.dumps({"kind": "fasterrcnn", "grid": None}))
    boxes = np.array([[0, 0, 0.5, 1, 3, 0.9], [0.5, 0.5, 1, 1, 4, 0.8]])
    with write_ark("data/test/regions.ark", "data/test/image_regions.scp") as write:
        write("b%2", boxes)
    with write_ark("exp/sys/test/attention.ark", "exp/sys/test/attention.scp") as write:
        write("b%2", np.array([[0.2, 0.8]]))
    player = json.loads(next(s for s in Page(make()).scripts if s.startswith("[")))
    attention = player[1]["attention"]
    weights = np.frombuffer(base64.b64decode(attention["weights"]), np.uint8).reshape(28, 28)
    assert (weights[:, :14] == round(0.2 / 0.8 * 255)).all()  # the left half
    assert (weights[14:, 14:] == 255).all() and (weights[:14, 14:] == 0).all()


def test_items_are_evenly_spaced(recipe: Path) -> None:
    source = Source(Path("data/test"), Path("exp/sys/test"), None)
    assert source.choose(99) == IMAGES
    assert source.choose(2) == ["a#1", "b%2"]
    assert source.choose(1) == ["a#1"]


def test_bad_input_is_named(recipe: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a report"):
        make()
    assert Path("out/thesis.tex").read_text() == "mine"
    shutil.rmtree("out")
    with pytest.raises(UserError, match="num-items 0"):
        make("--num-items", "0")
    write_table("exp/sys/test/wav.scp", {"zebra": "wav0.wav"})
    with pytest.raises(UserError, match="is it of another split"):
        make()
    write_table("exp/sys/test/wav.scp", {"a#1": "gone.wav"})
    with pytest.raises(UserError, match=r"gone\.wav"):
        make()
    assert not Path("out").exists()


def test_the_step_makes_a_report_once(recipe: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "I2S_VENV": "none"}
    command = [str(ROOT / "steps/report.sh"), "--num-items", "1", "data/test", "exp/sys/test", "exp/sys/test/report"]
    first = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert Path("exp/sys/test/report/index.html").is_file()
    again = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and "up to date" in again.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_the_page_works_in_a_browser(recipe: Path) -> None:
    page = make()
    # A script at the end does what a person does, and leaves what it saw in the title.
    script = """
    <script>
    const key = (k) => document.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
    const press = (k) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true }));
    const audio = document.querySelector(".generated audio");
    audio.preload = "auto";
    audio.addEventListener("loadedmetadata", () => {
      press("j"); press("."); press(".");
      const first = document.querySelector("article"), canvas = first.querySelector("canvas");
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      const saw = {
        focus: document.activeElement === first,
        output: first.querySelector("output").value,
        marked: first.querySelector(".now").textContent,
        line: first.querySelector(".generated i").style.left,
        drawn: new Set(pixels).size > 3,
        time: audio.currentTime / audio.duration,
        photos: [...document.images].filter((i) => i.complete && i.naturalWidth).length,
      };
      const order = document.getElementById("order");
      order.value = "-CIDEr";
      order.dispatchEvent(new Event("change"));
      saw.order = [...document.querySelectorAll("h3")].map((h) => h.textContent);
      const find = document.getElementById("find");
      find.value = "A CAT";
      find.dispatchEvent(new Event("input"));
      saw.found = [...document.querySelectorAll("article")].filter((a) => a.offsetHeight).length;
      document.title = JSON.stringify(saw);
    });
    audio.load();
    </script></body>"""
    Path("out/index.html").write_text(page.replace("</body>", script), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={recipe}/profile", "--window-size=1200,2000", "--virtual-time-budget=5000"]
    command += ["--enable-logging=stderr", "--dump-dom", (recipe / "out/index.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr
    saw = json.loads(html.unescape(title[1]))
    assert saw["output"] == "unit 6 (2/3)" and saw["marked"] == "6"
    assert saw["line"] == "75%" and saw["time"] == pytest.approx(0.25, abs=0.02)
    assert saw["focus"] and saw["drawn"] and saw["photos"] >= 2
    assert saw["order"] == ["c:3", "b%2", "a#1"] and saw["found"] == 1
