"""Bring your own corpus: pairs files, ids, splits, recordings of every kind, and the recipe's first two stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2s.corpus.datadir import references
from i2s.corpus.pairs import PHOTOS, RECORDINGS, Folder, Pair, make_ids, read_pairs, resolve, split_by_photo
from i2s.corpus.recordings import Source, convert
from i2s.corpus.tables import check_id, read_table
from i2s.corpus.validate import Demands, check_data_dir
from i2s.errors import UserError

from .conftest import ROOT, run
from .recipes import TINY, copy_recipe


def tone(seconds: float = 0.3, rate: int = 22050, channels: int = 1) -> np.ndarray:
    wav = 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.stack([wav, 0.5 * wav], 1) if channels == 2 else wav


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten photos and twenty recordings of many kinds, with names as people give them."""
    photos, recordings = tmp_path / "my photos", tmp_path / "recordings"
    (photos / "trip").mkdir(parents=True)
    (recordings / "day 1").mkdir(parents=True)
    lines = []
    for i in range(10):
        name = f"trip/Bild {i} Ä.JPG" if i % 2 else f"photo{i}.png"
        Image.new("RGB", (32, 24), (20 * i, 0, 0)).save(photos / name)
        for k, (suffix, rate, channels) in enumerate([(".wav", 44100, 2), (".flac", 16000, 1)]):
            suffix, rate = {3: (".mp3", 22050), 4: (".ogg", 48000)}.get(i, (suffix, rate))
            recording = f"day 1/rec {i} {k}{suffix}"
            soundfile.write(recordings / recording, tone(0.3 + i / 20, rate, channels), rate)
            lines.append(f"{recording}\t{name}")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def prepare(corpus: Path, *options: str, check: bool = True):
    return run(
        *("python", "-m", "i2s.bin.prepare_recordings", "--photos", corpus / "my photos"),
        *("--recordings", corpus / "recordings", "--pairs", corpus / "pairs.tsv", *options, "data"),
        cwd=corpus,
        check=check,
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.wav b.jpg\nc.wav  d.jpg\n",
        "a.wav\tb.jpg\nc.wav\td.jpg",
        "a.wav,b.jpg\n\nc.wav, d.jpg\n",
        '"a.wav","b.jpg"\r\n"c.wav","d.jpg"\r\n',
        "\ufeffa.wav\tb.jpg\r\nc.wav\td.jpg\r\n",
    ],
)
def test_pairs_files_as_programs_write_them(tmp_path, text):
    (tmp_path / "pairs").write_text(text, encoding="utf-8", newline="")
    assert [(p.recording, p.photo) for p in read_pairs(tmp_path / "pairs")] == [("a.wav", "b.jpg"), ("c.wav", "d.jpg")]


def test_names_with_spaces(tmp_path):
    (tmp_path / "pairs").write_text("my rec, one.wav\ta photo.jpg\n")
    assert read_pairs(tmp_path / "pairs") == [Pair(1, "my rec, one.wav", "a photo.jpg")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a.wav b.jpg\nc.wav\n", "pairs:2: expected two columns"),
        (b"a.wav b.jpg\nmy rec.wav d.jpg\n", "pairs:2: expected two columns.*need a tab or a comma"),
        (b"a.wav\tb.jpg\tc\nd.wav\te.jpg\n", "pairs:1: expected two columns"),
        (b"a.wav\t\nd.wav\te.jpg\n", "pairs:1: expected two columns"),
        (b"a.wav\t\xff.jpg\n", "pairs: not UTF-8"),
    ],
)
def test_faults_of_pairs_files(tmp_path, content, message):
    (tmp_path / "pairs").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_pairs(tmp_path / "pairs")
    with pytest.raises(UserError, match="none: no such file"):
        read_pairs(tmp_path / "none")


