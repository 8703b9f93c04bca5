"""The SPEECH-COCO recipe, on small archives of the same layout, spoken by a voice of the project."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from PIL import Image

from i2s.corpus.ctm import read_ctm
from i2s.corpus.tables import read_int_table, read_table
from i2s.tts import load
from i2s.units.aligned import Symbols

from .conftest import ROOT, run
from .recipes import TINY, check_options, copy_recipe

RATE = 16000
SENTENCES = {"None": "A dog runs over the grass.", "Middle": "Two birds, um, on a fence."}
# By subset: photo, and who speaks its captions, with or without a filler.
PHOTOS: dict[str, dict[int, list[tuple[str, str]]]] = {
    "train2014": {
        11: [("Bruce", "None"), ("Bruce", "Middle"), ("Jenny", "None")],
        12: [("Bruce", "None"), ("Bruce", "None")],
        13: [("Bruce", "Middle"), ("Bruce", "None")],
        14: [("Bruce", "None")],
        15: [("Jenny", "None")],
    },
    "val2014": {21: [("Bruce", "None"), ("Bruce", "None"), ("Jenny", "Middle")], 22: [("Bruce", "Middle")]},
}
FEW = ["--num-train", "2", "--num-dev", "1", "--num-test", "1"]
ENV = {"I2S_ROOT": str(ROOT), "I2S_VENV": "none"}

Record = dict[str, Any]


@pytest.fixture(scope="module")
def speech() -> dict[str, np.ndarray]:
    voice = load("hibari")
    return {kind: soxr.resample(voice.speak(text), voice.sample_rate, RATE) for kind, text in SENTENCES.items()}


def timecode(text: str, seconds: float) -> list[list[object]]:
    """Events as the corpus has them: pauses of 100 ms around the words, a comma without phones, letters for phones."""
    words = text.rstrip(".").split()
    step = 1000 * (seconds - 0.2) / sum(len(word.strip(",")) for word in words)
    events: list[list[object]] = [[0.0, "SYL", ""], [0.0, "PHO", "#"], [100.0, "SIL", ""]]
    at = 100.0
    for word in words:
        events += [[at, "SYL", ""], [at, "SEPR", " "], [at, "WORD", word.strip(",")]]
        for letter in word.strip(","):
            events.append([at, "PHO", letter])
            at = round(at + step, 4)
        if word.endswith(","):
            events += [[at, "SYL", ""], [at, "SEPR", ","], [at, "WORD", ","]]
    return [*events, [at, "SYL", ""], [at, "PHO", "#"], [1000 * seconds, "SIL", ""], [1000 * seconds, "WORD", "."]]


def records(subset: str, speech: dict[str, np.ndarray]) -> Iterator[Record]:
    for image, spoken in PHOTOS[subset].items():
        for k, (voice, disfluency) in enumerate(spoken):
            seconds = len(speech[disfluency]) / RATE
            yield {
                "duration": seconds,
                "speaker": voice,
                "synthesisedCaption": SENTENCES[disfluency],
                "timecode": timecode(SENTENCES[disfluency], seconds),
                "speed": 1.0,
                "wavFilename": f"{image}_{10 * image + k}_{voice}_{disfluency}_1-0.wav",
                "captionID": 10 * image + k,
                "imgID": image,
                "disfluency": [disfluency, ["um"] if disfluency != "None" else []],
            }


def write_database(path: Path, rows: list[Record]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE speakers (name TEXT PRIMARY KEY, gender TEXT, nationality TEXT)")
        db.execute(
            "CREATE TABLE captions (captionID INTEGER PRIMARY KEY, imageID INTEGER, wavFilename TEXT, duration FLOAT, "
            "timecode TEXT, disfluencyPos TEXT, disfluencyVal TEXT, speed FLOAT, text TEXT, speaker TEXT)"
        )
        for r in rows:
            db.execute(
                "INSERT INTO captions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(r["captionID"], r["imgID"], r["wavFilename"], r["duration"], json.dumps(r["timecode"])),
                    *(r["disfluency"][0], json.dumps(r["disfluency"][1])),
                    *(r["speed"], r["synthesisedCaption"], r["speaker"]),
                ),
            )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, speech) -> Path:
    """unpacked/{train2014,val2014}, coco/{train2014,val2014} and archives/*.tar.gz."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "archives").mkdir()
    for subset in PHOTOS:
        root, photos = folder / "unpacked" / subset, folder / "coco" / subset
        for made in (root / "json", root / "wav", photos):
            made.mkdir(parents=True)
        rows = list(records(subset, speech))
        for row in rows:
            soundfile.write(root / "wav" / row["wavFilename"], speech[row["disfluency"][0]], RATE)
            (root / "json" / row["wavFilename"]).with_suffix(".json").write_text(json.dumps(row))
        write_database(root / f"{subset.removesuffix('2014')}_2014.sqlite3", rows)
        for image in PHOTOS[subset]:
            colour = tuple(np.random.default_rng(image).integers(0, 255, 3).tolist())
            Image.new("RGB", (64, 48), colour).save(photos / f"COCO_{subset}_{image:012d}.jpg")
        with tarfile.open(folder / "archives" / f"{subset}.tar.gz", "w:gz") as archive:
            archive.add(root, subset)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "egs" / "speech_coco" / "local", tmp_path / "recipe" / "local")
    return tmp_path / "recipe"


@pytest.fixture
def own(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the unpacked corpus and its photos, to damage."""
    for part in ("unpacked", "coco"):
        shutil.copytree(corpus / part, tmp_path / "own" / part)
    return tmp_path / "own"


def download(recipe: Path, folder: Path, *options: str, check: bool = True):
    return run(
        "local/download_data.sh", *options, "--speech-coco-dir", folder, "downloads", cwd=recipe, check=check, **ENV
    )


def prepare(recipe: Path, coco: Path | None, *options: str, check: bool = True):
    env = {**ENV, "coco_dir": str(coco)} if coco else ENV
    return run("local/prepare_data.sh", *FEW, *options, "downloads", "data", cwd=recipe, check=check, **env)


def tables(recipe: Path) -> dict[str, str]:
    return {str(p.relative_to(recipe)): p.read_text() for p in recipe.glob("data/*/*") if p.parent.name != "wavs"}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_archives_become_data_directories(corpus, recipe):
    download(recipe, corpus / "archives")
    done = prepare(recipe, corpus / "coco")
    assert done.stderr.count("is valid") == 3 and "recordings resampled from 16000 to 22050 Hz" in done.stderr
    images = {s: list(read_table(recipe / "data" / s / "images.scp")) for s in ("train", "dev", "test")}
    # One voice; of the first subset the photos that it describes most often; of the last for test.
    assert sorted(images["train"] + images["dev"]) == [f"COCO_train2014_{i:012d}" for i in (11, 12, 13)]
    assert images["test"] == ["COCO_val2014_000000000021"]
    test = recipe / "data" / "test"
    assert read_table(test / "text") == dict.fromkeys(("Bruce-000021-000210", "Bruce-000021-000211"), SENTENCES["None"])
    assert set(read_table(test / "utt2spk").values()) == {"Bruce"}
    wav = read_table(test / "wav.scp")["Bruce-000021-000211"]
    assert soundfile.info(recipe / wav).samplerate == 22050
    assert "up to date" in prepare(recipe, corpus / "coco").stderr


