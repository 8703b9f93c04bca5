"""The report in a real headless Chromium: opened from disk, heard, sorted, searched, and worked by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from i2s.archive import write_ark
from i2s.report.collect import Item, Source, Take
from i2s.report.page import render
from tests.chromium import CHROMIUM, SKIP_REASON, Chromium
from tests.report_recipe import FIRST, IMAGES, SECONDS, UNITS, make, make_recipe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=SKIP_REASON)

HEADS = "[...document.querySelectorAll('article h3')].map((h) => h.textContent)"
EVIL_ID = "x</script><img src=x onerror=\"document.title='owned'\"><!-- &amp; 'y' {{z}}"
MANY = 1000


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A recipe with its page in out/, one of two systems in two/, and one that holds its media, moved to alone/."""
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_recipe()
        make()
        make("--other", "exp/new/test", out="two")
        make("--embed", "true", out="embedded")
        Path("alone").mkdir()
        shutil.move("embedded/index.html", "alone/page.html")
        yield folder


@pytest.fixture(scope="module")
def chromium(recipe: Path) -> Iterator[Chromium]:
    with Chromium(recipe) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Chromium]:
    """The browser as it was; every test ends with nothing to complain of and nothing asked of a network."""
    chromium.size(1280, 1000)
    chromium.colours("light")
    chromium.complaints.clear()
    chromium.requests.clear()
    yield chromium
    assert not chromium.complaints
    assert chromium.requests and all(r.startswith(("file:", "data:")) for r in chromium.requests)


def change(browser: Chromium, name: str, value: str) -> None:
    """What a person's choice in a field does."""
    browser.evaluate(
        f"{{ const field = document.getElementById({name!r}); field.value = {value!r};"
        "field.dispatchEvent(new Event('input', { bubbles: true })); }"
    )


def length_of(browser: Chromium, selector: str) -> float:
    """The length of an audio element once it is loaded, in seconds."""
    return browser.evaluate(
        f"new Promise((done, failed) => {{ const audio = document.querySelector({selector!r});"
        "audio.addEventListener('loadedmetadata', () => done(audio.duration));"
        "audio.addEventListener('error', () => failed(new Error(audio.error.message)));"
        "audio.preload = 'metadata'; audio.load(); })"
    )


def test_it_opens_from_disk_with_its_pictures(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "out/index.html")
    assert browser.evaluate("document.title") == "sys/test"
    assert browser.evaluate(HEADS) == IMAGES
    browser.until(
        "[...document.querySelectorAll('article:first-child img')].every((i) => i.complete && i.naturalWidth)"
    )
    text = browser.evaluate("document.querySelector('article').innerText")
    assert "A brown dog 1 </script><img" in text  # as text
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    marked = "[...document.querySelectorAll('article .take.whole .m')].map((m) => [m.className, m.innerText])"
    assert browser.evaluate(marked)[:2] == [["m m3", "a brown dog3"], ["m m4", browser.evaluate(marked)[1][1]]]


def test_audio_loads_and_has_the_right_length(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "out/index.html")
    for number, image in enumerate(IMAGES):
        for key in ("system", "voice", "resynth"):
            selector = f"article:nth-child({number + 1}) [data-key={key}] audio"
            assert length_of(browser, selector) == pytest.approx(SECONDS[image], abs=0.01)
            file = browser.evaluate(f"document.querySelector('{selector}').getAttribute('src')")
            assert soundfile.info(str(recipe / "out" / file)).duration == pytest.approx(SECONDS[image], abs=1e-3)


