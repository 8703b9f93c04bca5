"""The embedded corpus in German: its grammar, and a recipe that hands on pictures and speech without text."""

from __future__ import annotations

import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from i2s.bin.draw_corpus import describe
from i2s.corpus.ctm import read_ctm
from i2s.corpus.pictograms_scene import SPLITS, Group, Scene, sample_scene
from i2s.corpus.tables import read_table
from i2s.score.wer import error_rate
from i2s.units.phone_map import PhoneMap

from .conftest import ROOT, run
from .recipes import TINY, copy_recipe

GRAMMAR = runpy.run_path(str(ROOT / "egs/pictograms_de/local/captions.py"))
write_captions, decline = GRAMMAR["write_captions"], GRAMMAR["decline"]
FEW = ["--num-train", "4", "--num-dev", "2", "--num-test", "2"]
ENV = {"I2S_ROOT": str(ROOT), "I2S_VENV": "none"}

# What any German reader knows, written down apart from the grammar.
GENDERS = {
    "m": "Baum Fisch Frosch Hubschrauber Hund Junge Jungen Laster Lastwagen Läufer Mann Mond "
    "Radfahrer Schneemann Schwimmer Skifahrer Vogel Welpe Welpen",
    "f": "Katze Kirche Kröte Kuh Person Rakete Regenwolke Sonne Spinne Straße Tanne Taube Wand Wiese Wolke",
    "n": "Auto Bild Boot Fahrrad Flugzeug Haus Kätzchen Pferd Pony Raumschiff Segelboot Zelt",
}
GENDER = {name: gender for gender, names in GENDERS.items() for name in names.split()}
ARTICLES = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
}
ENDINGS = {
    "nominative": {"m": "er", "f": "e", "n": "es", "plural": "e"},
    "dative": {"m": "en", "f": "en", "n": "en", "plural": "en"},
    "accusative": {"m": "en", "f": "e", "n": "es", "plural": "e"},
}
DATIVE = {"auf", "hinter", "neben", "unter", "von", "vor", "über"}  # of where something is
PHRASE = re.compile(r"(?:(\w+) )?\b(ein paar|eine?|eine[mnr]|zwei|drei|mehreren?)((?: [a-zäöüß]+)*) ([A-ZÄÖÜ]\w+)")
ONE = {"fliegt", "frisst", "fährt", "hockt", "ist", "krabbelt", "läuft", "parkt", "schwimmt", "sitzt", "steht"}
MANY = {"fliegen", "fressen", "fahren", "hocken", "sind", "krabbeln", "laufen", "parken", "schwimmen", "sitzen"}


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS))
def test_any_scene_is_told_in_words_with_articles_and_endings_that_agree(seed, split):
    scene = sample_scene(random.Random(seed), split)
    captions = write_captions(scene, random.Random(seed))
    assert len(set(captions)) == 5
    for caption in captions:
        assert re.fullmatch(r"[A-Za-zÄÖÜäöüß]+( [A-Za-zÄÖÜäöüß]+){4,13}", caption), caption
        for before, number, adjectives, name in PHRASE.findall(caption):
            seen = caption.startswith(("ich sehe", "man sieht"))
            case = "dative" if before in DATIVE else "accusative" if seen else "nominative"
            one = number.startswith("ein") and number != "ein paar"
            gender = GENDER[name] if one else "plural"
            assert not one or number == ARTICLES[case][gender], caption
            assert number != ("mehrere" if case == "dative" else "mehreren"), caption
            for adjective in adjectives.split():
                assert adjective == "rosa" or adjective.endswith(ENDINGS[case][gender]), caption


