"""ABX of discrete units: the distance, the averages, lists of phones in context, the column of the table of units."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2s.corpus.ctm import SILENCE, Interval, write_ctm
from i2s.corpus.items import HEADER, Item, make_items, read_items, write_items
from i2s.corpus.tables import write_int_table, write_table
from i2s.errors import UserError
from i2s.modeldir import save_manifest
from i2s.score.sequences import Sequences, warped
from i2s.units.abx import abx_errors, cut, grouped
from i2s.units.runs import collapse
from i2s.units.stats import unit_stats

from .conftest import ROOT, run

SHIFT = 0.01
tokens = st.lists(st.integers(0, 2), min_size=1, max_size=5)


def distance(x: list[int], y: list[int]) -> float:
    """Over all paths: the fewest steps at unlike units, and the shortest of such paths."""

    def paths(i: int, j: int) -> list[tuple[int, int]]:
        unlike = int(x[i] != y[j])
        if i == j == 0:
            return [(unlike, 1)]
        before = [(i - di, j - dj) for di, dj in ((1, 0), (0, 1), (1, 1)) if i >= di and j >= dj]
        return [(unlike + met, 1 + steps) for cell in before for met, steps in paths(*cell)]

    met, steps = min(paths(len(x) - 1, len(y) - 1))
    return met / steps


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=8))
def test_warping_equals_brute_force(pairs: list[tuple[list[int], list[int]]]) -> None:
    sides = [Sequences(np.concatenate(side), np.cumsum([len(x) for x in side])) for side in zip(*pairs, strict=True)]
    both = np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    assert warped(*sides, both).tolist() == [distance(x, y) for x, y in pairs]


# --- the error ------------------------------------------------------------------------------------------------------


def corpus(said: list[tuple[str, str, str, list[int]]]) -> tuple[list[Item], dict, dict]:
    """Of (context, speaker, phone, frames): a list in which each token is the middle of an utterance of its own."""
    items, units, durations = [], {}, {}
    for i, (context, speaker, phone, frames) in enumerate(said):
        items.append(Item(f"u{i}", 2 * SHIFT, (2 + len(frames)) * SHIFT, phone, *context, speaker))
        units[f"u{i}"], durations[f"u{i}"] = collapse([99, 99, *frames, 98])
    return items, units, durations


def errors_by_hand(said: list[tuple[str, str, str, list[int]]], across: bool) -> float:
    """A triplet at a time, averaged as the module says."""
    triplets = defaultdict(list)
    for (ca, sa, pa, a), (cb, sb, pb, b), (cx, sx, px, x) in itertools.permutations(said, 3):
        if ca == cb == cx and sa == sb and (sx != sa) == across and pa == px != pb:
            near, far = distance(a, x), distance(b, x)
            triplets[(pa, pb), sa, (ca, sx)].append(1.0 if near > far else 0.5 if near == far else 0.0)
    levels: dict = {key: fmean(errors) for key, errors in triplets.items()}
    for _ in range(3):
        above = defaultdict(list)
        for key, error in levels.items():
            above[key[:-1]].append(error)
        levels = {key: fmean(errors) for key, errors in above.items()}
    return levels[()]


@pytest.mark.parametrize("seed", range(3))
def test_errors_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = [
        (str(rng.choice(["ab", "cd"])), str(rng.choice(["s", "t", "v"])), str(phone), rng.integers(0, 3, n).tolist())
        for phone, n in zip(rng.choice(["p", "q", "r"], 40), rng.integers(1, 5, 40), strict=True)
    ]
    found = abx_errors(*corpus(said), SHIFT, most=40)
    assert found == {mode: pytest.approx(errors_by_hand(said, mode == "across")) for mode in ("within", "across")}
    assert 0.2 < found["within"] < 0.8


def test_cases_with_known_errors() -> None:
    def within(*said: tuple[str, list[int]]) -> float:
        found = abx_errors(*corpus([("ab", "s", phone, frames) for phone, frames in said]), SHIFT)
        assert found.keys() == {"within"}  # one speaker
        return found["within"]

    assert within(("p", [1]), ("p", [1, 1, 1]), ("q", [2, 2]), ("q", [2])) == 0
    assert within(("p", [1]), ("p", [1, 1, 1]), ("q", [1, 1]), ("q", [1])) == 0.5
    assert within(("p", [1]), ("p", [2]), ("q", [1]), ("q", [2])) == 0.75  # X is like one B, and A never is
    # X = 1: A is 2, B is 1, an error; X = 2: both are 1, half of one. q has one token, and so no pair of A and X.
    assert within(("p", [1]), ("p", [2]), ("q", [1])) == 0.75


def test_contexts_count_alike_whatever_they_hold() -> None:
    said = [("ab", "s", "p", [1])] * 6 + [("ab", "s", "q", [2])] * 5  # no error
    said += [("cd", "s", "p", [1])] * 2 + [("cd", "s", "q", [1])] * 2  # half of all
    said += [("ef", "s", "p", [1])] * 3  # nothing to tell it from
    assert abx_errors(*corpus(said), SHIFT) == {"within": 0.25}


def test_a_speaker_is_told_from_oneself_and_from_others() -> None:
    said = [("ab", s, p, [u]) for s, units in (("s", (1, 2)), ("t", (2, 1))) for p, u in zip("pq", units, strict=True)]
    assert abx_errors(*corpus(said * 2), SHIFT) == {"within": 0.0, "across": 1.0}
    assert abx_errors(*corpus(said), SHIFT) == {"across": 1.0}  # no phone is said twice by one speaker


def test_tokens_have_the_frames_whose_middle_lies_in_them(caplog: pytest.LogCaptureFixture) -> None:
    times = [(0.005, 0.025), (0.006, 0.026), (0.011, 0.014), (0.02, 0.9), (0.9, 1.0)]
    items = [Item("u", *time, "p", "a", "b", "s") for time in times]
    sequences = cut(items, {"u": [4, 5, 6]}, {"u": [1, 1, 1]}, SHIFT)
    found = np.split(sequences.tokens, sequences.ends[:-1])
    assert [x.tolist() for x in found] == [[4, 5], [5, 6], [], [6], []]
    with caplog.at_level(logging.WARNING):
        groups = grouped(items, sequences, 10, np.random.default_rng(0))
    assert groups["a", "b"]["s"]["p"].tolist() == [0, 1, 3]
    assert "2 of the 5 tokens of the ABX list hold no frame" in caplog.text


def test_large_cells_are_drawn_from_alike_for_all_units() -> None:
    rng = np.random.default_rng(0)
    said = [("ab", "s", p, rng.integers(0, 2, 3).tolist()) for p in ["p"] * 30 + ["q"] * 4]
    items, units, durations = corpus(said)
    sequences = cut(items, units, durations, SHIFT)
    drawn = grouped(items, sequences, 5, np.random.default_rng(0))["a", "b"]["s"]
    assert len(set(drawn["p"].tolist())) == 5 and drawn["p"].max() < 30
    assert drawn["q"].tolist() == [30, 31, 32, 33]
    chosen = sorted([*drawn["p"], *drawn["q"]])
    alone = abx_errors([items[i] for i in chosen], units, durations, SHIFT)
    assert abx_errors(items, units, durations, SHIFT, most=5) == alone
    assert alone != abx_errors(items, units, durations, SHIFT, most=30)


def test_what_cannot_be_measured() -> None:
    items, units, durations = corpus([("ab", "s", "p", [1]), ("ab", "s", "p", [1]), ("cd", "s", "q", [1])])
    with pytest.raises(UserError, match="no two phones in one context"):
        abx_errors(items, units, durations, SHIFT)
    del units["u1"]
    with pytest.raises(UserError, match="1 utterances of the ABX list have no units, such as u1"):
        abx_errors(items, units, durations, SHIFT)


# --- lists ----------------------------------------------------------------------------------------------------------


def test_lists_are_read_as_written_and_as_others_write_them(tmp_path: Path) -> None:
    items = [Item("u-1", 0.1, 0.25, "ɔ̃", SILENCE, "IH", "s"), Item("v", 0.0, 1.5, "L", "IH", "NG", "6295")]
    write_items(tmp_path / "x.item", items)
    assert (tmp_path / "x.item").read_text().splitlines()[:2] == [HEADER, "u-1 0.1000 0.2500 ɔ̃ SIL IH s"]
    assert read_items(tmp_path / "x.item") == items
    header = "#file_ID\tOnset offset phone prev_phone next_phone Speaker"
    (tmp_path / "x.item").write_text(f"{header}\nv\t0 1.5 L IH NG 6295")
    assert read_items(tmp_path / "x.item") == items[1:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: expected the header '#file onset offset #phone"),
        ("u 0 1 p a b s\n", ":1: expected the header"),
        ("#file onset offset #phone speaker\n", ":1: expected the header"),
        ("#file onset offset #phone speaker prev-phone next-phone\n", ":1: expected the header"),
        (f"{HEADER}\n", ": holds no line"),
        (f"{HEADER}\nu 0 1 p a b s\nu 0 1 p a b\n", ":3: expected .* got 'u 0 1 p a b'"),
        (f"{HEADER}\nu 0 1 p a b s t\n", ":2: expected"),
        (f"{HEADER}\nu 0 1 p a b s\n\n", ":3: expected"),
        (f"{HEADER}\nu zero 1 p a b s\n", ":2: expected"),
        (f"{HEADER}\nu 1 0.5 p a b s\n", ":2: expected"),
        (f"{HEADER}\nu -1 0.5 p a b s\n", ":2: expected"),
        (f"{HEADER}\nu 0 nan p a b s\n", ":2: expected"),
        (f"{HEADER}\nu 0 inf p a b s\n", ":2: expected"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.item"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}{message}"):
        read_items(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_items(tmp_path / "nowhere.item")


def row(*symbols: str) -> list[Interval]:
    """Symbols of a tenth of a second each; a gap for an empty one."""
    return [Interval(s, i / 10, (i + 1) / 10) for i, s in enumerate(symbols) if s]


def test_a_list_of_an_alignment() -> None:
    said = {"u": row("SIL", "D", "AO", "G", "SIL"), "v": row("D", "AO", "SIL", "G", "Z", "T", "", "S"), "w": row("SIL")}
    speakers = {"u": "s", "v": "t", "w": "t"}

    def contexts(extent: str) -> list[tuple]:
        made = make_items(said, speakers, extent)  # type: ignore[arg-type]
        return [(*i[:1], round(i.onset, 3), round(i.offset, 3), *i[3:]) for i in made]

    assert contexts("triphone") == [
        ("u", 0.1, 0.3, "D", "SIL", "AO", "s"),
        ("u", 0.1, 0.4, "AO", "D", "G", "s"),
        ("u", 0.2, 0.4, "G", "AO", "SIL", "s"),
        ("v", 0.0, 0.2, "D", "SIL", "AO", "t"),
        ("v", 0.3, 0.6, "Z", "G", "T", "t"),  # its neighbours are beside a pause
    ]
    assert [i[1:4] for i in contexts("phone")] == [
        (0.1, 0.2, "D"),
        (0.2, 0.3, "AO"),
        (0.3, 0.4, "G"),
        (0.0, 0.1, "D"),
        (0.4, 0.5, "Z"),
    ]
    with pytest.raises(UserError, match="u is aligned, but has no speaker"):
        make_items(said, {}, "phone")


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A data directory without text, an alignment, and two inventories: its phones, and one unit for all."""
    rng = np.random.default_rng(0)
    # No phone twice in a row: warped, A A B is no other than A B B.
    said = {f"u{i}": row(*(f"P{p % 3}" for p in rng.integers(1, 3, 30).cumsum())) for i in range(8)}
    frames = {u: [int(i.symbol[1]) for i in intervals for _ in range(10)] for u, intervals in said.items()}
    write_ctm(tmp_path / "alignment.ctm", said)
    write_table(tmp_path / "data/test/utt2spk", {u: f"s{int(u[1:]) % 2}" for u in said})
    for name, encoded in (("phones", frames), ("one", {u: [0] * len(x) for u, x in frames.items()})):
        units, durations = ({u: collapse(x)[part] for u, x in encoded.items()} for part in (0, 1))
        write_int_table(tmp_path / name / "test/units", units)
        write_int_table(tmp_path / name / "test/unit_durations", durations)
        stats = {"test": unit_stats(units, durations, 3, SHIFT)}
        (tmp_path / name / "stats.json").write_text(json.dumps(stats))
        save_manifest(tmp_path / name, {"kind": "units", "method": "kmeans", "frame_shift": SHIFT})
    return tmp_path


