"""Ablation tables: faults of their files are named, rows resume and fail one by one, scores stand beside the floors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from i2s.errors import UserError
from i2s.sas.model import SasConfig
from i2s.score.ablation import Ablation, Row, given_options, markdown, read_ablation, row_options

from .conftest import ROOT, alive, eventually, run

# A recipe that knows --speed, notes its stages as run.sh does, and does nothing twice. It fails where --speed is 0.
RECIPE = """#!/usr/bin/env bash
set -euo pipefail
split= tag= speed=1 ablation=x
help_message=none
. "$ROOT/utils/parse_options.sh"
[ -z "$ablation" ]
echo "row $tag at $speed" >>"$EXP/calls"
system=$EXP/system$tag
if [ ! -f "$system/$split/results.json" ]; then
  if [ "$speed" = 0 ]; then echo "too slow" >&2; exit 3; fi
  if [ -f "$EXP/wait$tag" ]; then echo $$ >"$EXP/waiting"; bash -c 'sleep 60; true' "$EXP"; fi
  mkdir -p "$system/$split"
  echo '{"kind": "system"}' >"$system/manifest.json"
  echo "$tag" >>"$EXP/worked"
  cp "$EXP/made_up.json" "$system/$split/results.json"
fi
printf 'now\\tc0ffee\\t10\\t1\\t%s\\tunits\\t%s\\n' "$system" "$recipe_command" >>"$EXP/stages.tsv"
"""


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 1, "high": value + 1}


def made_up(bleu: float, cider: float, references: str = "same") -> dict[str, Any]:
    """What results.json would hold."""

    def row(key: str, name: str, kind: str, **scores: float) -> dict[str, Any]:
        return {"key": key, "name": name, "kind": kind, "scores": {m: score(v) for m, v in scores.items()}}

    return {
        "settings": {
            "images": 7,
            "asr": {"name": "pocketsphinx", "caption_lm": True},
            "references": {"captions": references},
        },
        "captions": {
            "rows": [
                row("random", "random other", "floor", **{"BLEU-4": 1.5, "CIDEr": 2.5}),
                row("constant", "best constant", "floor", **{"BLEU-4": 8.7, "CIDEr": 9.6}),
                row("system", "this system", "system", **{"BLEU-4": bleu, "CIDEr": cider}),
                row("voice", "the voice", "ceiling", **{"BLEU-4": 50.0, "CIDEr": 200.0, "WER": 3.0}),
            ]
        },
        "speech": {"rows": [row("system", "this system", "system", seconds=2.5, unfinished=12.0, repeating=4.0)]},
    }


def write(path: Path, table: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(table))
    return path


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"title": "none"}, "has no rows"),
        ({"row": []}, "unknown key 'row'; did you mean rows?"),
        ({"rows": ["fast"]}, "rows: expected Row, got 'fast'"),
        ({"rows": [{"name": "a", "option": {}}]}, "rows: unknown key 'option'; did you mean options?"),
        ({"rows": [{"tag": "_a"}]}, r"row 1 \(without a name\): needs a name"),
        ({"rows": [{"name": "a"}, {"name": "b"}]}, r"row 2 \(b\): tag '' is that of 'a'"),
        ({"rows": [{"name": "a", "tag": "../a"}]}, r"row 1 \(a\): tag '../a' becomes part of a folder's name"),
        ({"rows": [{"name": "a", "options": {"--tts": "pico"}}]}, "option '--tts': write run.sh's long options"),
        ({"rows": [{"name": "a", "options": {"exp": "there"}}]}, "option 'exp' cannot differ between rows"),
        ({"rows": [{"name": "a"}], "options": {"tag": "_b"}}, "option 'tag' cannot differ"),
        ({"rows": [{"name": "a", "options": {"tts": ["pico"]}}]}, r"options: tts: expected str or .*, got \['pico'\]"),
        ({"rows": [{"name": "a", "published": {"BLUE-4": 1}}]}, "published: no such measure: BLUE-4; known: BLEU-1"),
        ({"rows": [{"name": "a", "published": {"BLEU-4": 1}}]}, "published scores need a source"),
        ({"rows": [{"name": "a", "published": {"BLEU-4": "low"}}]}, "published: BLEU-4: expected float, got 'low'"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path, table, message):
    with pytest.raises(UserError, match=message) as error:
        read_ablation(write(tmp_path / "table.yaml", table))
    assert str(tmp_path / "table.yaml") in str(error.value)


@pytest.mark.parametrize("path", sorted(ROOT.glob("conf/ablation_*.yaml")), ids=lambda path: path.stem)
def test_project_tables(path):
    """Their options are run.sh's, and those of the model are the model's."""
    table = read_ablation(path)
    known = run(ROOT / "run.sh", "--help").stdout
    for row in table.rows:
        options = row_options(table, row, {})
        assert all(f"--{name} " in known for name in options)
        for override in options.get("sas-args", "").split():
            name, _, value = override.partition("=")
            SasConfig(**{name: yaml.safe_load(value)})


def test_options_of_a_row():
    table = Ablation(
        options={"system": "sas", "sas-args": "epochs=3", "spice": True, "nj": 2},
        rows=(Row("a", "_a", {"system": "units", "sas-args": "layers=1", "search-args": "beam=2"}), Row("b", "_b")),
    )
    given = given_options(["--tag", "_long", "--sas-args=epochs=9 lr=1", "--tts", "--pico"])
    assert given == {"tag": "_long", "sas-args": "epochs=9 lr=1", "tts": "--pico"}
    assert row_options(table, table.rows[0], given) == {
        "tag": "_long_a",
        "system": "units",
        "sas-args": "epochs=9 lr=1 epochs=3 layers=1",
        "search-args": "beam=2",
        "spice": "true",
        "nj": "2",
    }
    assert row_options(table, table.rows[1], {})["sas-args"] == "epochs=3"


def test_scores_stand_beside_floors_and_the_papers():
    rows = (Row("a", "_a", published={"BLEU-1": 29.6, "CIDEr": 8}), Row("b", "_b"), Row("c", "_c"), Row("d", "_d"))
    table = Ablation("Variants", "Some et al.", {}, rows)
    results = {"_a": made_up(3.25, 7.5), "_b": made_up(5.0, 11.0, references="others")}
    text = markdown(table, "dev", results, {"_c": "exp/log/dev_c.log"})
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert cells == [
        ["", "", "BLEU-4", "CIDEr", "BLEU-1", "unfinished", "repeating"],
        [cell for cell in cells[1] if set(cell) <= {"-", ":"}],
        ["floor", "random other", "1.5 ±1.0", "2.5 ±1.0", "", "", ""],
        ["floor", "best constant", "8.7 ±1.0", "9.6 ±1.0", "", "", ""],
        ["system", "a", "3.2 ±1.0", "7.5 ±1.0", "", "12.0 ±1.0", "4.0 ±1.0"],
        ["published", "Some et al.", "", "8.0", "29.6", "", ""],
        ["system", "b", "5.0 ±1.0", "11.0 ±1.0", "", "12.0 ±1.0", "4.0 ±1.0"],
        ["failed", "c; see exp/log/dev_c.log", "", "", "", "", ""],
        ["to come", "d", "", "", "", "", ""],
    ]
    assert "dev, 7 images" in text and "Read back by pocketsphinx" in text
    assert "Note: b: scored against other references" in text and "Note: a" not in text


def test_units_stand_beside_chance():
    """Each row has its own inventory, and so its own chance."""
    rows = (Row("a", "_a", published={"CIDEr": 8}, published_units={"UER nearest": 84.9}), Row("b", "_b"))
    table = Ablation("Kinds", "Some et al.", parts=("units", "captions"), rows=rows, notes=("as told",))
    results = {"_a": made_up(3.25, 7.5), "_b": made_up(5.0, 11.0, references="others")}
    differences = [
        {"value": -6.0, "low": -8.0, "high": -4.0, "p": 0.00001},
        {"value": 6.0, "low": 4.0, "high": 8.0},  # of few images: no p
    ]
    for number, result in enumerate(results.values()):
        scores = {"BLEU-4": score(20.0), "UER nearest": score(80.0)}
        keys = ["majority", "system", *(["predicted"] if number else [])]
        result["units"] = {
            "rows": [{"key": k, "kind": "", "name": f"the {k}", "scores": scores} for k in keys],
            "comparisons": [
                {"a": keys[-1], "b": "majority", "how": "difference", "scores": {"UER mean": differences[number]}}
            ],
        }
        respoken = {"key": "resynth", "kind": "ceiling", "name": "again", "scores": {"WER": score(20.0)}}
        result["captions"]["rows"].append(respoken)
    units, words = markdown(table, "dev", results, {}).split("Read back by")
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in units.splitlines() if line.startswith("|")]
    assert [cells[0], *cells[2:]] == [
        ["", "", "BLEU-4", "UER nearest", "minus chance"],
        ["system", "a", "20.0 ±1.0", "80.0 ±1.0", "-6.0 ±2.0 (p < 0.001)"],
        ["chance", "the majority", "20.0 ±1.0", "80.0 ±1.0", ""],
        ["published", "Some et al.", "", "84.9", ""],
        ["system", "b", "20.0 ±1.0", "80.0 ±1.0", "+6.0 ±2.0"],
        ["chance", "the majority", "20.0 ±1.0", "80.0 ±1.0", ""],
    ]
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in words.splitlines() if line.startswith("|")]
    assert cells[0] == ["", "", "BLEU-4", "CIDEr", "WER respoken", "unfinished", "repeating"]
    assert cells[4] == ["system", "a", "3.2 ±1.0", "7.5 ±1.0", "20.0 ±1.0", "12.0 ±1.0", "4.0 ±1.0"]
    assert cells[5] == ["published", "Some et al.", "", "8.0", "", "", ""]
    del results["_b"]["units"]  # of a system that has none
    assert "| system    | b" in markdown(table, "dev", results, {})
    for result in results.values():
        result.pop("captions")  # of a language without text
    assert "Read back by" not in markdown(table, "dev", results, {})
    assert "Note: as told" in words and "Note: b: scored against other references" in words


def test_a_table_of_nothing_yet():
    text = markdown(Ablation(rows=(Row("a"),)), "dev", {}, {"": "log"})
    assert "| failed | a; see log |" in text


@pytest.fixture
def recipe(tmp_path) -> list[str | Path]:
    """The command that runs three rows, of which the second fails, with a recipe of the test's own."""
    script = tmp_path / "recipe.sh"
    script.write_text(RECIPE)
    script.chmod(0o755)
    (tmp_path / "made_up.json").write_text(json.dumps(made_up(5.0, 11.0)))
    rows = [
        {"name": "quick", "tag": "_quick", "options": {"speed": 9}},
        {"name": "slow", "tag": "_slow", "options": {"speed": 0}},
        {"name": "usual", "tag": "_usual"},
    ]
    table = write(tmp_path / "table.yaml", {"rows": rows})
    command = ["--command", "./run.sh --speed 5 ", "--split", "dev", "--exp", tmp_path]
    recipe = ["--", script, "--ablation", table, "--speed", "5"]
    return [sys.executable, "-m", "i2s.bin.ablation", *command, table, tmp_path / "out", *recipe]


