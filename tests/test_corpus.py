"""Data directories: tables over jobs, merging, validating, mending, filtering."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2s.archive import write_ark
from i2s.corpus.datadir import filter_data_dir, invert, references, write_data_dir
from i2s.corpus.jobs import parse_job, share
from i2s.corpus.tables import read_table, write_table
from i2s.corpus.validate import Demands, check_data_dir
from i2s.errors import UserError

from .conftest import ROOT, run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data directory that holds everything: two images, four utterances of two speakers."""
    folder = tmp_path / "data"
    folder.mkdir()
    utterances = {"ann-1": "cat", "ann-2": "dog", "bob-1": "cat", "bob-2": "dog"}
    files = {}
    for name in (*utterances, "cat", "dog"):
        files[name] = str(tmp_path / f"{name}.file")
        Path(files[name]).write_bytes(b"something")
    write_data_dir(
        folder,
        images={"cat": files["cat"], "dog": files["dog"], "undescribed": files["dog"]},
        utt2image=utterances,
        utt2spk={u: u[:3] for u in utterances},
        text={"ann-1": "a cat", "ann-2": "a dog", "bob-1": "it is a cat", "bob-2": "the dog"},
        wavs={u: files[u] for u in utterances},
    )
    for scp, keys in (("feats.scp", utterances), ("image_feats.scp", ("cat", "dog"))):
        with write_ark(folder / f"{scp}.ark", folder / scp) as write:
            for key in keys:
                write(key, np.ones((3, 2)))
    write_table(folder / "units", {u: "1 2 1" for u in utterances})
    write_table(folder / "unit_durations", {u: "1 5 2" for u in utterances})
    write_table(folder / "utt2dur", dict.fromkeys(utterances, 1.25))
    return folder


@given(st.lists(st.integers()), st.integers(1, 12))
def test_shares_are_the_whole_in_order_and_even(items, jobs):
    parts = [share(items, (j, jobs)) for j in range(1, jobs + 1)]
    assert [item for part in parts for item in part] == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b"])
def test_a_job_is_j_of_n(text):
    assert parse_job("2/3") == (2, 3)
    with pytest.raises(UserError, match="expected J/N"):
        parse_job(text)


def test_merge_tables(tmp_path):
    for name, text in (("1", "b 2 x\nd 4\n"), ("2", "a 1\n"), ("3", "")):
        (tmp_path / name).write_text(text)
    run("python", "-m", "i2s.bin.merge_tables", tmp_path / "out", *(tmp_path / n for n in "123"))
    assert (tmp_path / "out").read_text() == "a 1\nb 2 x\nd 4\n"
    before = (tmp_path / "out").read_bytes()
    done = run("python", "-m", "i2s.bin.merge_tables", *(tmp_path / n for n in ("out", "1", "2", "1")), check=False)
    assert done.returncode == 1 and "is in" in done.stderr
    assert (tmp_path / "out").read_bytes() == before


ids = st.text("ab.-_é1", min_size=1, max_size=4)


@given(st.dictionaries(ids, ids))
def test_invert_twice_is_the_same(table):
    groups = invert(table)
    assert {key: value for value, keys in groups.items() for key in keys} == table
    assert list(groups) == sorted(groups, key=str.encode)
    assert all(keys == sorted(keys, key=str.encode) for keys in groups.values())


def test_references(data):
    assert references(data) == {"cat": ["ann-1", "bob-1"], "dog": ["ann-2", "bob-2"]}
    write_table(data / "images.scp", {"cat": "x"})
    with pytest.raises(UserError, match="ann-2 describes dog"):
        references(data)


def test_whole_directory_is_valid(data):
    found = check_data_dir(data)
    assert (found.utterances, found.images, found.speakers, found.warnings) == (4, 2, 2, [])
    assert (data / "spk2utt").read_text() == "ann ann-1 ann-2\nbob bob-1 bob-2\n"


def test_text_is_not_opened_without_being_asked_for(data):
    (data / "text").write_bytes(b"\xff\xfe nonsense")
    with pytest.raises(UserError, match="not UTF-8"):
        check_data_dir(data)
    check_data_dir(data, Demands(text=False))


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def fault(data: Path) -> None:
        text = (data / name).read_text()
        assert old in text
        (data / name).write_text(text.replace(old, new, 1))

    return fault


