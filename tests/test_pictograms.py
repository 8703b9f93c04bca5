"""The embedded corpus: held-out combinations, drawing, captions, the scripts."""

import random
import subprocess
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from i2s.bin.draw_corpus import describe
from i2s.corpus.pictograms_draw import draw_scene, layout
from i2s.corpus.pictograms_grammar import LONGEST, SHORTEST, vocabulary, write_captions
from i2s.corpus.pictograms_scene import (
    COLOURS,
    KINDS,
    PLACES,
    RELATIONS,
    SPLITS,
    Group,
    Scene,
    belongs,
    combinations,
    owner,
    sample_scene,
)
from i2s.corpus.tables import read_table

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"train": 900, "dev": 60, "test": 60}


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[tuple[Scene, list[str]]]]:
    """Scenes and captions of the default corpus, without pictures."""
    return {s: [describe(0, f"{s}_{i:04d}", s) for i in range(1, n + 1)] for s, n in SIZES.items()}


def test_dev_and_test_scenes_hold_combinations_that_no_other_split_shows(corpus):
    shown = {s: {c for scene, _ in scenes for c in combinations(scene)} for s, scenes in corpus.items()}
    for split, others in (("test", ("train", "dev")), ("dev", ("train", "test"))):
        elsewhere = shown[others[0]] | shown[others[1]]
        assert all(set(combinations(scene)) - elsewhere for scene, _ in corpus[split])
        new = shown[split] - elsewhere
        assert {len(c) for c in new} == {2, 3}, "both a new colour of a thing and a new relation of two things"


def test_training_shows_every_thing_colour_place_relation_and_word(corpus):
    groups = [g for scene, _ in corpus["train"] for g in scene.groups]
    kinds = Counter(g.kind for g in groups)
    assert set(kinds) == set(KINDS)
    assert min(n for k, n in kinds.items() if KINDS[k].family != "weather") >= 12
    assert {g.colour for g in groups} == set(COLOURS)
    assert {(g.count, g.size) for g in groups} >= {(1, "small"), (1, "big"), (2, "medium"), (3, "medium")}
    assert {scene.place for scene, _ in corpus["train"]} == set(PLACES)
    assert {scene.relation for scene, _ in corpus["train"]} == {None, *RELATIONS}
    words = {s: {w for _, cs in scenes for c in cs for w in c.split()} for s, scenes in corpus.items()}
    assert words["dev"] | words["test"] <= words["train"]


def test_the_hold_out_rule_takes_at_most_one_colour_of_a_thing_for_each_split():
    for kind, what in KINDS.items():
        owners = Counter(owner((kind, colour)) for colour in what.colours)
        assert owners["dev"] <= 1 and owners["test"] <= 1
        assert owners["train"] >= min(4, len(what.colours))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS))
def test_any_scene_can_be_drawn_and_told_in_words_of_the_dictionary(seed, split):
    scene = sample_scene(random.Random(seed), split)
    assert belongs(scene, split) and not any(belongs(scene, s) for s in set(SPLITS) - {split})
    assert 1 <= sum(g.count for g in scene.groups) <= 3
    assert len({g.kind for g in scene.groups}) == len({g.colour for g in scene.groups}) == len(scene.groups)
    captions = write_captions(scene, random.Random(seed))
    assert len(set(captions)) == 5
    for caption in captions:
        words = caption.split()
        assert SHORTEST <= len(words) <= LONGEST and caption == " ".join(words)
        assert set(words) <= vocabulary()
        colours = {g.colour for g in scene.groups}
        said = set(words) & set(COLOURS) - {"green", "yellow", "blue"}  # those are places' colours too
        assert said <= colours, "no colour is said that is not there"
    for x, y, size in (spot for spots in layout(scene, 120.0, random.Random(seed)) for spot in spots):
        assert min(x, y) - size / 2 >= 0 and max(x, y) + size / 2 <= 224, "inside the picture"
    image = draw_scene(scene, random.Random(seed))
    assert image.size == (224, 224) and image.mode == "RGB"