def environment(folder: Path) -> dict[str, str]:
    return {"ROOT": str(ROOT), "EXP": str(folder)}


def kinds(folder: Path) -> list[str]:
    lines = (folder / "out" / "dev.md").read_text().splitlines()
    cells = [[c.strip() for c in line.split("|")[1:3]] for line in lines if line.startswith("|")]
    return [kind for kind, name in cells if name.split(";")[0] in ("quick", "slow", "usual")]


def test_a_row_that_fails_is_named_and_the_others_go_on(recipe, tmp_path):
    done = run(*recipe, check=False, **environment(tmp_path))
    log = tmp_path / "out" / "log" / "dev_slow.log"
    assert done.returncode == 1 and f"error: 1 of 3 rows failed: see {log}" in done.stderr
    assert "too slow" in done.stderr and "too slow" in log.read_text()
    assert (tmp_path / "calls").read_text() == "row _quick at 9\nrow _slow at 0\nrow _usual at 5\n"
    assert kinds(tmp_path) == ["system", "failed", "system"]
    commands = [line.split("\t")[6] for line in (tmp_path / "stages.tsv").read_text().splitlines()]
    text = (tmp_path / "out" / "dev.md").read_text()
    assert "Command: `./run.sh --speed 5`  \nCommit: c0ffee  \nConfigurations: " in text and "| minutes |" in text
    assert commands[0] == "./run.sh --speed 5 --ablation '' --split dev --tag _quick --speed 9"

    # Mended, it goes on: what is finished is not done again.
    (tmp_path / "table.yaml").write_text((tmp_path / "table.yaml").read_text().replace("speed: 0", "speed: 1"))
    done = run(*recipe, **environment(tmp_path))
    assert kinds(tmp_path) == ["system"] * 3
    assert (tmp_path / "worked").read_text() == "_quick\n_usual\n_slow\n"
    assert done.stdout.strip() == (tmp_path / "out" / "dev.md").read_text().strip()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_killed_it_goes_on_where_it_was(recipe, tmp_path, how):
    (tmp_path / "wait_usual").touch()
    process = subprocess.Popen(
        [str(word) for word in recipe],
        cwd=ROOT,
        env={**os.environ, **environment(tmp_path)},
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # (the tests may run under nohup)
    )
    assert eventually((tmp_path / "waiting").exists, 60)
    process.send_signal(how)
    assert process.wait(10) == (-how if how == signal.SIGKILL else 128 + how)
    if how == signal.SIGKILL:  # which takes the row along only where it is sent to all, as by a machine that goes down
        os.killpg(int((tmp_path / "waiting").read_text()), how)
    assert eventually(lambda: not alive(str(tmp_path)))
    assert kinds(tmp_path) == ["system", "failed", "to come"]

    (tmp_path / "wait_usual").unlink()
    run(*recipe, check=False, **environment(tmp_path))
    assert kinds(tmp_path) == ["system", "failed", "system"]
    assert (tmp_path / "worked").read_text() == "_quick\n_usual\n"


def test_a_recipe_that_ends_without_scores_has_failed(recipe, tmp_path):
    (tmp_path / "recipe.sh").write_text("#!/usr/bin/env bash\n")
    done = run(*recipe, check=False, **environment(tmp_path))
    assert "it ended without scores" in done.stderr and kinds(tmp_path) == ["failed"] * 3