def test_times_of_words_and_phones(corpus, recipe, speech):
    download(recipe, corpus / "unpacked")
    prepare(recipe, corpus / "coco", "--voices", "Jenny,Bruce")
    seconds = len(speech["Middle"]) / RATE
    step = (seconds - 0.2) / len("Twobirdsumonafence")

    def spans(name: str, utterance: str) -> list[tuple[float, float, str]]:
        rows = [line.split(" ") for line in (recipe / "data" / "test" / name).read_text().splitlines()]
        assert rows == sorted(rows, key=lambda row: (row[0], float(row[2]))) and all(row[1] == "1" for row in rows)
        return [(float(begin), float(length), symbol) for key, _, begin, length, symbol in rows if key == utterance]

    words = spans("words.ctm", "Jenny-000021-000212")
    assert [word for _, _, word in words] == ["Two", "birds", "um", "on", "a", "fence"]  # the comma takes no time
    assert words[1][:2] == pytest.approx((0.1 + 3 * step, 5 * step), abs=1e-3)
    phones = spans("phones.ctm", "Jenny-000021-000212")
    assert [phone for _, _, phone in phones] == ["SIL", *"Twobirdsumonafence", "SIL"]
    assert phones[0][:2] == (0.0, 0.1)
    assert sum(length for _, length, _ in phones) == pytest.approx(seconds, abs=1e-2)