def remove(name: str) -> Callable[[Path], None]:
    return lambda data: (data / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda data: (data / name).write_text(text)


FAULTS = {
    "no utt2spk": (remove("utt2spk"), "utt2spk: no such file"),
    "no spk2utt": (remove("spk2utt"), "spk2utt: no such file .*fix_data_dir"),
    "no text": (remove("text"), "text: no such file .*--no-text"),
    "no feats": (remove("feats.scp"), "feats.scp: no such file .*--no-feats"),
    "no wav.scp": (remove("wav.scp"), "wav.scp: no such file .*--no-wav"),
    "no images": (remove("images.scp"), "images.scp: no such file .*--no-images"),
    "no utt2image": (remove("utt2image"), "utt2image: no such file"),
    "empty table": (write("wav.scp", ""), "wav.scp: is empty"),
    "unsorted": (change("text", "ann-1 a cat\nann-2 a dog\n", "ann-2 a dog\nann-1 a cat\n"), "text:2: ann-1 comes"),
    "twice": (change("text", "ann-2", "ann-1"), "text:2: ann-1 appears twice"),
    "missing line": (change("text", "ann-2 a dog\n", ""), "utt2spk:2: ann-2 is not in text"),
    "other id": (change("feats.scp", "bob-2", "bob-3"), "feats.scp:4: bob-3 is not in utt2spk"),
    "empty line": (change("text", "ann-2 a dog\n", "\n"), "text:2: empty line"),
    "missing column": (change("utt2image", "ann-2 dog", "ann-2"), "utt2image:2: ann-2 has no value"),
    "three columns": (change("utt2spk", "ann-2 ann", "ann-2 ann x"), "utt2spk:2: ann-2: expected 'utterance-id"),
    "path as id": (change("text", "bob-2", "../bob"), "text:4: '../bob' cannot be an id"),
    "shell in id": (change("text", "bob-2", "bob;rm"), "text:4: 'bob;rm' cannot be an id"),
    "Windows lines": (write("utt2dur", "ann-1 1\r\nann-2 1\r\nbob-1 1\r\nbob-2 1\r\n"), "utt2dur:1: Windows line ends"),
    "no last line end": (change("text", "the dog\n", "the dog"), "text:4: the last line has no line end"),
    "language model symbol": (change("text", "a dog", "a </s>"), "text:2: ann-2: </s> is a symbol"),
    "odd space": (change("text", "a dog", "a\u00a0dog"), r"text:2: ann-2: holds the space U\+00A0"),
    "control character": (change("text", "a dog", "a\adog"), r"text:2: ann-2: holds the control character U\+0007"),
    "unknown image": (change("utt2image", "ann-2 dog", "ann-2 cow"), "utt2image:2: ann-2 describes cow"),
    "image without caption": (change("utt2image", "ann-2 dog\nbob-1 cat\nbob-2 dog", "ann-2 cat\nbob-1 cat\nbob-2 cat"),
                              "images.scp:2: no utterance describes dog"),
    "speakers disagree": (change("spk2utt", "ann ann-1 ann-2", "ann ann-2"), "spk2utt:1: ann: not what utt2spk says"),
    "speaker missing": (change("spk2utt", "bob bob-1 bob-2\n", ""), "utt2spk:3: bob-1 of bob is not in spk2utt"),
    "missing wav": (change("wav.scp", "bob-1.file", "nowhere.wav"), "wav.scp:3: bob-1: no such file: .*nowhere.wav"),
    "home in path": (change("wav.scp", "bob-1 ", "bob-1 ~"), "wav.scp:3: bob-1: write the path without ~"),
    "pipe": (change("wav.scp", "bob-1.file", "x |"), "wav.scp:3: bob-1: a command, not a file.*--allow-pipes"),
    "archive cut": (lambda d: (d / "feats.scp.ark").write_bytes(b"ann-1 "), "feats.scp:1: ann-1: .* ends before 6"),
    "archive gone": (remove("image_feats.scp.ark"), "image_feats.scp:1: cat: no such file"),
    "units and durations": (change("unit_durations", "1 5 2", "1 5"), "units:1: ann-1 has another number of units"),
    "units not collapsed": (change("units", "1 2 1", "1 1 2"), "units:1: ann-1 repeats a unit"),
    "duration nought": (change("unit_durations", "1 5 2", "1 0 2"), "unit_durations:1: ann-1: expected whole numbers"),
    "no duration": (change("utt2dur", "1.25", "0"), "utt2dur:1: ann-1: expected a number of seconds above 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named_with_file_and_line(data, name):
    fault, message = FAULTS[name]
    fault(data)
    with pytest.raises(UserError, match=message):
        check_data_dir(data)


def test_an_empty_wav_and_several_problems_are_shown_together(data, tmp_path):
    (tmp_path / "bob-1.file").write_bytes(b"")
    change("units", "1 2 1", "1 1 2")(data)
    with pytest.raises(UserError, match=r"2 problems:\n.*wav.scp:3: bob-1: empty file.*\n.*units:1"):
        check_data_dir(data)


def test_what_options_make_needless(data):
    for name in ("feats.scp", "wav.scp", "images.scp", "utt2image", "image_feats.scp"):
        (data / name).unlink()
    check_data_dir(data, Demands(feats=False, wav=False, images=False))
    change("text", "a dog", "a\adog")(data)
    check_data_dir(data, Demands(feats=False, wav=False, images=False, printable=False))


def test_caption_without_words_is_a_warning(data):
    change("text", "ann-2 a dog", "ann-2")(data)
    assert "text:2: ann-2: no words" in check_data_dir(data).warnings[0]


def test_segments(data):
    for name in ("feats.scp", "utt2dur"):
        (data / name).unlink()
    wav = str(data / "text")
    write_table(data / "wav.scp", {"tape": wav})
    write_table(data / "segments", {u: f"tape {i} {i + 1}" for i, u in enumerate(read_table(data / "utt2spk"))})
    check_data_dir(data, Demands(feats=False))
    change("segments", "tape 1 2", "tape 2 1")(data)
    with pytest.raises(UserError, match="segments:2: ann-2: expected"):
        check_data_dir(data, Demands(feats=False))


def test_filtering_keeps_tables_together(data):
    assert filter_data_dir(data, {"ann-1", "bob-1", "bob-2"}, {"cat"}) == (2, 1)
    check_data_dir(data)
    assert list(read_table(data / "units")) == ["ann-1", "bob-1"]
    assert (data / "spk2utt").read_text() == "ann ann-1\nbob bob-1\n"
    assert list(read_table(data / "image_feats.scp")) == ["cat"]
    before = {f: f.read_bytes() for f in data.iterdir()}
    assert filter_data_dir(data, {"ann-1", "bob-1", "bob-2"}, {"cat"}) == (2, 1)
    assert {f: f.read_bytes() for f in data.iterdir()} == before


def test_filtering_stopped_in_the_middle_is_finished_by_the_same_call(data, tmp_path):
    whole = shutil.copytree(data, tmp_path / "whole")
    filter_data_dir(whole, images={"dog"})
    for name in ("utt2spk", "utt2image", "images.scp"):  # as a kill would leave them
        stopped = shutil.copytree(data, tmp_path / name)
        shutil.copy(whole / name, stopped / name)
        filter_data_dir(stopped, images={"dog"})
        check_data_dir(stopped)
        assert (stopped / "text").read_bytes() == (whole / "text").read_bytes()


def test_filtering_everything_away_is_refused_and_changes_nothing(data):
    before = {f: f.read_bytes() for f in data.iterdir()}
    with pytest.raises(UserError, match="no utterance would be left"):
        filter_data_dir(data, images={"cow"})
    assert {f: f.read_bytes() for f in data.iterdir()} == before


def test_fix_sorts_and_keeps_what_all_tables_hold(data):
    lines = (data / "text").read_text().splitlines(keepends=True)
    (data / "text").write_text("".join(reversed(lines[1:])))
    (data / "spk2utt").unlink()
    change("utt2image", "bob-1 cat\n", "")(data)
    done = run(ROOT / "utils" / "fix_data_dir.sh", data)
    assert "kept 2 of 4 utterances, 1 images" in done.stderr
    done = run(ROOT / "utils" / "validate_data_dir.sh", data)
    assert "2 utterances, 1 images, 2 speakers" in done.stderr


def test_validator_command(data):
    run(ROOT / "utils" / "validate_data_dir.sh", data)
    (data / "text").unlink()
    done = run(ROOT / "utils" / "validate_data_dir.sh", data, check=False)
    assert done.returncode == 1 and "--no-text" in done.stderr and "Traceback" not in done.stderr
    run(ROOT / "utils" / "validate_data_dir.sh", "--no-text", data)
