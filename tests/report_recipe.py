"""A small recipe folder to make reports of: three images, two systems, names and captions that must be escaped."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from i2s.archive import write_ark
from i2s.audio import write_wav
from i2s.bin import report
from i2s.corpus.tables import write_int_table, write_table

EVIL = "</script><img src=x onerror=\"document.title='owned'\"> & 'dogs'"
FIRST = "a#1"
IMAGES = [FIRST, "b%2", "c:3"]
UNITS = {FIRST: [5, 6, 7], "b%2": [5], "c:3": [8, 9]}
DURATIONS = {FIRST: [10, 20, 10], "b%2": [40], "c:3": [20, 20]}
HEARD = {FIRST: f"a brown dog {EVIL}", "b%2": "", "c:3": "a cat"}
RATE, SECONDS = 22050, {FIRST: 1.5, "b%2": 1.0, "c:3": 0.5}


def make_recipe() -> None:
    """Write data/ and exp/ as they are after scoring, in the working directory."""
    rng = np.random.default_rng(0)
    data, system, other = Path("data/test"), Path("exp/sys/test"), Path("exp/new/test")
    Path(data, "images").mkdir(parents=True)
    wavs = {}
    for i, image in enumerate(IMAGES):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(data / "images" / f"{i}.png")
        wavs[image] = f"wav{i}.wav"
        write_wav(wavs[image], 0.1 * rng.standard_normal(round(SECONDS[image] * RATE)), RATE)
    write_table(data / "images.scp", {image: f"{data}/images/{i}.png" for i, image in enumerate(IMAGES)})
    write_table(data / "utt2image", {f"{image}-{k}": image for image in IMAGES for k in range(2)})
    write_table(data / "text", {f"{image}-{k}": f"A brown dog {k} {EVIL}" for image in IMAGES for k in range(2)})
    write_table(data / "wav.scp", {f"{image}-{k}": wavs[image] for image in IMAGES for k in range(2)})
    (data / "image_feats.json").write_text(json.dumps({"kind": "resnet50", "grid": [2, 3], "dim": 4}))
    for folder in (system, other):
        write_table(folder / "wav.scp", wavs)
        write_int_table(folder / "units", UNITS)
        write_int_table(folder / "unit_durations", DURATIONS)
        with write_ark(folder / "attention.ark", folder / "attention.scp") as write:
            for image, units in UNITS.items():
                write(image, rng.random((len(units), 6)))
        with write_ark(folder / "mel.ark", folder / "feats.scp") as write:
            for image in IMAGES:
                write(image, rng.random((40, 80)))
    write_table(system / "failures", {"b%2": "attention-lost"})
    write_table(Path("exp/ceilings/test/resynth/wav.scp"), {f"{image}-1": wavs[image] for image in IMAGES})
    write_scores(system, {image: 10.0 * i for i, image in enumerate(IMAGES)})
    write_scores(other, {image: 12.0 for image in IMAGES})
    write_training()


def write_scores(folder: Path, cider: dict[str, float]) -> None:
    """results.json and per_image.json, with a part and measures that nobody knows."""
    value = sum(cider.values()) / len(cider)
    score = {"value": value, "low": value - 1.0, "high": value + 1.2}
    rows = [
        row("constant", "best constant caption", "floor", {"CIDEr": {"value": 2.0}}, said=EVIL),
        row("system", "this system", "system", {"BLEU-4": score, "CIDEr": score}),
        row("voice", f"reference speech {EVIL}", "ceiling", {"CIDEr": 42.0, "WER": 3.0}),
    ]
    tones = [
        row("none", "no tone", "floor", {"tone gap": 8.0}),
        row("system", "this system", "system", {"tone gap": 0.5 * value, f"odd {EVIL}": None}),
        row("voice", "reference speech", "ceiling", {"tone gap": 0.0}),
    ]
    comparison = {"a": "system", "b": "constant", "how": "difference", "scores": {"CIDEr": score}}
    results = {
        "settings": {"asr": {"name": "vosk", "caption_lm": False}, "ceilings": "exp/ceilings/test"},
        "notes": [EVIL],
        "captions": {"rows": rows, "comparisons": [comparison], "places": [place("constant", CIDEr=20.0)]},
        "tones": {"rows": tones, "places": [place("none", **{"tone gap": 37.5})]},
        "run": {"seconds": 3},
    }
    results["settings"]["units"] = {"folder": "exp/units", "mean_length": 2.0}
    (folder / "results.json").write_text(json.dumps(results))
    per_image = {
        image: {
            "captions": {
                "system": {"said": HEARD[image], "scores": {"CIDEr": cider[image]}},
                "voice": {"said": "a brown dog 1", "scores": {"CIDEr": 42.0}},
            },
            "tones": {"system": {"said": "", "scores": {"tone gap": 0.5 * cider[image]}}},
        }
        for image in IMAGES
    }
    (folder / "per_image.json").write_text(json.dumps(per_image))


def row(key: str, name: str, kind: str, scores: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"key": key, "name": name, "kind": kind, "images": 3, "references": 2.0, "scores": scores, **more}


def place(floor: str, **scores: float) -> dict[str, Any]:
    found = {m: {"value": value, "low": value - 1.0, "high": value + 1.0} for m, value in scores.items()}
    return {"system": "system", "floor": floor, "ceiling": "voice", "scores": found}


def write_training() -> None:
    """A model folder with TensorBoard events, which exp/sys names, and unit statistics."""
    events = EventFileWriter("exp/model/tensorboard")

    def add(step: int, **values: float) -> None:
        summary = Summary(value=[Summary.Value(tag=k.replace("_", "/"), simple_value=v) for k, v in values.items()])
        events.add_event(Event(step=step, summary=summary))

    for step in range(300):
        add(step, train_loss=5.0 / (step + 1), lr_pg1=0.1, lr_pg2=0.1, epoch=step // 100)
    for step in (99, 199, 299):
        add(step, dev_loss=500.0 / step, dev_score=500.0 / step)
    events.close()
    Path("exp/sys/manifest.json").write_text(json.dumps({"kind": "system", "i2u": "../model", "vocoder": "griffinlim"}))
    Path("exp/units").mkdir()
    split = {"utterances": 1200, "perplexity": 3.25, "counts": [5, 0, 90], "run_histogram": [1, 2], "bpe": {"used": 7}}
    Path("exp/units/stats.json").write_text(json.dumps({"train": split, "test": {**split, "utterances": 4}}))


def make(*arguments: str, system: str = "exp/sys/test", out: str = "out") -> str:
    """Run the command in this process; returns the page."""
    sys.argv = ["report", *arguments, "data/test", system, out]
    report.main()
    return Path(out, "index.html").read_text(encoding="utf-8")