@pytest.mark.parametrize(
    ("name", "singular", "plural"),
    [
        ("Hund", "Hund Hund Hund", "Hunde Hunden Hunde"),
        ("Vogel", "Vogel Vogel Vogel", "Vögel Vögeln Vögel"),
        ("Katze", "Katze Katze Katze", "Katzen Katzen Katzen"),
        ("Auto", "Auto Auto Auto", "Autos Autos Autos"),
        ("Lastwagen", "Lastwagen Lastwagen Lastwagen", "Lastwagen Lastwagen Lastwagen"),
        ("Läufer", "Läufer Läufer Läufer", "Läufer Läufern Läufer"),
        ("Junge", "Junge Jungen Jungen", "Jungen Jungen Jungen"),
    ],
)
def test_nouns_in_their_cases(name, singular, plural):
    assert [" ".join(cases) for cases in decline(name)] == [singular, plural]


def test_sentences_as_they_are_said():
    def said(place: str, *groups: Group, relation: str | None = None) -> set[str]:
        scene = Scene(place, groups, relation)
        return {caption for seed in range(500) for caption in write_captions(scene, random.Random(seed))}

    pair = said("meadow", Group("dog", "black", 1, "big"), Group("bike", "red", 2, "medium"), relation="left of")
    assert {
        "ein großer schwarzer Hund steht neben zwei roten Fahrrädern",
        "ein schwarzer Welpe steht links von zwei roten Fahrrädern",
        "zwei rote Fahrräder stehen rechts von einem schwarzen Welpen",
        "ich sehe einen schwarzen Hund und zwei rote Fahrräder",
        "links ist ein schwarzer Hund und rechts sind zwei Fahrräder",
    } <= pair
    cyclists = said("street", Group("cyclist", "red", 3, "medium"))
    assert {
        "drei Männer in Rot fahren auf der Straße Fahrrad",
        "auf der Straße fahren drei Personen in Rot Fahrrad",
        "ein Bild von drei Radfahrern in Rot auf der Straße",
        "ein Bild von mehreren Radfahrern in Rot auf der Straße",
    } <= cyclists
    front = said(
        "grey wall", Group("cat", "red", 1, "medium"), Group("house", "blue", 1, "medium"), relation="in front of"
    )
    assert "hinter einer roten Katze ist ein blaues Haus auf grauem Hintergrund" in front
    assert {"die Sonne scheint am Himmel", "ich sehe eine gelbe Sonne am Himmel"} <= said(
        "sky", Group("sun", "yellow", 1, "medium")
    )
    over = said("sea", Group("bird", "white", 1, "medium"), Group("boat", "black", 1, "medium"), relation="above")
    assert "über einem schwarzen Boot auf dem Wasser fliegt ein weißer Vogel" in over
    assert not any(c.endswith("Vogel auf dem Meer") or "fliegt auf" in c for c in over), "it is in the air"


def test_verbs_agree_in_number():
    for seed in range(300):
        scene = sample_scene(random.Random(seed), "train")
        if scene.relation is None:
            words = {word for caption in write_captions(scene, random.Random(seed)) for word in caption.split()}
            assert not words & (MANY if scene.groups[0].count == 1 else ONE)


def test_training_says_every_noun_and_every_word_of_dev_and_test():
    words: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, number in zip(SPLITS, (900, 60, 60), strict=True):
        for image in (f"{split}_{i:04d}" for i in range(1, number + 1)):
            scene, _ = describe(1, image, split)
            captions = write_captions(scene, random.Random(f"1 {image} words"))
            words[split].update(word for caption in captions for word in caption.split())
    assert words["dev"] | words["test"] <= words["train"]
    assert set(GRAMMAR["NOUNS"]) <= words["train"]


# The recipe


def prepare(recipe: Path, *options: str):
    return run("local/prepare_data.sh", *FEW, "--nj", "2", *options, "downloads", "data", cwd=recipe, **ENV)


def contents(folder: Path) -> dict[str, bytes]:
    """Files of stage 2, but for logs and what a killed process was writing."""
    made = [f for part in ("data", "downloads") for f in (folder / part).rglob("*") if f.is_file()]
    kept = [f for f in made if f.suffix != ".log" and not (f.name.startswith(".") and ".tmp" in f.name)]
    return {str(f.relative_to(folder)): f.read_bytes() for f in kept}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """The recipe's folder after stage 2."""
    recipe = copy_recipe("pictograms_de", tmp_path_factory.mktemp("project"))
    prepare(recipe)
    return recipe