def test_files_are_found_as_people_write_them(tmp_path):
    for name in ("Anna/ä 1.WAV", "Ben/two.wav", "Cem/two.mp3", "Cem/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "secret.wav").touch()
    folder = Folder(tmp_path / "in", RECORDINGS, "recording")
    wanted = tmp_path / "in" / "Anna" / "ä 1.WAV"
    for name in ("Anna/ä 1.WAV", "anna\\ä 1.wav", "ä 1", "a\u0308 1.wav", "./Anna/ä 1"):
        assert folder.find(name) == wanted, name
    assert folder.find("Ben/two") == tmp_path / "in" / "Ben" / "two.wav"
    for name in ("../secret.wav", "secret", "notes", str(tmp_path / "secret.wav"), ""):
        assert folder.find(name) is None
    with pytest.raises(UserError, match=r"'two' can mean several recordings: Ben/two.wav, Cem/two.mp3"):
        folder.find("two")


def test_header_missing_files_repeats_and_swapped_columns(corpus):
    recordings = Folder(corpus / "recordings", RECORDINGS, "recording")
    photos = Folder(corpus / "my photos", PHOTOS, "photo")
    path = corpus / "pairs.tsv"

    def found(*rows: tuple[str, str]):
        return resolve(path, [Pair(i, *row) for i, row in enumerate(rows, 1)], recordings, photos)

    good = ("rec 0 0", "photo0")
    files, missing = found(("Recording", "Photo"), good)
    assert len(files) == 1 and not missing
    _, missing = found(("rec 9 9.wav", "photo0"), good, ("rec 0 1", "photo77"))
    assert [m.split(": ")[0] for m in missing] == [f"{path}:1", f"{path}:3"]
    with pytest.raises(UserError, match=r"pairs.tsv:2: rec 0 0.wav stands in line 1 already"):
        found(good, ("rec 0 0.wav", "photo2"))
    with pytest.raises(UserError, match="wrong way round"):
        found(("photo0", "rec 0 0"), ("photo2", "rec 2 0"))


@given(st.lists(st.text(min_size=1).filter(lambda s: "/" not in s and "\0" not in s), unique=True, max_size=20))
def test_ids_are_safe_and_differ(names):
    ids = make_ids(Path("/in"), [Path("/in") / "sub" / name for name in names if name not in (".", "..")])
    for value in ids.values():
        check_id(value, "here")
        assert " " not in value and "/" not in value
    assert len({value.casefold() for value in ids.values()}) == len(ids)


def test_an_id_does_not_depend_on_the_order_of_files():
    paths = [Path("/in") / name for name in ("a b.wav", "a_b.wav", "c.wav", "../evil;rm.wav")]
    assert make_ids(Path("/in"), paths[:3]) == make_ids(Path("/in"), reversed(paths[:3]))
    assert make_ids(Path("/in"), [paths[2]])[paths[2]] == "c"


@given(st.integers(3, 300), st.integers(1, 45), st.integers(1, 45), st.integers(0, 5))
def test_split_is_a_partition_and_reproducible(count, dev, test, seed):
    photos = [f"p{i}" for i in range(count)]
    try:
        splits = split_by_photo(photos, dev, test, seed)
    except UserError:
        assert count < 12
        return
    assert sorted(p for part in splits.values() for p in part) == sorted(photos)
    assert all(splits.values())
    assert abs(len(splits["dev"]) - count * dev / 100) <= 1
    assert split_by_photo(reversed(photos), dev, test, seed) == splits


@pytest.mark.parametrize(
    ("count", "dev", "test", "message"),
    [
        (2, 10, 10, "at least one each"),
        (9, 0, 10, "above 0"),
        (9, 60, 40, "below 100"),
        (3, 49, 50, "none would be left"),
    ],
)
def test_splits_that_cannot_be(count, dev, test, message):
    with pytest.raises(UserError, match=message):
        split_by_photo([f"p{i}" for i in range(count)], dev, test)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".aiff"])