def test_both_forms_of_metadata_give_the_same_tables(corpus, recipe, own):
    download(recipe, own / "unpacked")
    found = {}
    for form in ("json", "sqlite"):
        prepare(recipe, corpus / "coco", "--metadata", form, "--voices", "all")
        found[form] = tables(recipe)
    assert found["json"] == found["sqlite"] and len(found["json"]) == 3 * 8
    # Where only one form is there, it is read; where the one asked for is not, a line says so.
    for path in own.glob("unpacked/*/*.sqlite3"):
        path.unlink()
    prepare(recipe, corpus / "coco", "--voices", "all")
    assert tables(recipe) == found["json"]
    done = prepare(recipe, corpus / "coco", "--metadata", "sqlite", check=False)
    assert done.returncode == 1 and "holds no *.sqlite3" in done.stderr


def test_voices_fillers_seeds_and_numbers(corpus, recipe):
    download(recipe, corpus / "unpacked")
    prepare(recipe, corpus / "coco", "--fluent", "--seed", "1")
    texts = {text for s in ("train", "dev", "test") for text in read_table(recipe / "data" / s / "text").values()}
    assert texts == {SENTENCES["None"]}
    prepare(recipe, corpus / "coco", "--subsets", "train2014", "--num-train", "2")
    images = [image for s in ("train", "dev", "test") for image in read_table(recipe / "data" / s / "images.scp")]
    assert sorted(images) == [f"COCO_train2014_{i:012d}" for i in (11, 12, 13, 14)]
    for options, message in (
        (("--voices", "Bruce,Google"), "no recordings of 'Google'; there are Bruce, Jenny"),
        (("--num-train", "6000"), "6001 photos are wanted for train, dev, 4 have recordings as wanted"),
        (("--num-dev", "0"), "each split needs a photo"),
    ):
        done = prepare(recipe, corpus / "coco", *options, check=False)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_downloads(corpus, recipe, tmp_path):
    """The Zenodo record tells addresses and checksums of the archives; photos are fetched one by one."""
    server = tmp_path / "server"
    shutil.copytree(corpus / "coco", server / "photos")
    shutil.copytree(corpus / "archives", server / "files")
    with served(server) as url:
        files = [
            {
                "key": path.name,
                "size": path.stat().st_size,
                "checksum": f"md5:{hashlib.md5(path.read_bytes()).hexdigest()}",
                "links": {"self": f"{url}/files/{path.name}"},
            }
            for path in (server / "files").iterdir()
        ]
        (server / "record").write_text(json.dumps({"files": files[:1]}))
        command = ("local/download_data.sh", "--record", f"{url}/record", "downloads")
        done = run(*command, cwd=recipe, check=False, **ENV)
        assert done.returncode == 1 and "lists no " in done.stderr and files[0]["key"] in done.stderr
        (recipe / "downloads" / "record.json").unlink()
        (server / "record").write_text("<html>")
        assert "not a Zenodo record" in run(*command, cwd=recipe, check=False, **ENV).stderr
        (server / "record").write_text(json.dumps({"files": files}))
        run(*command, cwd=recipe, **ENV)
        assert sorted(p.name for p in (recipe / "downloads").glob("*/*2014/wav")) == ["wav", "wav"]

        photo = server / "photos" / "train2014" / "COCO_train2014_000000000012.jpg"
        whole = photo.read_bytes()
        photo.write_bytes(whole[: len(whole) // 2])
        done = prepare(recipe, None, "--photo-server", f"{url}/photos", check=False)
        assert done.returncode == 1 and f"{photo.name}: truncated or damaged image" in done.stderr
        photo.write_bytes(whole)
        prepare(recipe, None, "--photo-server", f"{url}/photos")
    # Nothing is asked for again.
    run(*command, cwd=recipe, **ENV)
    prepare(recipe, None, "--photo-server", f"{url}/photos", "--voices", "Bruce")
    images = read_table(recipe / "data" / "train" / "images.scp")
    assert all((recipe / path).is_file() and path.startswith("downloads/photos/") for path in images.values())


def test_archives_that_are_missing_cut_or_malicious(corpus, recipe, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(corpus / "archives", folder)
    archive = folder / "val2014.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-2000])
    done = download(recipe, folder, check=False)
    assert done.returncode == 1 and "val2014.tar.gz: damaged archive" in done.stderr
    with tarfile.open(archive, "w:gz") as evil:
        info = tarfile.TarInfo("../../escaped.wav")
        info.size = 4
        evil.addfile(info, io.BytesIO(b"evil"))
    done = download(recipe, folder, check=False)
    assert done.returncode == 1 and "would land outside of its folder" in done.stderr
    assert not list(tmp_path.rglob("escaped.wav")) and not (recipe / "downloads" / "val2014").exists()
    (recipe / "downloads" / "train2014").rename(tmp_path / "train2014")
    done = prepare(recipe, corpus / "coco", check=False)
    assert done.returncode == 1 and "train2014: holds no folder wav; run stage 1 again" in done.stderr
    archive.unlink()
    done = download(recipe, folder, check=False)
    assert done.returncode == 1 and "holds neither val2014.tar.gz nor a folder val2014" in done.stderr


NAME = "21_210_Bruce_None_1-0"  # of the test split


def edit(**changes: object) -> Callable[[Path], None]:
    def change(own: Path) -> None:
        path = own / "unpacked" / "val2014" / "json" / f"{NAME}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def wav(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(own: Path) -> None:
        path = own / "unpacked" / "val2014" / "wav" / f"{NAME}.wav"
        path.write_bytes(change(path.read_bytes()))

    return damage


def rename(source: str, target: str) -> Callable[[Path], None]:
    return lambda own: (own / source).rename(own / target) and None


VAL = "unpacked/val2014"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wav(lambda content: content[: len(content) // 2]), f"{NAME}.wav: lasts "),
        (wav(lambda content: content[:10]), f"{NAME}.wav: cannot read the recording"),
        (rename(f"{VAL}/wav/{NAME}.wav", f"{VAL}/wav/x.wav"), f"{NAME}.wav: no such recording"),
        (lambda own: (own / VAL / "json" / f"{NAME}.json").write_text('{"duration": 1'), f"{NAME}.json: not JSON"),
        (lambda own: (own / VAL / "json" / f"{NAME}.json").write_text("[1]"), "expected a JSON object"),
        (edit(imgID=22), f"{NAME}.json: imgID is 22, but the file name says 21"),
        (edit(captionID=1), "captionID is 1, but the file name says 210"),
        (edit(speaker="Jenny"), "speaker is 'Jenny', but the file name says 'Bruce'"),
        (edit(wavFilename="x.wav"), "wavFilename is 'x.wav'"),
        (edit(synthesisedCaption=" \n"), f"{NAME}.json: synthesisedCaption is empty"),
        (edit(timecode=[[0, "PHO"]]), f"{NAME}.json: timecode: expected a list"),
        (edit(timecode=[[9, "PHO", "a"], [1, "SIL", ""]]), f"{NAME}.json: timecode: times are not in order"),
        (
            rename(f"{VAL}/json/22_220_Bruce_Middle_1-0.json", f"{VAL}/json/22_210_Bruce_Middle_1-0.json"),
            "22_210_Bruce_Middle_1-0: caption 210 is there already, 21_210_Bruce_None_1-0",
        ),
        (
            rename(f"{VAL}/json/22_220_Bruce_Middle_1-0.json", f"{VAL}/json/notes.json"),
            "'notes': expected IMAGE_CAPTION_VOICE_DISFLUENCY_SPEED",
        ),
        (
            lambda own: (own / "coco/val2014/COCO_val2014_000000000021.jpg").unlink(),
            "COCO_val2014_000000000021.jpg: no such image file",
        ),
        (
            lambda own: (own / "coco/val2014/COCO_val2014_000000000021.jpg").write_bytes(b"<html>"),
            "COCO_val2014_000000000021.jpg: not an image",
        ),
    ],
)
def test_damage_stops_or_is_left_out(recipe, own, damage, message):
    damage(own)
    download(recipe, own / "unpacked")
    done = prepare(recipe, own / "coco", "--metadata", "json", check=False)
    assert done.returncode == 1 and "1 problem:" in done.stderr and message in done.stderr
    assert "--on-bad skip" in done.stderr and "Traceback" not in done.stderr
    assert not list((recipe / "data").glob("*/text"))
    done = prepare(recipe, own / "coco", "--metadata", "json", "--on-bad", "skip", check=False)
    assert "1 left out" in done.stderr and message in done.stderr and "Traceback" not in done.stderr
    if ".jpg" in message:  # the only photo of the test split
        assert done.returncode == 1 and "data/test: nothing is left of it" in done.stderr
    else:
        assert done.returncode == 0 and message in (recipe / "data" / "left_out").read_text()
        assert "Bruce-000021-000211" in read_table(recipe / "data" / "test" / "wav.scp")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"SQLite format 3 or so", "val_2014.sqlite3: cannot read the database"),
        ("ALTER TABLE captions RENAME TO sentences", "has no table captions (with the columns captionID, imageID"),
        ("ALTER TABLE captions RENAME COLUMN imageID TO image", "table captions has no imageID, but captionID, image,"),
        ("UPDATE captions SET timecode = '[[1,'", "3 problems:"),
        ("UPDATE captions SET imageID = 7 WHERE captionID = 210", f"{NAME}: imgID is 7, but the file name says 21"),
        ("UPDATE captions SET captionID = 7 WHERE captionID = 210", f"{NAME}: 0 rows of the table captions have its"),
    ],
)
def test_damaged_databases(recipe, own, change, message):
    path = own / "unpacked" / "val2014" / "val_2014.sqlite3"
    if isinstance(change, bytes):
        path.write_bytes(change)
    else:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(change)
    before = path.read_bytes()
    download(recipe, own / "unpacked")
    done = prepare(recipe, own / "coco", "--voices", "all", check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert path.read_bytes() == before and list(path.parent.glob("*.sqlite3*")) == [path]


def test_recipe_options():
    check_options("speech_coco", "--coco-dir")


def test_half_the_download_is_enough(corpus, tmp_path):
    """`--subsets` of the recipe reaches download and preparation: the other archive is not asked for."""
    recipe = copy_recipe("speech_coco", tmp_path)
    shutil.copytree(corpus / "archives", tmp_path / "half")
    (tmp_path / "half" / "val2014.tar.gz").unlink()
    folders = ["--speech-coco-dir", tmp_path / "half", "--coco-dir", corpus / "coco"]
    options = ["--subsets", "train2014", "--prepare-args", " ".join(FEW), "--stop-stage", "2"]
    run(recipe / "run.sh", *folders, *options, I2S_VENV="none")
    images = [image for s in ("train", "dev", "test") for image in read_table(recipe / "data" / s / "images.scp")]
    assert sorted(images) == [f"COCO_train2014_{i:012d}" for i in (11, 12, 13, 14)]
    assert [p.name for p in (recipe / "downloads").iterdir()] == ["train2014"]


@pytest.mark.recipe
def test_stages_to_units_of_its_own_speech(corpus, tmp_path):
    """What comes after is the same as for every corpus."""
    recipe = copy_recipe("speech_coco", tmp_path)
    folders = ["--speech-coco-dir", "archives", "--coco-dir", "coco"]
    arguments = [*folders, *TINY, "--prepare-args", " ".join(FEW), "--stop-stage", "6"]
    done = run(recipe / "run.sh", *arguments, cwd=corpus, I2S_VENV="none")
    assert "brings its own recordings; skipped" in done.stderr
    for split in ("train", "dev", "test"):
        units = read_table(recipe / "exp" / "units_kmeans16" / split / "units")
        assert units.keys() == read_table(recipe / "data" / split / "wav.scp").keys()
        assert read_table(recipe / "data" / split / "image_feats.scp")
    # Its own times of phones and words are units, too, without an aligner or a lexicon.
    for kind, table in (("phones-l1", "phones.ctm"), ("words", "words.ctm")):
        own = ["--units", kind, "--unit-bpe", "0", "--unit-args", "alignments=data", "--stage", "6"]
        run(recipe / "run.sh", *arguments, *own, cwd=corpus, I2S_VENV="none")
        (folder,) = (recipe / "exp").glob(f"units_{kind}*")
        shift = json.loads((folder / "manifest.json").read_text())["frame_shift"]
        names = Symbols.load(folder).names
        assert set(names) >= ({"SIL", *"Adogrunsoverthegrass"} if kind == "phones-l1" else {"a", "dog", "grass"})
        for split in ("train", "dev", "test"):
            spans = read_ctm(recipe / "data" / split / table)
            units, durations = (read_int_table(folder / split / name) for name in ("units", "unit_durations"))
            assert units.keys() == durations.keys() == read_table(recipe / "data" / split / "wav.scp").keys()
            for utterance, row in units.items():
                said = [names[unit] for unit, run in zip(row, durations[utterance], strict=True) for _ in range(run)]
                for span in spans[utterance]:
                    middle = said[min(int((span.begin + span.end) / 2 / shift), len(said) - 1)]
                    symbol = span.symbol.lower() if kind == "words" and span.symbol != "SIL" else span.symbol
                    assert middle == (symbol if symbol in names else "<unk>")