def test_the_region_lights_up_while_its_unit_is_heard(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "out/index.html")
    state = """(async () => {
      const frame = () => new Promise(requestAnimationFrame);
      await frame(); await frame();
      const article = document.querySelector('article'), cells = [], canvas = article.querySelector('canvas');
      const veil = new OffscreenCanvas(96, 64).getContext('2d', { willReadFrequently: true });
      veil.drawImage(canvas, 0, 0);
      for (let row = 0; row < 2; row++) for (let column = 0; column < 3; column++) {
        cells.push(veil.getImageData(32 * column + 16, 32 * row + 16, 1, 1).data[3]);
      }
      const audio = article.querySelector('audio'), line = article.querySelector('.spectrogram i');
      const unit = article.querySelector('.now')?.textContent;
      return [audio.currentTime / audio.duration, unit, parseFloat(line.style.left), cells];
    })()"""
    weights = browser.evaluate("[...atob(items[0].takes[0].attention.weights)].map((c) => c.charCodeAt(0))")
    ends = [0.25, 0.75, 1.0]

    def check(time: float, unit: str, line: float, cells: list[int]) -> None:
        k = next(k for k, end in enumerate(ends) if time < end)
        assert unit == str(UNITS[FIRST][k]) and line == pytest.approx(100 * time, abs=0.5)
        looked = weights[6 * k : 6 * k + 6]  # the veil is thinnest where the unit looked most
        assert cells.index(min(cells)) == looked.index(255) and min(cells) < 30 < max(cells)

    # Played, and stopped on the way.
    browser.evaluate("""new Promise((done) => {
      const audio = document.querySelector('article audio');
      audio.playbackRate = 0.25;
      audio.ontimeupdate = () => {
        if (audio.currentTime < 0.05) return;
        audio.ontimeupdate = null;
        audio.pause();
        done();
      };
      audio.play();
    })""")
    check(*browser.evaluate(state))
    # Scrubbed, as with the audio's own controls.
    for time in (0.1, 0.5, 0.9):
        browser.evaluate(f"""new Promise((done) => {{
          const audio = document.querySelector('article audio');
          audio.addEventListener('seeked', () => done(), {{ once: true }});
          audio.currentTime = {time} * audio.duration;
        }})""")
        seen = browser.evaluate(state)
        assert seen[0] == pytest.approx(time, abs=0.01)
        check(*seen)
    # Played to the end: all as before.
    browser.evaluate("""new Promise((done) => {
      const audio = document.querySelector('article audio');
      audio.addEventListener('ended', () => done());
      audio.play();
    })""")
    assert browser.evaluate(state)[1] is None


