"""The stand-alone scoring command: plain files of any system, comparisons of two, RESULTS.md of a run."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from i2s.audio import write_wav
from i2s.corpus.tables import write_table
from i2s.errors import UserError
from i2s.score.captions import DocumentFrequencies, References, bleu, caption_measures, cider, read_frequencies
from i2s.score.compare import compare
from i2s.score.diversity import diversity, mbleu, self_bleu
from i2s.score.inputs import Files, read_files
from i2s.score.java import find_java
from i2s.score.meteor import Meteor
from i2s.score.results import load_statistics
from i2s.score.text import Tokeniser
from tests.test_score import captions, needs_java

ROOT = Path(__file__).resolve().parent.parent


def score(*arguments: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [str(ROOT / "utils/score.sh"), *map(str, arguments)]
    env = {**os.environ, "PATH": path, "I2S_VENV": "none"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, **kwargs)  # type: ignore[call-overload]


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[list[list[str]], list[str]]:
    """Three references an image in one file, several lines an id; hypotheses; training and dev captions."""
    references, said = captions(40, 3, 1), [refs[0] for refs in captions(40, 1, 2)]
    said[3] = ""
    lines = [f"i{i:02} {ref}\n" for i, refs in enumerate(references) for ref in refs]
    (tmp_path / "ref").write_text("".join(lines))
    write_table(tmp_path / "hyp", {f"i{i:02}": text for i, text in enumerate(said)})
    for name, seed in (("train", 3), ("dev", 4)):
        lines = [f"{name}{i:02} {ref}\n" for i, refs in enumerate(captions(30, 3, seed)) for ref in refs]
        (tmp_path / name).write_text("".join(lines))
    return references, said


def test_plain_files_with_floors_and_places(tmp_path: Path, corpus: tuple[list[list[str]], list[str]]) -> None:
    references, said = corpus
    options = ["--meteor", "false", "--train", tmp_path / "train", "--dev", tmp_path / "dev"]
    done = score(*options, tmp_path / "hyp", tmp_path / "ref")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "hyp.scores/results.json").read_text())
    rows = {row["key"]: row for row in results["captions"]["rows"]}
    assert list(rows) == ["random", "constant", "system", "system_as_ceilings", "floor_as_ceilings", "reference"]
    for name, measure in caption_measures(said, references).items():
        assert rows["system"]["scores"][name]["value"] == pytest.approx(measure.value, abs=1e-4)
    assert [p["ceiling"] for p in results["captions"]["places"]] == ["reference"]
    assert "nothing is said in 1 of 40" in done.stdout and "Read back by" not in done.stdout
    assert "idf from the references of these 40 images" in done.stdout
    assert done.stdout == (tmp_path / "hyp.scores/results.md").read_text()


def test_references_in_several_files_and_by_a_map(tmp_path: Path, corpus: tuple[list[list[str]], list[str]]) -> None:
    references, _ = corpus
    expected, _ = read_files(Files(tmp_path / "hyp", (tmp_path / "ref",)))
    for k in range(3):
        write_table(tmp_path / f"ref{k}", {f"i{i:02}": refs[k] for i, refs in enumerate(references)})
    several, _ = read_files(Files(tmp_path / "hyp", tuple(tmp_path / f"ref{k}" for k in range(3))))
    rows = {f"u{i:02}-{k}": (f"i{i:02}", ref) for i, refs in enumerate(references) for k, ref in enumerate(refs)}
    write_table(tmp_path / "text", {u: ref for u, (_, ref) in rows.items()})
    write_table(tmp_path / "map", {u: image for u, (image, _) in rows.items()})
    mapped, _ = read_files(Files(tmp_path / "hyp", (tmp_path / "text",), utt2image=(tmp_path / "map",)))
    for inputs in (several, mapped):
        assert inputs.system == expected.system
        texts = [sorted(of_image.values()) for of_image in inputs.references.values()]
        assert texts == [sorted(of_image.values()) for of_image in expected.references.values()]


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ("a x\nb y\n", "a x\n", "has 1 ids (b) that the references lack"),
        ("a x\n", "a x\nb y\n", "lacks 1 ids (b) that the references have"),
        ("a x\na y\n", "a x\n", "a appears twice"),
        ("a x\n", "a ...\n", "1 ids (a) without any word"),
        ("a x\n", "", "holds no references"),
        ("a x\n\n", "a x\n", "empty line"),
    ],
)
def test_bad_files_are_clear_errors(tmp_path: Path, hypotheses: str, references: str, message: str) -> None:
    (tmp_path / "hyp").write_text(hypotheses)
    (tmp_path / "ref").write_text(references)
    with pytest.raises(UserError) as error:
        read_files(Files(tmp_path / "hyp", (tmp_path / "ref",)))
    assert message in str(error.value)


def test_an_error_of_the_command_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "hyp").write_text("a x\n")
    done = score(tmp_path / "hyp", tmp_path / "none")
    assert done.returncode == 1 and "no such file" in done.stderr and "Traceback" not in done.stderr
    assert score("--nonsense", "1", tmp_path / "hyp", tmp_path / "none").returncode == 2
    assert "Usage: utils/score.sh" in score("--help").stdout


def test_a_language_without_spaces_is_scored_by_characters(tmp_path: Path) -> None:
    (tmp_path / "hyp").write_text("a 一只狗在跑\nb 两 个人\n")
    (tmp_path / "ref").write_text("a 一只黑狗在跑。\na 狗跑\nb 两个人坐着\n")
    done = score(tmp_path / "hyp", tmp_path / "ref")
    assert done.returncode == 0, done.stderr
    assert "every character of a script that is written without spaces" in done.stdout
    assert "METEOR left out: it is for English" in done.stdout
    results = json.loads((tmp_path / "hyp.scores/results.json").read_text())
    value = next(row for row in results["captions"]["rows"] if row["key"] == "system")["scores"]["BLEU-1"]["value"]
    expected = bleu(["一 只 狗 在 跑", "两 个 人"], [["一 只 黑 狗 在 跑", "狗 跑"], ["两 个 人 坐 着"]])[
        "BLEU-1"
    ].value
    assert value == pytest.approx(expected, abs=1e-3)


def test_a_hundred_thousand_utterances(tmp_path: Path) -> None:
    """A corpus a hundred times over has the scores of one, within 4 GiB of address space."""
    references, said = captions(1000, 2, 5), [refs[0] for refs in captions(1000, 1, 6)]
    with (tmp_path / "hyp").open("w") as hyp, (tmp_path / "ref").open("w") as ref:
        for i in range(100_000):
            hyp.write(f"i{i:06} {said[i % 1000]}\n")
            ref.writelines(f"i{i:06} {text}\n" for text in references[i % 1000])

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    done = score("--meteor", "false", tmp_path / "hyp", tmp_path / "ref", preexec_fn=bounded, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads((tmp_path / "hyp.scores/results.json").read_text())
    system = next(row for row in results["captions"]["rows"] if row["key"] == "system")["scores"]
    # n-grams are as rare in the corpus as in one hundredth of it, but idf counts images: log(N / df) is the same.
    for name, measure in caption_measures(said, references).items():
        assert system[name]["value"] == pytest.approx(measure.value, abs=1e-3), name
        assert system[name]["high"] - system[name]["low"] < 2


def test_a_folder_of_wavs_is_read_back_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_wav(tmp_path / "wavs" / f"{name}.wav", 0.01 * rng.standard_normal(8000), 16000)
    (tmp_path / "ref").write_text("a a dog runs\nb two men sit\n")
    done = score("--meteor", "false", "--nj", "1", "--out", tmp_path / "out", tmp_path / "wavs", tmp_path / "ref")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/transcripts/pocketsphinx").is_file()
    assert "Read back by pocketsphinx (with no caption language model)" in done.stdout


# --- measures -------------------------------------------------------------------------------------------------------


def test_references_known_before_give_the_same_scores() -> None:
    texts = captions(30, 4, 1)
    known = References(texts)
    for seed in (2, 3):
        said = [f"{refs[0]} unseen{i}" for i, refs in enumerate(captions(30, 1, seed))]
        for name, measure in caption_measures(said, known).items():
            assert measure.value == pytest.approx(caption_measures(said, texts)[name].value, abs=1e-12)


def test_a_reference_without_words_is_named(tmp_path: Path, corpus: tuple[list[list[str]], list[str]]) -> None:
    with (tmp_path / "ref").open("a") as file:
        file.write("i00 \n")
    for tokens in ("auto", "words"):
        done = score("--tokens", tokens, "--meteor", "false", tmp_path / "hyp", tmp_path / "ref")
        assert done.returncode == 1 and "ref:121" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_cider_with_given_document_frequencies(tmp_path: Path) -> None:
    references, said = captions(25, 3, 1), [refs[0] for refs in captions(25, 1, 2)]
    (tmp_path / "ref").write_text("".join(f"{i} {ref.upper()}.\n" for i, refs in enumerate(references) for ref in refs))
    done = score("frequencies", tmp_path / "ref", tmp_path / "df")
    assert done.returncode == 0 and done.stdout.endswith("n-grams of 25 images\n"), done.stderr
    given = read_frequencies(tmp_path / "df")
    word = references[0][0].split()[0]
    assert given.counts[word] == sum(any(word in ref.split() for ref in refs) for refs in references)
    own = cider(said, references).value
    assert cider(said, References(references, frequencies=given)).value == pytest.approx(own, abs=1e-9)
    other = DocumentFrequencies(1000, {"a": 900})
    assert cider(said, References(references, frequencies=other)).value != pytest.approx(own, abs=0.1)
    (tmp_path / "df").write_text("2\n3 a dog\n")
    with pytest.raises(UserError, match="more than the 2 documents"):
        read_frequencies(tmp_path / "df")


@needs_java
def test_meteor_counts_are_kept_by_content(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Meteor(cache=cache) as meteor:
        first = meteor.measure(["a dog runs"], [["the dog is running", "a cat"]])
        assert meteor.pid is not None
    with Meteor(cache=cache) as meteor:
        again = meteor.measure(["a dog runs"], [["the dog is running", "a cat"]])
        assert meteor.pid is None  # no Java needed
        np.testing.assert_array_equal(first.stats, again.stats)
        assert meteor.measure(["a dog ran"], [["the dog is running", "a cat"]]).value > 0
        assert meteor.pid is not None


@needs_java
@pytest.mark.skipif(not os.environ.get("I2S_TEST_FLICKR8K"), reason="I2S_TEST_FLICKR8K names no Flickr8k.token.txt")
def test_flickr8k_scores_equal_pycocoevalcap() -> None:
    """One human against the other four, on the 1,000 test images: I2S_TEST_FLICKR8K is the folder of the text files."""
    folder = Path(os.environ["I2S_TEST_FLICKR8K"])
    images = set((folder / "Flickr_8k.testImages.txt").read_text().split())
    found: dict[str, list[str]] = {image: [] for image in sorted(images)}
    for line in (folder / "Flickr8k.token.txt").read_text().splitlines():
        key, _, text = line.partition("\t")
        if (image := key.partition("#")[0]) in found:
            found[image].append(" ".join(text.lower().replace(".", "").split()))
    equal_pycocoevalcap([refs[0] for refs in found.values()], [refs[1:] for refs in found.values()])


@needs_java
@pytest.mark.skipif(not os.environ.get("I2S_TEST_COCO"), reason="I2S_TEST_COCO names no captions_val2014.json")
def test_pycocoevalcaps_own_example_has_the_same_scores() -> None:
    """I2S_TEST_COCO is the folder example/ of pycocoevalcap's repository, whose captions are not in its package."""
    folder = Path(os.environ["I2S_TEST_COCO"])
    said = json.loads((folder / "captions_val2014_fakecap_results.json").read_text())
    references: dict[int, list[str]] = {row["image_id"]: [] for row in said}
    for row in json.loads((folder / "captions_val2014.json").read_text())["annotations"]:
        if row["image_id"] in references:
            references[row["image_id"]].append(row["caption"])
    tokenise = Tokeniser("ptb")
    tokens = iter(tokenise([text for texts in references.values() for text in texts]))
    equal_pycocoevalcap(
        tokenise([row["caption"] for row in said]), [[next(tokens) for _ in texts] for texts in references.values()]
    )