def test_recordings_of_any_kind_become_mono_wavs(tmp_path, suffix):
    soundfile.write(tmp_path / f"in{suffix}", tone(0.5, 44100, 2), 44100)
    source = convert(tmp_path / f"in{suffix}", tmp_path / "out.wav", 22050)
    assert source.sample_rate == 44100 and source.channels == 2 and source.seconds == pytest.approx(0.5, abs=0.06)
    wav, rate = soundfile.read(tmp_path / "out.wav")
    assert rate == 22050 and wav.ndim == 1 and len(wav) == pytest.approx(source.seconds * 22050, abs=2)
    # Channels of amplitudes 0.4 and 0.2 are averaged.
    assert np.abs(wav[2000:-3000]).max() == pytest.approx(0.3, abs=0.02)
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"


def test_recordings_of_phones(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "in.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(tone(0.5, 48000, 2).T.astype(np.float32).copy(), "fltp", "stereo")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    source = convert(tmp_path / "in.m4a", tmp_path / "out.wav")
    assert source.sample_rate == 48000 and source.channels == 2 and source.seconds == pytest.approx(0.5, abs=0.06)
    assert np.abs(soundfile.read(tmp_path / "out.wav")[0][4000:-3000]).max() == pytest.approx(0.3, abs=0.03)


def test_loud_recordings_are_not_clipped(tmp_path):
    soundfile.write(tmp_path / "in.wav", 3 * tone(), 22050, subtype="FLOAT")
    assert convert(tmp_path / "in.wav", tmp_path / "out.wav") == Source(22050, 1, pytest.approx(0.3))
    wav, _ = soundfile.read(tmp_path / "out.wav")
    assert np.mean(np.abs(wav) > 0.99) < 0.15  # of a clipped sine it would be three quarters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such recording"),
        (lambda p: p.touch(), "is an empty file"),
        (lambda p: p.write_bytes(b"no sound at all"), "cannot read the recording"),
        (lambda p: soundfile.write(p, np.zeros(9999), 22050), "is silent"),
        (lambda p: soundfile.write(p, tone(0.05), 22050), "too short"),
        (lambda p: soundfile.write(p, np.full(9999, np.nan), 22050, subtype="FLOAT"), "NaN or infinite"),
    ],
)
def test_bad_recordings(tmp_path, make, message):
    make(tmp_path / "in.wav")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "in.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_whole_corpus(corpus, monkeypatch):
    done = prepare(corpus)
    for counted in (
        "20 recordings of 10 photos",
        "10 recordings with several channels made mono",
        "8 recordings resampled from 16000 to 22050 Hz; little is left",
        "8 recordings resampled from 44100 to 22050 Hz\n",
        "2 recordings resampled from 48000 to 22050 Hz\n",
    ):
        assert counted in done.stderr
    monkeypatch.chdir(corpus)
    counts = {s: check_data_dir(f"data/{s}", Demands(text=False, feats=False)) for s in ("train", "dev", "test")}
    assert {s: (c.images, c.utterances) for s, c in counts.items()} == {"train": (8, 16), "dev": (1, 2), "test": (1, 2)}
    assert all(len(us) == 2 for s in counts for us in references(f"data/{s}").values())
    assert (corpus / "data" / ".recorded").exists() and not list((corpus / "data").glob("*/text"))
    images = [image for s in counts for image in read_table(f"data/{s}/images.scp")]
    assert "trip_Bild_1_Ä" in images and len(images) == 10
    assert Path("data/photos/trip_Bild_1_Ä.jpg").resolve() == corpus / "my photos" / "trip" / "Bild 1 Ä.JPG"
    names = {"day_1_rec_0_0": str(corpus / "recordings" / "day 1" / "rec 0 0.wav")}
    assert read_table("data/recording_ids").items() >= names.items()