def test_all_can_be_done_by_keyboard(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "out/index.html")
    browser.key("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the images"
    browser.key("Enter", "Tab")
    assert browser.evaluate("document.activeElement.closest('.landmarks') !== null")
    browser.key("j", "j", "k")
    assert browser.evaluate("document.activeElement === document.querySelector('article')")
    browser.key(".", ".")
    output = "document.querySelector('article output').textContent"
    assert browser.evaluate(output) == "unit 6, 2 of 3"
    assert browser.evaluate("document.querySelector('article .now').textContent") == "6"
    assert browser.evaluate("document.querySelector('article .spectrogram i').style.left") == "25%"
    browser.key("p")
    assert browser.until("document.querySelector('article audio').currentTime > 0.25 * 1.5")
    browser.key("2")
    assert browser.until("[...document.querySelectorAll('audio')].findIndex((a) => !a.paused) === 1")  # one speaks
    browser.key("2", ",")
    browser.evaluate("document.querySelector('article input[type=range]').focus()")
    browser.key("ArrowRight")
    browser.key("/")
    for letter in "jcat":  # where letters are typed, they are no commands
        browser.key(letter)
    assert browser.evaluate("[document.activeElement.id, document.activeElement.value]") == ["find", "jcat"]
    assert browser.evaluate("document.getElementById('count').textContent") == "0 of 3 images"
    browser.evaluate("document.getElementById('keys').click(); clear(); document.activeElement.blur()")
    browser.key("j")
    assert browser.evaluate("document.activeElement.tagName") == "BODY"  # the keys are off


def test_everything_to_operate_has_a_name(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "two/index.html")
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    browser.call("Accessibility.disable")
    named: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    roles = "button link combobox searchbox spinbutton slider navigation search image table"
    for role in roles.split():
        assert named.get(role) and all(named[role]), (role, named.get(role))
    assert {"banner", "main", "status", "article", "columnheader", "rowheader"} <= set(named)


def test_sorting_filtering_and_search(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "out/index.html")
    a, b, c = IMAGES
    change(browser, "measure", "CIDEr")
    assert browser.evaluate(HEADS) == [c, b, a]
    change(browser, "direction", "worst")
    assert browser.evaluate(HEADS) == [a, b, c]
    change(browser, "measure", "tone gap (tones)")  # the smaller the better
    assert browser.evaluate(HEADS) == [c, b, a]
    change(browser, "measure", "CIDEr")
    change(browser, "low", "10")
    assert browser.evaluate(HEADS) == [b, c]
    change(browser, "high", "15")
    assert browser.evaluate(HEADS) == [b]
    browser.evaluate("document.querySelector('[type=reset]').click()")
    change(browser, "measure", "")
    assert browser.evaluate(HEADS) == [a, b, c]
    for shown, left in (("failed", [b]), ("silent", [b]), ("all", [a, b, c])):
        change(browser, "show", shown)
        assert browser.evaluate(HEADS) == left
    for wanted, left in (("A CAT", [c]), ("brown dog 0", [a, b, c]), ("#1", [a]), ("zebra", [])):
        change(browser, "find", wanted)
        assert browser.evaluate(HEADS) == left
    change(browser, "find", "#1")
    assert browser.evaluate("document.getElementById('count').textContent") == "1 of 3 images"
    titles = "[...document.querySelectorAll('.landmarks b')].map((b) => b.textContent)"
    assert browser.evaluate(titles) == ["Best", "Median", "Worst"]
    browser.evaluate("document.querySelector('.landmarks button').click()")  # also when it was filtered away
    assert browser.evaluate("document.activeElement.querySelector('h3').textContent") == c


def test_two_systems_are_sorted_by_their_difference(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "two/index.html")
    a, b, c = IMAGES
    change(browser, "measure", "CIDEr")
    change(browser, "whose", "other")
    assert browser.evaluate(HEADS) == [a, b, c]  # all alike
    change(browser, "whose", "difference")
    assert browser.evaluate(HEADS) == [c, b, a]
    row = "[...document.querySelector('article tbody tr').cells].map((cell) => cell.textContent)"
    assert browser.evaluate(row) == ["CIDEr", "20.0", "12.0", "+8.0"]
    assert (
        browser.evaluate("document.querySelector('.landmarks button').innerText").split("\n")[1] == "CIDEr, A − B +8.0"
    )
    change(browser, "show", "differ")
    assert browser.evaluate(HEADS) == []
    change(browser, "show", "all")
    length = length_of(browser, "article [data-key=other] audio")
    assert length == pytest.approx(SECONDS[c], abs=0.01)


def test_a_page_with_its_media_in_it_stands_alone(recipe: Path, browser: Chromium) -> None:
    browser.open(recipe / "alone/page.html")
    assert length_of(browser, "article audio") == pytest.approx(SECONDS[FIRST], abs=0.01)
    browser.until("document.querySelector('.photo img').naturalWidth === 90")
    assert [r for r in browser.requests if r.startswith("file:")] == [(recipe / "alone/page.html").as_uri()]


def test_light_dark_and_narrow(recipe: Path, browser: Chromium) -> None:
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    browser.open(recipe / "two/index.html")
    assert browser.evaluate(ground) > 200
    browser.colours("dark")
    assert browser.evaluate(ground) < 50
    button = "document.getElementById('theme')"
    browser.until(f"{button}.textContent === 'Light'")
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(ground) > 200
    browser.open(recipe / "two/index.html")
    assert browser.evaluate(ground) > 200  # the choice is kept
    browser.evaluate("localStorage.clear()")
    browser.size(400, 800)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400


def many(recipe: Path) -> Path:
    """A page of 1,000 images that share their media, named by the worst of ids; the n-th scores n."""

    def take(key: str, number: int) -> Take:
        said = {"heard": f"words {number} end", "words": ["words", str(number), "end"], "orders": [1, 0, 4]}
        units = {"units": UNITS[FIRST] * 20, "ends": [(i + 1) / 60 for i in range(60)]}
        return Take(key, EVIL_ID, "media/0000-system.wav", 1.5, None, False, **said, **units, scores={"CIDEr": number})

    keys = ("system", "voice", "resynth")
    items = [
        Item(f"{EVIL_ID}{n:03}", "media/0000.jpg", [f"reference {n}"], [take(key, n) for key in keys])
        for n in range(MANY)
    ]
    source = Source(Path("data/test"), Path("exp/sys/test"))
    source.described = [item.image for item in items]
    source.systems[0].name = EVIL_ID
    page = recipe / "out" / "many.html"
    page.write_text(render(source, items, [], None, []), encoding="utf-8")
    return page


def test_a_thousand_images_stay_responsive(recipe: Path, browser: Chromium) -> None:
    """However many there are, what the browser has to lay out stays small, whatever is done."""
    browser.open(many(recipe))

    def first(image: int) -> None:
        heads = browser.evaluate(HEADS)
        assert heads[0].endswith(f"{image:03}") and len(heads) <= 20
        assert browser.evaluate("document.querySelectorAll('*').length") < 10_000

    first(0)
    assert browser.evaluate("document.title") == EVIL_ID
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    change(browser, "measure", "CIDEr")
    first(999)
    browser.evaluate("document.activeElement.blur()")
    browser.key(*["j"] * 21)
    first(979)
    assert browser.evaluate("document.activeElement.querySelector('h3').textContent").endswith("979")
    browser.key("k")
    assert browser.evaluate("document.activeElement.querySelector('h3').textContent").endswith("980")
    first(999)
    browser.evaluate("document.querySelectorAll('.landmarks button')[1].click()")  # the median, on page 25
    assert browser.evaluate("document.activeElement.querySelector('h3').textContent").endswith("499")
    browser.evaluate("document.querySelector('.pages button:last-child').click()")
    first(479)
    change(browser, "find", "words 77")
    assert browser.evaluate("document.getElementById('count').textContent") == f"11 of {MANY} images"
    first(779)


def test_units_of_other_speech_are_followed_too(recipe: Path, browser: Chromium) -> None:
    """A click on a unit moves its own speech there, and the slider with it."""
    browser.open(recipe / "two/index.html")
    state: Any = browser.evaluate("""(() => {
      const article = document.querySelector('article'), other = article.querySelector('[data-key=other]');
      other.querySelector('.units summary').click();
      const chips = other.querySelectorAll('.units span');
      chips[2].click();
      return [chips[2].className, article.querySelector('output').textContent,
        other.querySelector('.spectrogram u').style.left, article.querySelector('input[type=range]').value];
    })()""")
    assert state == ["now", "unit 7, 3 of 3 · new/test", "75%", "3"]


def test_the_photo_lights_up_with_the_time_where_there_are_no_units(recipe: Path, browser: Chromium) -> None:
    system = Path("exp/direct/test")
    shutil.copytree("exp/sys/test", system)
    for table in ("units", "unit_durations"):
        (system / table).unlink()
    with write_ark(system / "attention.ark", system / "attention.scp") as write:
        write(FIRST, np.repeat(np.eye(6), 10, axis=0))  # 60 steps in 1.5 s, from the first position to the last
    make(system=str(system), out="direct")
    browser.open(recipe / "direct/index.html")
    assert length_of(browser, "article audio") == pytest.approx(1.5, abs=0.01)  # loaded: it can be scrubbed
    browser.evaluate("""new Promise((done) => {
      const audio = document.querySelector('article audio');
      audio.addEventListener('seeked', () => requestAnimationFrame(done), { once: true });
      audio.currentTime = 1.35;
    })""")
    assert browser.until("document.querySelector('article output.at').textContent === '1.3 s'")
    thinnest = browser.evaluate("""(() => {
      const veil = new OffscreenCanvas(96, 64).getContext('2d', { willReadFrequently: true });
      veil.drawImage(document.querySelector('article canvas'), 0, 0);
      const at = [0, 1, 2, 3, 4, 5].map((p) => veil.getImageData(32 * (p % 3) + 16, 32 * (p > 2) + 16, 1, 1).data[3]);
      return at.indexOf(Math.min(...at));
    })()""")
    assert thinnest == 5  # where the last of the six was looked at
    browser.evaluate("document.querySelector('article button[aria-label=\"Previous moment\"]').click()")
    assert browser.until("document.querySelector('article output.at').textContent === '1.2 s'")
    assert browser.evaluate("document.querySelectorAll('article .take.whole .units').length") == 0
