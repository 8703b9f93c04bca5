"""The embedded corpus's recipe, whole and tiny: results, killing and resuming, no text, describing photos."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .conftest import ROOT, run, tiny_options

pytestmark = pytest.mark.recipe
SYSTEM = "transformer_fast_griffinlim"
KILLS = int(os.environ.get("I2S_TEST_KILLS", "4"))


def outputs(folder: Path) -> dict[str, bytes]:
    """What stages 6 and 9 made: units, spoken descriptions and re-spoken references."""
    of_stage_10 = {"constant", "noise"}
    wavs = [f for f in folder.glob("exp/**/wav/*.wav") if not of_stage_10 & set(f.parts)]
    files = [*folder.glob("exp/units_*/*/units"), *wavs, *folder.glob("exp/**/test/units")]
    assert len(files) > 10
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def test_run_makes_scores_speech_and_report(tiny_recipe):
    results = json.loads((tiny_recipe / "exp" / SYSTEM / "test" / "results.json").read_text())
    diverse = {row["name"]: row for row in results["diversity"]["rows"]}
    assert 0 <= diverse["this system, units"]["mbleu"] <= 100
    assert (tiny_recipe / "exp" / SYSTEM / "test" / "report" / "index.html").is_file()
    wavs = list((tiny_recipe / "exp" / SYSTEM / "test" / "wav").glob("*.wav"))
    assert len(wavs) == 4


def test_second_run_does_nothing_again(tiny_recipe):
    before = {f: f.stat().st_mtime_ns for f in tiny_recipe.rglob("*") if f.is_file() and f.name != "stages.tsv"}
    done = run(ROOT / "run.sh", *tiny_options(tiny_recipe))
    assert "up to date" in done.stderr
    changed = [f for f, t in before.items() if not f.exists() or f.stat().st_mtime_ns != t]
    assert not changed


def test_units_are_compared_with_phones(tiny_recipe, tmp_path):
    """Where the text is English, or phones are given; other languages go without, and a line says so."""
    units = next(tiny_recipe.glob("exp/units_*"))
    assert 0 < json.loads((units / "phones.json").read_text())["purity"] <= 1
    data, copy = tmp_path / "test", tmp_path / "units"
    shutil.copytree(tiny_recipe / "data" / "test", data)
    relocate(data, tiny_recipe / "data" / "test")
    shutil.copytree(units, copy)
    for old in (*copy.glob("phones.*"), copy / ".phones"):
        old.unlink()
    text = data / "text"
    utterances = [line.split()[0] for line in text.read_text().splitlines()]
    english = text.read_text().splitlines()[0]
    swahili = "".join(f"{utterance} mbwa mdogo anakimbia ufukweni\n" for utterance in utterances[1:])
    for first, said in (
        (f"{utterances[0]} mbwa\n", "no utterance could be aligned"),
        (f"{english}\n", f"only 1 of {len(utterances)} utterances could be aligned"),  # by chance: words are borrowed
    ):
        text.write_text(first + swahili)
        assert said in run(ROOT / "steps" / "unit_phones.sh", data, copy).stderr
        assert not (copy / "phones.json").exists()
    phones = tmp_path / "phones.ctm"
    phones.write_text("".join(f"{utterance} 1 0 0.3 m\n{utterance} 1 0.3 0.3 b\n" for utterance in utterances))
    text.unlink()
    compare = [ROOT / "utils" / "compare_units.sh", "--phones", phones, "--utterances", "3", data, copy]
    assert "kmeans" in run(*compare).stdout
    assert json.loads((copy / "phones.json").read_text())["phones"] == ["SIL", "b", "m"]
    # Other units lack one of these utterances: they are not compared over others.
    assert json.loads((copy / "phones.json").read_text())["utterances"] == 3
    order = sorted(np.random.default_rng(0).permutation(len(utterances))[:3])
    lost = [line.split()[0] for line in (data / "wav.scp").read_text().splitlines()][order[0]]
    for table in (copy / "test" / "units", copy / "test" / "unit_durations"):
        table.write_text("".join(x for x in table.read_text().splitlines(True) if x.split()[0] != lost))
    run(*compare)
    assert json.loads((copy / "phones.json").read_text())["utterances"] == 2


def test_describe_speaks_photos(tiny_recipe, tmp_path):
    photos = sorted((tiny_recipe / "data" / "images").rglob("*.[jp][pn]g"))[:3]
    model = tiny_recipe / "exp" / SYSTEM
    run(ROOT / "utils" / "describe.sh", "--model", model, photos[0], tmp_path / "one.wav", cwd=tmp_path)
    run(ROOT / "utils" / "describe.sh", "--model", model, *photos, tmp_path / "many", cwd=tmp_path)
    assert len(list((tmp_path / "many").glob("*.wav"))) == 3
    one, rate = soundfile.read(tmp_path / "one.wav")
    assert rate == 22050 and len(one) > 0
    many, _ = soundfile.read(tmp_path / "many" / f"{photos[0].stem}.wav")
    assert abs(len(one) - len(many)) == 0


def test_text_is_never_opened_in_stages_4_to_9(tiny_recipe, tmp_path):
    shutil.copytree(tiny_recipe / "data", tmp_path / "data")
    for text in tmp_path.glob("data/**/text*"):
        text.unlink()
    relocate(tmp_path / "data", tiny_recipe / "data")
    run(ROOT / "run.sh", *tiny_options(tmp_path), "--stage", "4", "--stop-stage", "9")
    assert outputs(tmp_path) == outputs(tiny_recipe)


@pytest.mark.parametrize("units", ["pseudo-phones", "phones-l2"])
def test_units_that_need_no_text_are_made_and_spoken_without(tiny_recipe, tmp_path, units):
    shutil.copytree(tiny_recipe / "data", tmp_path / "data")
    for text in tmp_path.glob("data/**/text*"):
        text.write_bytes(b"\xff\xfe")  # no UTF-8: nobody can read it who tries
    (tmp_path / "data" / "dev" / "text").unlink()
    relocate(tmp_path / "data", tiny_recipe / "data")
    other = [*("--units", units, "--u2s", "clustergen", "--u2s-args", "trees=2 duration_trees=2 max_frames=2000")]
    # (--num-units is not of phones, and there may be more phones than pieces.)
    options = [*tiny_options(tmp_path), *other, "--unit-bpe", "0"]
    done = run(ROOT / "run.sh", *options, "--stage", "6", "--stop-stage", "9")
    (system,) = (tmp_path / "exp").glob("transformer_clustergen*")
    assert len(list((system / "test" / "wav").glob("*.wav"))) == 4, done.stderr


def test_words_go_all_the_way_in_the_folders_of_another_kind(tiny_recipe, tmp_path):
    """Aligned units cannot be heard in speech: none of what was heard in k-means units is scored against words."""
    for name in ("data", "exp"):
        shutil.copytree(tiny_recipe / name, tmp_path / name)
    relocate(tmp_path / "data", tiny_recipe / "data")
    before = json.loads((tmp_path / "exp" / SYSTEM / "test" / "results.json").read_text())
    assert {"system", "predicted", "resynth"} <= {row["key"] for row in before["units"]["rows"]}
    options = [*tiny_options(tmp_path), "--units", "words", "--unit-bpe", "0"]
    run(ROOT / "run.sh", *options, "--stage", "6")
    after = json.loads((tmp_path / "exp" / SYSTEM / "test" / "results.json").read_text())
    keys = [row["key"] for row in after["units"]["rows"]]
    assert "system" in keys and not {"predicted", "resynth"} & set(keys)
    assert (tmp_path / "exp" / SYSTEM / "test" / "report" / "index.html").is_file()


def relocate(data: Path, old: Path) -> None:
    """Let the tables of a copied data directory name the copy."""
    for table in data.glob("*/*.scp"):
        table.write_text(table.read_text().replace(str(old), str(data)))


def test_killed_at_random_moments_it_ends_the_same(tiny_recipe, tmp_path):
    chance = random.Random(0)
    kills = 0
    while True:
        process = subprocess.Popen(
            [ROOT / "run.sh", *tiny_options(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, stderr = process.communicate(timeout=chance.uniform(3, 25) if kills < KILLS else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            time.sleep(0.1)
            continue
        assert process.returncode == 0, stderr.decode()
        break
    assert kills > 0
    assert outputs(tmp_path) == outputs(tiny_recipe)
    results = [(f / "exp" / SYSTEM / "test" / "results.json").read_text() for f in (tmp_path, tiny_recipe)]
    assert results[0].replace(str(tmp_path), "") == results[1].replace(str(tiny_recipe), "")


def test_direct_system_goes_through_without_units_and_text(tiny_recipe, tmp_path):
    """Its models see no text; units of the folder are for scores alone."""
    data, exp = tmp_path / "data", tmp_path / "exp"
    shutil.copytree(tiny_recipe / "data", data)
    relocate(data, tiny_recipe / "data")
    texts = {text: text.read_text() for text in data.glob("*/text")}
    for text in texts:
        text.unlink()
    tiny = "epochs=1 codes=16 hidden_dim=16 memory_dim=16 dunits=16 prenet_units=8 postnet_layers=1 embed_dim=8"
    options = [*tiny_options(tmp_path), "--system", "sas", "--sas-args", tiny]
    done = run(ROOT / "run.sh", *options, "--stage", "6", "--stop-stage", "9")
    assert "needs no units" in done.stderr and "no image-to-unit model; skipped" in done.stderr
    assert not list(exp.glob("units_*")) and not list(exp.glob("i2u_*"))

    for text, content in texts.items():
        text.write_text(content)
    shutil.copytree(tiny_recipe / "exp" / "units_kmeans16", exp / "units_kmeans16")
    done = run(ROOT / "run.sh", *options, "--stage", "8")
    assert done.stderr.count("up to date") >= 3  # the model, its speech, the ceilings
    test = exp / "sas_griffinlim" / "test"
    results = json.loads((test / "results.json").read_text())
    for part, how in (("captions", "spoken again and read back"), ("units", "spoken and encoded again")):
        names = {row["key"]: row["name"] for row in results[part]["rows"]}
        assert names["resynth"] == f"reference spectrograms, {how}" and "system" in names
    page = (test / "report" / "index.html").read_text()
    assert "Reference spectrograms, spoken again" in page and '"attention":{"height":7,"width":7' in page

    photo = next((data / "images").rglob("*.[jp][pn]g"))
    run(ROOT / "utils" / "describe.sh", "--model", test.parent, photo, tmp_path / "one.wav", cwd=tmp_path)
    assert soundfile.info(tmp_path / "one.wav").samplerate == 22050
    run(ROOT / "utils" / "results.sh", test, tmp_path / "RESULTS.md")
    assert "reference spectrograms" in (tmp_path / "RESULTS.md").read_text()


def test_rows_of_an_ablation_are_run_and_tabulated(tiny_recipe, tmp_path):
    """The first row is what the recipe has done already: nothing is left to do for it."""
    table = tmp_path / "two.yaml"
    table.write_text("rows: [{name: as it was}, {name: no such thing, tag: _other, options: {i2u-arg: layers=2}}]\n")
    options = [*tiny_options(tiny_recipe), "--ablation", str(table), "--split", "test", "--stage", "10"]
    done = run(ROOT / "run.sh", *options, check=False)
    log = tiny_recipe / "exp" / "two" / "log" / "test_other.log"
    assert done.returncode == 1 and "unknown option --i2u-arg" in log.read_text()
    results = json.loads((tiny_recipe / "exp" / SYSTEM / "test" / "results.json").read_text())
    (row,) = [row for row in results["captions"]["rows"] if row["key"] == "system"]
    shown = next(line for line in done.stdout.splitlines() if "as it was" in line)
    assert f"{row['scores']['CIDEr']['value']:.1f} ±" in shown and "random other image's caption" in done.stdout
    assert "up to date" in log.with_name("test.log").read_text()


def test_an_unknown_system_is_refused(tmp_path):
    done = run(ROOT / "run.sh", *tiny_options(tmp_path), "--system", "saas", check=False)
    assert done.returncode and "--system saas: no such part (did you mean sas?)" in done.stderr