def test_bad_files_stop_or_are_left_out(corpus):
    (corpus / "recordings" / "day 1" / "rec 0 0.wav").write_bytes(b"")
    (corpus / "my photos" / "photo2.png").unlink()
    done = prepare(corpus, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "2 problems" in done.stderr and "pairs.tsv:5: no photo 'photo2.png'" in done.stderr
    assert "--on-bad skip" in done.stderr
    assert not (corpus / "data" / "train").exists()
    done = prepare(corpus, "--on-bad", "skip")
    assert "2 left out" in done.stderr and "1 left out" in done.stderr
    left_out = (corpus / "data" / "left_out").read_text()
    assert "rec 0 0.wav: the recording is an empty file" in left_out and left_out.count("no photo 'photo2.png'") == 2
    wavs = [u for s in ("train", "dev", "test") for u in read_table(corpus / "data" / s / "wav.scp")]
    assert len(wavs) == 17


@pytest.fixture
def recipe(corpus: Path) -> Path:
    return copy_recipe("TEMPLATE", corpus / "project")


@pytest.mark.recipe
def test_every_stage_without_any_text(corpus, recipe):
    arguments = ["--pairs", "pairs.tsv", "--photos=my photos", "--recordings", "recordings"]
    done = run(
        recipe / "run.sh", *arguments, *TINY, "--prepare-args", "--dev 20 --test 30", cwd=corpus, I2S_VENV="none"
    )
    assert "brings its own recordings; skipped" in done.stderr
    assert len(read_table(recipe / "data" / "test" / "images.scp")) == 3
    system = recipe / "exp" / "transformer_fast_griffinlim" / "test"
    assert "units" in (system / "results.json").read_text() and (system / "report" / "index.html").is_file()
    assert len(list((system / "wav").glob("*.wav"))) == 3
    assert not list(recipe.rglob("text")) and not list(recipe.rglob("transcripts"))


def test_recipe_options(corpus, recipe):
    done = run(recipe / "run.sh", "--pairs", "nowhere.tsv", cwd=corpus, check=False)
    assert done.returncode == 2 and "--pairs" in done.stderr and "no such file or folder" in done.stderr
    done = run(recipe / "run.sh", "--photos", cwd=corpus, check=False)
    assert done.returncode == 2 and "option --photos needs a value" in done.stderr
    done = run("local/download_data.sh", "downloads", cwd=recipe, check=False, pairs="x", recordings="y")
    assert done.returncode == 2 and "option --photos is missing" in done.stderr
    done = run(recipe / "run.sh", "--help", cwd=corpus, I2S_VENV="none")
    assert "--recordings DIR" in done.stdout and "--stop-stage" in done.stdout


def test_preparing_again(corpus, recipe):
    env = {"pairs": str(corpus / "pairs.tsv"), "photos": str(corpus / "my photos"), "I2S_VENV": "none"}
    env |= {"recordings": str(corpus / "recordings"), "I2S_ROOT": str(ROOT)}
    run("local/prepare_data.sh", "downloads", "data", cwd=recipe, **env)
    before = {f: f.stat().st_mtime_ns for f in (recipe / "data").rglob("*")}
    done = run("local/prepare_data.sh", "downloads", "data", cwd=recipe, **env)
    assert "up to date" in done.stderr
    assert {f: f.stat().st_mtime_ns for f in (recipe / "data").rglob("*")} == before
    # Stopped in the middle, it goes on: what is there is not converted again.
    (recipe / "data" / ".prepared").rename(recipe / "data" / ".prepared.begun")
    (recipe / "data" / "wavs" / "day_1_rec_1_0.wav").unlink()
    run("local/prepare_data.sh", "downloads", "data", cwd=recipe, **env)
    changed = [f.name for f, t in before.items() if f.suffix == ".wav" and f.stat().st_mtime_ns != t]
    assert changed == ["day_1_rec_1_0.wav"]
    # A recording that changes makes everything again.
    soundfile.write(corpus / "recordings" / "day 1" / "rec 0 0.wav", tone(1.0), 22050)
    run("local/prepare_data.sh", "downloads", "data", cwd=recipe, **env)
    assert soundfile.info(recipe / "data" / "wavs" / "day_1_rec_0_0.wav").duration == pytest.approx(1.0)