def test_pictures_are_those_of_the_embedded_corpus_and_no_text_is_handed_on(prepared, tmp_path):
    run(ROOT / "local" / "prepare_data.sh", *FEW, "downloads", "data", cwd=tmp_path, I2S_VENV="none")
    for split in SPLITS:
        ours, theirs = prepared / "data" / split, tmp_path / "data" / split
        assert {f.name for f in ours.iterdir()} == {"images.scp", "utt2image", "utt2spk", "spk2utt", "wav.scp"}
        for table in ("utt2image", "utt2spk", "spk2utt"):
            assert (ours / table).read_bytes() == (theirs / table).read_bytes()
        pictures = read_table(theirs / "images.scp")
        assert {key: (prepared / path).read_bytes() for key, path in read_table(ours / "images.scp").items()} == {
            key: (tmp_path / path).read_bytes() for key, path in pictures.items()
        }
    assert not list((prepared / "data").rglob("*text*"))


def test_text_is_revealed_beside_the_same_data(prepared):
    (spoken,) = (prepared / "downloads").glob("pictograms_de_*/spoken")
    (prepared / "revealed/test").mkdir(parents=True)
    (prepared / "revealed/test/feats.scp").touch()  # of earlier
    run("local/reveal_text.sh", spoken, "data", "revealed", cwd=prepared, **ENV)
    for split in SPLITS:
        tables = {f.name: f.read_bytes() for f in (prepared / "data" / split).iterdir()}
        tables["text"] = (spoken / split / "text").read_bytes()
        assert {f.name: f.read_bytes() for f in (prepared / "revealed" / split).iterdir()} == tables
    shutil.rmtree(prepared / "revealed")


def test_every_caption_is_spoken(prepared):
    (folder,) = (prepared / "downloads").glob("pictograms_de_*/spoken/test")
    text, wavs = read_table(folder / "text"), read_table(prepared / "data/test/wav.scp")
    assert list(text) == list(wavs) and len(text) == 10
    for utterance, path in wavs.items():
        wav, rate = soundfile.read(prepared / path)
        words = len(text[utterance].split())
        assert rate == 22050 and 0.2 < len(wav) / rate / words < 0.8
        assert np.sqrt(np.mean(wav**2)) > 0.01


def test_a_second_run_does_nothing_again_and_other_sizes_keep_apart(prepared, tmp_path):
    before = contents(prepared)
    times = {f: f.stat().st_mtime_ns for f in prepared.rglob("*") if f.is_file()}
    assert prepare(prepared).stderr.count("up to date") == 6
    assert {f: f.stat().st_mtime_ns for f in times} == times
    run("local/prepare_data.sh", "--num-train", "1", *FEW[2:], "downloads", tmp_path / "data", cwd=prepared, **ENV)
    after = contents(prepared)
    assert {name: after[name] for name in before} == before
    for path in (prepared / "downloads").glob("pictograms_de_1_*"):
        shutil.rmtree(path)


