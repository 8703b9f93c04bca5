"""The Flickr8k recipe's first stages, on tiny archives of the same layout."""

from __future__ import annotations

import functools
import http.server
import io
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from i2s.corpus.tables import read_table

from .conftest import ROOT, run
from .recipes import TINY, check_options, copy_recipe

SPLITS = {"train": ["a1", "a2"], "dev": ["b1"], "test": ["c1"]}
CAPTIONS = ["A  dog   runs .", 'A " big " dog', "dogs run\u00e9", "the dog", "a dog"]


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    return buffer.getvalue()


def tokens() -> str:
    lines = [f"{name}.jpg#{k}\t{CAPTIONS[k]}" for names in SPLITS.values() for name in names for k in range(5)]
    return "\n".join([*lines, *(f"2258277193_586949ec62.jpg.1#{k}\tno such photo" for k in range(5))]) + "\n"


def archives(folder: Path, prefix: str = "", **changes: str | None) -> Path:
    """The two archives; `changes` replaces the content of text files, by a part of their names."""
    folder.mkdir(exist_ok=True)
    texts = {"Flickr8k.token.txt": tokens()}
    texts |= {f"Flickr_8k.{s}Images.txt": "".join(f"{n}.jpg\n" for n in names) for s, names in SPLITS.items()}
    for part, content in changes.items():
        name = next(name for name in texts if part in name)
        texts[name] = content  # type: ignore[assignment]
    with zipfile.ZipFile(folder / "Flickr8k_text.zip", "w") as z:
        for name, content in texts.items():
            if content is not None:
                z.writestr(prefix + name, content if isinstance(content, bytes) else content.encode())
    with zipfile.ZipFile(folder / "Flickr8k_Dataset.zip", "w") as z:
        for name in (n for names in SPLITS.values() for n in names):
            z.writestr(f"Flicker8k_Dataset/{name}.jpg", jpeg())
        z.writestr("__MACOSX/Flicker8k_Dataset/._a1.jpg", b"junk")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "egs" / "flickr8k" / "local", tmp_path / "recipe" / "local")
    return tmp_path / "recipe"


ENV = {"I2S_ROOT": str(ROOT), "I2S_VENV": "none"}


def prepare(recipe: Path, source: Path, check: bool = True):
    done = run("local/download_data.sh", "--flickr8k-dir", source, "downloads", cwd=recipe, check=check, **ENV)
    return (
        done if done.returncode else run("local/prepare_data.sh", "downloads", "data", cwd=recipe, check=check, **ENV)
    )


@pytest.mark.parametrize("prefix", ["", "Flickr8k_text/"])
def test_local_archives_become_data_directories(recipe, tmp_path, prefix):
    done = prepare(recipe, archives(tmp_path / "in", prefix))
    assert "5 captions of 2258277193_586949ec62.jpg.1, which is no photo of the archive" in done.stderr
    for split, names in SPLITS.items():
        data = recipe / "data" / split
        text = read_table(data / "text")
        assert len(text) == 5 * len(names)
        assert read_table(data / "utt2image") == {f"{n}-{k}": n for n in names for k in range(5)}
        assert all((recipe / path).is_file() for path in read_table(data / "images.scp").values())
        assert "is valid" in done.stderr
    assert (recipe / "data" / "test" / "text").read_text().splitlines()[:3] == [
        "c1-0 A dog runs .",
        'c1-1 A " big " dog',
        "c1-2 dogs runé",
    ]
    assert "up to date" in prepare(recipe, tmp_path / "in").stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": None}, "holds no Flickr8k.token.txt"),
        ({"token": tokens().replace("#3\t", "#3 ", 1)}, "token.txt:4: expected 'name.jpg#k<TAB>caption'"),
        ({"token": tokens() + "a1.jpg#0\tagain\n"}, "a1.jpg#0 appears twice"),
        ({"token": tokens().encode("utf-16")}, "token.txt: not UTF-8"),
        (
            {"token": "".join(line for line in tokens().splitlines(True) if "b1" not in line)},
            "1 photos have no caption",
        ),
        ({"train": "a1.jpg\na3.jpg\n"}, "1 photos are not in the archive, the first is a3.jpg"),
        ({"dev": "a1.jpg\n"}, "a1.jpg is in the train split already"),
        ({"dev": "../a1.jpg\n"}, "cannot be an id"),
    ],
)
def test_damaged_texts(recipe, tmp_path, changes, message):
    done = prepare(recipe, archives(tmp_path / "in", **changes), check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (recipe / "data" / "train" / "text").exists()


def test_local_archive_missing_or_cut(recipe, tmp_path):
    source = archives(tmp_path / "in")
    (source / "Flickr8k_Dataset.zip").write_bytes((source / "Flickr8k_Dataset.zip").read_bytes()[:500])
    done = prepare(recipe, source, check=False)
    assert done.returncode == 1 and "Flickr8k_Dataset.zip: not a zip or tar archive, or cut short" in done.stderr
    (source / "Flickr8k_text.zip").unlink()
    shutil.rmtree(recipe / "downloads")
    done = prepare(recipe, source, check=False)
    assert done.returncode == 1 and "Flickr8k_text.zip: no such file" in done.stderr


def test_a_download_that_is_not_the_official_archive_is_refused(recipe, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=archives(tmp_path / "in"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        done = run("local/download_data.sh", "--mirror", url, "downloads", cwd=recipe, check=False, **ENV)
        server.shutdown()
    assert done.returncode == 1 and "wrong md5" in done.stderr and "Traceback" not in done.stderr
    assert list((recipe / "downloads").iterdir()) == []


def test_recipe_options():
    check_options("flickr8k", "--flickr8k-dir")


@pytest.mark.recipe
def test_every_stage(tmp_path):
    recipe = copy_recipe("flickr8k", tmp_path)
    source = archives(tmp_path / "in")
    command = [recipe / "run.sh", "--flickr8k-dir", "in", *TINY, "--asr", "pocketsphinx"]
    done = run(*command, cwd=source.parent, I2S_VENV="none")
    system = recipe / "exp" / "transformer_fast_griffinlim" / "test"
    assert "BLEU" in done.stdout and (system / "results.json").is_file()
    assert "\tegs/flickr8k/run.sh --flickr8k-dir in --nj 2 " in (recipe / "exp/stages.tsv").read_text()
    assert [wav.stem for wav in (system / "wav").glob("*.wav")] == SPLITS["test"]