def test_every_word_is_in_the_recognisers_dictionary():
    dictionary = files("pocketsphinx").joinpath("model", "en-us", "cmudict-en-us.dict").read_text(encoding="utf-8")
    assert vocabulary() <= {line.split()[0] for line in dictionary.splitlines()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_pictogram_is_large_and_in_its_colour(kind):
    picture = np.asarray(draw_scene(Scene("grey wall", (Group(kind, "red", 1, "medium"),)), random.Random(3)), np.int16)
    wall = picture[:, :1]
    ys, xs = np.nonzero(np.abs(picture - wall).max(-1) > 30)
    assert 90 <= max(np.ptp(xs), np.ptp(ys)) <= 125
    assert min(xs.min(), ys.min()) > 0 and max(xs.max(), ys.max()) < 223
    if kind != "cloud":  # rain clouds are dark
        assert np.sum((picture[..., 0] > 200) & (picture[..., 1] < 60)) > 1000


@pytest.mark.parametrize("relation", RELATIONS)
def test_things_stand_as_their_relation_says(relation):
    first, second = ("bird", "car") if relation == "above" else ("dog", "house")
    scene = Scene("grey wall", (Group(first, "red", 1, "medium"), Group(second, "blue", 1, "medium")), relation)
    for seed in range(5):
        pixels = np.asarray(draw_scene(scene, random.Random(seed)), np.int16)
        red = np.argwhere((pixels[..., 0] > 190) & (pixels[..., 2] < 60))
        blue = np.argwhere((pixels[..., 2] > 190) & (pixels[..., 0] < 60))
        (red_y, red_x), (blue_y, blue_x) = red.mean(0), blue.mean(0)
        if relation == "left of":
            assert red_x < blue_x - 60
        elif relation == "above":
            assert red[:, 0].max() < blue[:, 0].min()
        else:
            assert len(blue) > len(red) and abs(red_x - blue_x) < 60 and red_y > blue_y


def test_captions_use_plurals_articles_and_verbs_that_agree():
    def said(place: str, *groups: Group, relation: str | None = None) -> str:
        return " / ".join(
            caption
            for seed in range(40)
            for caption in write_captions(Scene(place, groups, relation), random.Random(seed))
        )

    many = said("street", Group("cyclist", "red", 3, "medium"))
    assert "three men in red are riding bikes" in many and "three cyclists in red" in many
    assert "men in red is" not in many and "riding a bike" not in many and "mans" not in many
    plane = said("sky", Group("plane", "white", 1, "medium"))
    assert "an airplane" in plane and "a airplane" not in plane and "planes" not in plane
    pair = said("grey wall", Group("cat", "red", 1, "big"), Group("fish", "blue", 2, "medium"), relation="above")
    assert "two blue fish" in pair and ("under a" in pair or "below a" in pair) and "above two" in pair


def draw(data: Path, *options: str) -> subprocess.CompletedProcess:
    command = [ROOT / "local" / "prepare_data.sh", "--num-train", "6", "--num-dev", "2", "--num-test", "3"]
    return subprocess.run([*command, *options, "downloads", data.name], cwd=data.parent, capture_output=True, text=True)


def contents(data: Path) -> dict[str, bytes]:
    return {str(p.relative_to(data)): p.read_bytes() for p in sorted(data.rglob("*")) if p.is_file()}


def test_the_script_writes_the_same_bytes_for_the_same_seed(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    for folder, options in (("1", ()), ("2", ())):
        done = draw(tmp_path / folder / "data", *options)
        assert done.returncode == 0, done.stderr
    first = contents(tmp_path / "1" / "data")
    assert first == contents(tmp_path / "2" / "data")
    assert {"train/text", "dev/utt2image", "test/images.scp", "test/spk2utt", "test/utt2spk"} <= set(first)

    table = read_table(tmp_path / "1" / "data" / "test" / "images.scp")
    assert list(table) == ["test_0001", "test_0002", "test_0003"]
    with Image.open(tmp_path / "1" / table["test_0001"]) as image:
        assert image.size == (224, 224)
    assert len(read_table(tmp_path / "1" / "data" / "train" / "text")) == 30

    again = draw(tmp_path / "1" / "data")
    assert "up to date" in again.stderr and contents(tmp_path / "1" / "data") == first
    (tmp_path / "1" / "data" / "train" / "wav.scp").write_text("speech of the captions that go\n")
    assert draw(tmp_path / "1" / "data", "--seed", "2").returncode == 0
    other = contents(tmp_path / "1" / "data")
    assert other["train/text"] != first["train/text"] and "train/wav.scp" not in other


def test_more_images_leave_the_first_ones_as_they_are():
    assert describe(5, "train_0003", "train") == describe(5, "train_0003", "train")
    assert describe(5, "train_0003", "train") != describe(5, "train_0004", "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-test", "0"], "--num-test 0: choose from 1 to 9999"),
        (["--num-dev", "10000"], "--num-dev 10000: choose from 1 to 9999"),
        (["--num-train", "many"], "invalid int value: 'many'"),
        (["--colour", "red"], "unknown option --colour"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, message):
    done = draw(tmp_path / "data", *options)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "images").exists()


def test_nothing_is_downloaded(tmp_path):
    script = ROOT / "local" / "download_data.sh"
    done = subprocess.run([script, "downloads"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "nothing to download" in done.stderr and not list(tmp_path.iterdir())
    assert subprocess.run([script], capture_output=True).returncode == 2