def test_killed_at_any_step_it_ends_the_same_and_speaks_nothing_twice(prepared, tmp_path):
    recipe = copy_recipe("pictograms_de", tmp_path)
    steps = ["*/drawn/images", "*/drawn/test/text", "*/spoken/train/utt2spk", "*/spoken/train/wav/*/*.wav"]
    command = ["local/prepare_data.sh", *FEW, "--nj", "2", "downloads", "data"]
    spoken: dict[Path, int] = {}
    for step in [*steps, "*/spoken/dev/wav/*/*.wav", "*/spoken/test/wav.scp", "../data/train/wav.scp"]:
        process = subprocess.Popen(
            command, cwd=recipe, env={**os.environ, **ENV}, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not list((recipe / "downloads").glob(step)):
            time.sleep(0.01)
        assert process.returncode is None, f"it ended before {step} was there"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wavs = (recipe / "downloads").glob("*/spoken/*/wav/*/[!.]*.wav")
        spoken |= {wav: wav.stat().st_mtime_ns for wav in wavs if wav not in spoken}
    prepare(recipe)
    assert contents(recipe) == contents(prepared)
    assert {wav: wav.stat().st_mtime_ns for wav in spoken} == spoken


def test_options(prepared):
    help_text = run(prepared / "run.sh", "--help", I2S_VENV="none").stdout
    assert "German" in help_text and "--stop-stage" in help_text
    done = run(prepared / "run.sh", "--tag", "", "--stop-stage", "1", I2S_VENV="none")
    assert "nothing to download" in done.stderr
    done = run("local/prepare_data.sh", "--num-dev", "0", "downloads", "none", cwd=prepared, check=False, **ENV)
    assert done.returncode != 0 and "--num-dev 0: choose from" in done.stderr and "Traceback" not in done.stderr
    assert not (prepared / "none").exists()


@pytest.mark.recipe
def test_every_stage_goes_without_text(prepared, tmp_path):
    recipe = copy_recipe("pictograms_de", tmp_path)
    for folder in ("data", "downloads"):
        shutil.copytree(prepared / folder, recipe / folder)
    options = [recipe / "run.sh", *TINY, "--prepare-args", " ".join(FEW)]
    done = run(*options, "--stop-stage", "3", I2S_VENV="none")
    assert "brings its own recordings" in done.stderr
    said: dict[str, str] = {}  # in German
    for text in (recipe / "downloads").rglob("text"):  # English and German: nothing below may look there
        if "spoken" in text.parts:
            said |= read_table(text)
        text.unlink()
    run(*options, "--stage", "4", I2S_VENV="none")
    system = recipe / "exp/transformer_fast_griffinlim/test"
    results = json.loads((system / "results.json").read_text())
    assert "units" in results and "captions" not in results
    assert not list((recipe / "exp").rglob("transcripts"))
    assert [wav.stem for wav in sorted((system / "wav").glob("*.wav"))] == ["test_0001", "test_0002"]

    run(*options, "--units", "phones-l2", "--stage", "6", "--stop-stage", "6", I2S_VENV="none")
    heard: dict[str, str] = {}
    for split in SPLITS:
        spans = read_ctm(recipe / "exp/units_phones-l2" / split / "alignment.ctm")
        heard |= {key: " ".join(i.symbol for i in row if i.symbol != "SIL") for key, row in spans.items()}
    assert {p for row in heard.values() for p in row.split()} <= set(PhoneMap(ROOT / "conf/phone_maps/de.txt").phones)
    # They are the phones of what was said: of all captions, an utterance's own is nearest to what was heard in it.
    captions = [spell(said[key]) for key in heard]
    pairs = [(phones, caption) for phones in heard.values() for caption in captions]
    _, edits = error_rate(*zip(*pairs, strict=True))
    errors = (edits[:, :3].sum(1) / edits[:, 3]).reshape(len(heard), -1)
    assert len(heard) == 40 and (errors.diagonal() == errors.min(1)).mean() > 0.7
    assert errors.diagonal().mean() < 0.75


LETTERS = re.compile(r"sch|[aäe]u|ei|ie|ch|ck|ng|([a-z])\1|.")
SPELT = {
    **{"sch": "ʃ", "ch": "ç", "ck": "k", "ng": "ŋ", "g": "ɡ", "r": "ʁ", "ß": "s", "v": "f", "w": "v", "z": "ts"},
    **{"ie": "iː", "ei": "aɪ", "eu": "ɔʏ", "äu": "ɔʏ", "au": "aʊ"},
    **{"e": "ə", "i": "ɪ", "o": "ɔ", "u": "ʊ", "y": "ʏ", "ä": "ɛ", "ö": "œ", "ü": "ʏ"},
}


def spell(caption: str) -> str:
    """German as it is written, letter by letter, in the phones that these mostly stand for."""
    letters = [match[1] or match[0] for word in caption.lower().split() for match in LETTERS.finditer(word)]
    return " ".join(SPELT.get(letter, letter) for letter in letters)