def equal_pycocoevalcap(hypotheses: list[str], references: list[list[str]]) -> None:
    """Assert that all scores of tokenised captions are those of pycocoevalcap's classes, METEOR's to 1e-4."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor as Theirs
    from pycocoevalcap.rouge.rouge import Rouge

    gts, res = dict(enumerate(references)), {i: [said] for i, said in enumerate(hypotheses)}
    java = find_java()
    assert java is not None
    os.environ["PATH"] = f"{Path(java).parent}:{os.environ['PATH']}"
    with Meteor() as meteor:
        ours = caption_measures(hypotheses, references, meteor)
    expected = {f"BLEU-{n + 1}": value for n, value in enumerate(Bleu(4).compute_score(gts, res)[0])}
    expected |= {"ROUGE-L": Rouge().compute_score(gts, res)[0], "CIDEr": Cider().compute_score(gts, res)[0]}
    for name, value in expected.items():
        assert ours[name].value / 100 == pytest.approx(value, abs=1e-6)
    theirs = Theirs()
    assert ours["METEOR"].value / 100 == pytest.approx(theirs.compute_score(gts, res)[0], abs=1e-4)
    theirs.meteor_p.kill()


# --- diversity ------------------------------------------------------------------------------------------------------


def test_self_bleu_is_bleu_against_all_others() -> None:
    said = [refs[0] for refs in captions(12, 1, 3)] + ["a", "", "dog dog dog dog dog", "a man a man a man"]
    others = [said[:i] + said[i + 1 :] for i in range(len(said))]
    expected = bleu(said, others)["BLEU-4"]
    np.testing.assert_array_equal(self_bleu(said).stats, expected.stats)


def test_a_system_that_says_the_same_looks_like_that() -> None:
    same = diversity(["a man in a blue shirt"] * 10, {"a man in a blue shirt"})
    assert same == {"captions": 10, "vocabulary": 5, "distinct": 10.0, "copied": 100.0, "self_bleu": 100.0}
    various = diversity(
        ["a red car", "two dogs run", "the boat sails far"], {"a red car"}, [["a b c d", "e f g h"], ["x"]]
    )
    assert various["distinct"] == 100 and various["copied"] == pytest.approx(33.3333) and various["self_bleu"] < 1
    assert various["mbleu"] < 1
    assert mbleu([["a b c d", "a b c d", "a b c d"]]).value == pytest.approx(100, abs=1e-3)


# --- comparison -----------------------------------------------------------------------------------------------------


@pytest.fixture
def scored(tmp_path: Path, corpus: tuple[list[list[str]], list[str]]) -> Path:
    """Two scored systems: `good` says a reference with a few errors, `bad` says hypotheses of other images."""
    references, said = corpus
    rng = random.Random(0)
    good = [" ".join(w for w in refs[1].split() if rng.random() < 0.9) for refs in references]
    write_table(tmp_path / "good", {f"i{i:02}": text for i, text in enumerate(good)})
    write_table(tmp_path / "bad", {f"i{i:02}": text for i, text in enumerate(said)})
    for name in ("good", "bad"):
        done = score("--meteor", "false", "--out", tmp_path / f"{name}.out", tmp_path / name, tmp_path / "ref")
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_two_systems_are_compared_in_pairs(scored: Path, corpus: tuple[list[list[str]], list[str]]) -> None:
    found = compare(scored / "good.out", scored / "bad.out", 2000)
    rows = {(r["row"], r["measure"]): r for r in found["rows"]}
    for measure in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"):
        r = rows["system", measure]
        assert r["difference"] == pytest.approx(r["a"] - r["b"], abs=1e-3)
        assert 0 < r["low"] <= r["difference"] <= r["high"] and r["p"] < 0.01
    assert rows["system", "BLEU-4"]["b"] == pytest.approx(bleu(corpus[1], corpus[0])["BLEU-4"].value, abs=1e-3)
    same = compare(scored / "good.out", scored / "good.out", 100)
    assert all(r["difference"] == 0 and r["p"] == 1 for r in same["rows"])
    done = score("compare", "--resamples", "200", "--json", scored / "c.json", scored / "good.out", scored / "bad.out")
    assert done.returncode == 0, done.stderr
    assert "BLEU-4" in done.stdout and json.loads((scored / "c.json").read_text())["images"] == 40


def test_systems_over_different_units_are_compared_by_their_words(scored: Path, tmp_path: Path) -> None:
    for units, out in (("some", "good.out"), ("others", "bad.out")):
        results = json.loads((scored / out / "results.json").read_text())
        results["settings"]["references"]["units"] = units
        with np.load(scored / out / "statistics.npz") as file:
            arrays = dict(file)
        arrays |= {name.replace("captions/", "units/"): x for name, x in arrays.items()}
        (tmp_path / units).mkdir()
        (tmp_path / units / "results.json").write_text(json.dumps(results))
        np.savez(tmp_path / units / "statistics.npz", **arrays)
    found = compare(tmp_path / "some", tmp_path / "others", 100)
    assert {row["part"] for row in found["rows"]} == {"captions"}
    assert found["notes"] == ["units were scored against different references: left out"]
    same = compare(tmp_path / "some", tmp_path / "some", 100)
    assert {row["part"] for row in same["rows"]} == {"captions", "units"} and not same["notes"]


def test_what_cannot_be_compared_is_refused(scored: Path) -> None:
    (scored / "few").write_text("".join((scored / "ref").read_text().splitlines(True)[:-1]))
    write_table(scored / "short", {"i00": "a dog"})
    (scored / "one").write_text("i00 a dog\n")
    for out, hypotheses, references in (("other", "good", "few"), ("less", "short", "one")):
        options = ["--meteor", "false", "--out", scored / out]
        assert score(*options, scored / hypotheses, scored / references).returncode == 0
    with pytest.raises(UserError, match="different references"):
        compare(scored / "good.out", scored / "other")
    with pytest.raises(UserError, match="different images"):
        compare(scored / "good.out", scored / "less")
    with pytest.raises(UserError, match="score this system first"):
        compare(scored / "good.out", scored / "none")


@pytest.mark.parametrize("fault", ["half", "empty", "no archive", "damaged"])
def test_statistics_that_cannot_be_read_are_named(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "statistics.npz"
    np.savez_compressed(path, images=np.array(["a"]), **{"captions/system/WER": np.ones((1, 2))})
    whole = path.read_bytes()
    held = whole.index(b".npy") + 24  # the first array, compressed
    contents = {"half": whole[: len(whole) // 2], "empty": b"", "damaged": whole[:held] + b"?" * 9 + whole[held + 9 :]}
    path.write_bytes(contents.get(fault, fault.encode()))
    with pytest.raises(UserError, match=f"{path}: cannot be read"):
        load_statistics(path)


# --- RESULTS.md -----------------------------------------------------------------------------------------------------


def test_results_of_a_run_are_written(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from i2s.bin import write_results

    split = scored / "exp/sys/test"
    split.parent.mkdir(parents=True)
    (scored / "good.out").rename(split)
    with pytest.raises(UserError, match="no finished model"):
        write_results.config_hash(split.parent)
    (split.parent / "manifest.json").write_text('{"kind": "system", "i2u": "../i2u", "u2s": "../u2s"}')
    first = write_results.config_hash(split.parent)
    (scored / "exp/i2u").mkdir()
    (scored / "exp/i2u/config.yaml").write_text("layers: 2\n")
    assert write_results.config_hash(split.parent) != first
    lines = [
        "2026-01-01T10:00:00\tabc123\t2\t70\texp/other\texp/units_b\t./run.sh --stage 2 ",
        "2026-01-01T10:05:00\tabc123\t6\t30\texp/first\texp/units_a\t./run.sh --stage 6 ",
        "2026-01-01T10:06:00\tabc123\t6\t300\texp/other\texp/units_b\t./run.sh --units other ",
        "2026-01-01T10:10:00\tabc123\t7\t999\texp/other\texp/units_b\t./run.sh ",
        "2026-01-01T10:20:00\tabc123\t7\t126\texp/sys\texp/units_a\t./run.sh --tag x ",
        "2026-01-01T10:30:00\tdef456\t7\t1\texp/sys\texp/units_a\t./run.sh --tag x ",
    ]
    (scored / "exp/stages.tsv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "argv", ["write_results", "--title", "mine", str(split), str(scored / "RESULTS.md")])
    write_results.main()
    text = (scored / "RESULTS.md").read_text()
    assert text.startswith("# Results: mine\n")
    for part in (
        "Command: `./run.sh --stage 2`, then `./run.sh --stage 6`, then `./run.sh --tag x`",
        "Commit: abc123",
        "| stage | 2 | 6 | 7 | all |",
        "| seconds | 70 | 30 | 126 | 226 |",
        "cores",
    ):
        assert part in text
    assert "## What was heard" in text and "this system" in text
    (scored / "exp/stages.tsv").write_text("what\n")
    with pytest.raises(UserError, match=r"stages.tsv:1"):
        write_results.main()