def compare(recipe: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess:
    command = [ROOT / "utils/compare_units.sh", *options, "data/test", "phones", "one"]
    return run(*command, cwd=recipe, check=check)


def test_units_are_compared_on_a_list(recipe: Path) -> None:
    made = run(ROOT / "utils/abx_items.sh", "data/test", "alignment.ctm", "test.item", cwd=recipe)
    assert "240 items, 3 phones in 15 contexts" in made.stderr  # SIL at either end; never at both
    lines = compare(recipe, "--abx", "test.item").stdout.splitlines()
    table = [[cell.strip() for cell in line.split("|")] for line in lines]
    phones, one = (dict(zip(table[0], cells, strict=True)) for cells in table[2:])
    assert [phones[f"ABX {mode}"] for mode in ("within", "across")] == ["0.0", "0.0"]
    assert [one[f"ABX {mode}"] for mode in ("within", "across")] == ["50.0", "50.0"]
    write_table(recipe / "data/test/utt2spk", {f"u{i}": "s" for i in range(8)})
    run(ROOT / "utils/abx_items.sh", "--extent", "phone", "data/test", "alignment.ctm", "test.item", cwd=recipe)
    alone = compare(recipe, "--abx", "test.item").stdout
    assert "ABX within" in alone and "ABX across" not in alone
    assert "ABX" not in compare(recipe).stdout


def test_commands_refuse_what_they_cannot_measure(recipe: Path) -> None:
    (recipe / "test.item").write_text(f"{HEADER}\nu0 0 1 p a b s\nw 0 1 p a b s\n")
    for options, message in (
        (("--abx", "test.item"), "phones/test: 1 utterances of the ABX list have no units, such as w"),
        (("--abx", "alignment.ctm"), "alignment.ctm:1: expected the header"),
        (("--abx", "test.item", "--abx-cell", "1"), "--abx-cell must be at least 2"),
    ):
        done = compare(recipe, *options, check=False)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    write_ctm(recipe / "silence.ctm", {"u0": row(SILENCE)})
    done = run(ROOT / "utils/abx_items.sh", "data/test", "silence.ctm", "new.item", cwd=recipe, check=False)
    assert done.returncode == 1 and "holds no phone" in done.stderr and not (recipe / "new.item").exists()
