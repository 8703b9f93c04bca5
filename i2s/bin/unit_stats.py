"""Statistics of discrete units: printed as a table, kept as stats.json with plots in UNIT_DIR.

Use of the inventory, rate, bits a second, run lengths, and BPE pieces, for each encoded split. With --data, a data
directory whose speech is encoded in UNIT_DIR/<its name>, the agreement of units with phones instead: phones.json. These
are those of --phones, or are found by forced alignment with the `text` of the data, which has to be English. Without
--data no text is read.
"""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from i2s import units as unit_package
from i2s.audio import read_wav
from i2s.cli import parser, run
from i2s.corpus.tables import read_int_table, read_table
from i2s.errors import UserError
from i2s.files import atomic_path, write_text
from i2s.progress import track
from i2s.units.inventory import UnitInventory
from i2s.units.stats import phone_stats, unit_stats

log = logging.getLogger(__name__)
ENGLISH = 0.25  # of the utterances: fewer can be aligned by chance, as the dictionary holds many a foreign word


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, metavar="DATA_DIR", help="compare with phones of its utterances")
    options.add_argument("--phones", default="", metavar="PATH", help="which are these: see AlignedConfig.alignments")
    options.add_argument("--utterances", type=int, default=100, metavar="N", help="to align (default %(default)s)")
    options.add_argument("folder", type=Path, metavar="UNIT_DIR")
    args = options.parse_args()

    inventory = unit_package.load(args.folder)
    if args.data:
        against_phones(inventory, args.data, args.utterances, args.phones)
    else:
        splits = [s for s in ("train", "dev", "test") if (args.folder / s / "units").is_file()]
        stats = {split: split_stats(inventory, split) for split in splits}
        if not stats:
            raise UserError(f"{args.folder}: holds no encoded split; run the unit stage")
        plot_units(stats, inventory, args.folder)
        save(args.folder / "stats.json", stats)
        print(table(stats))


def split_stats(inventory: UnitInventory, split: str) -> dict[str, Any]:
    units = read_int_table(inventory.folder / split / "units")
    durations = read_int_table(inventory.folder / split / "unit_durations")
    return unit_stats(units, durations, inventory.size, inventory.manifest["frame_shift"], inventory.bpe)


def table(stats: dict[str, dict[str, Any]]) -> str:
    """One column a split, one row a figure."""
    rows = [("units of", list(stats))]
    for name, form in (
        ("utterances", "{:d}"),
        ("seconds", "{:.0f}"),
        ("used", "{:d}"),
        ("perplexity", "{:.1f}"),
        ("per_utterance", "{:.1f}"),
        ("per_second", "{:.1f}"),
        ("bits_per_second", "{:.0f}"),
        ("mean_run_frames", "{:.2f}"),
    ):
        rows.append((name.replace("_", " "), [form.format(s[name]) for s in stats.values()]))
        if name in ("used", "perplexity", "per_utterance", "bits_per_second"):
            pieces = [s["bpe"] for s in stats.values() if "bpe" in s]
            if pieces:
                rows.append((f"  pieces: {name.replace('_', ' ')}", [form.format(p[name]) for p in pieces]))
    return "\n".join(f"{name:<26}" + "".join(f"{value:>10}" for value in values) for name, values in rows)


def against_phones(inventory: UnitInventory, data: Path, utterances: int, alignments: str) -> None:
    from i2s.units.aligned import AlignedConfig, Alignments
    from i2s.units.phones import Unalignable

    units = read_int_table(inventory.folder / data.name / "units")
    durations = read_int_table(inventory.folder / data.name / "unit_durations")
    wavs = read_table(data / "wav.scp")
    text = {} if alignments else read_table(data / "text", allow_empty_value=True)
    # Drawn from all utterances, with units or without: inventories are to be compared over the same ones.
    keys = [key for key in wavs if alignments or key in text]
    chosen = np.random.default_rng(0).permutation(len(keys))[:utterances]
    sample = [keys[i] for i in sorted(chosen) if keys[i] in units]
    aligner = Alignments("phones-l1", AlignedConfig(alignments=alignments), only=set(sample))
    phones = {}
    for key in track(sample, "aligning phones", unit="utt"):
        with contextlib.suppress(Unalignable):
            wav, rate = read_wav(wavs[key]) if aligner.reads_speech else (np.zeros(0, np.float32), 0)
            phones[key] = aligner.align(key, wav, rate, text.get(key, ""))
    if not phones or (text and len(phones) < ENGLISH * len(sample)):
        found = f"only {len(phones)} of {len(sample)} utterances" if phones else "no utterance"
        why = "has a line there" if alignments else "could be aligned with its text (only English can)"
        log.warning("%s: %s %s; phones are left out", alignments or data, found, why)
        return
    stats = phone_stats(units, durations, phones, inventory.manifest["frame_shift"])
    plot_phones(stats, inventory.folder)
    save(inventory.folder / "phones.json", {"split": data.name} | stats)
    print(
        f"against phones of {len(phones)} utterances: purity {100 * stats['purity']:.1f} %, "
        f"phone purity {100 * stats['phone_purity']:.1f} %, NMI {stats['nmi']:.3f}, "
        f"{stats['units_per_phone']:.2f} units a phone, boundaries (20 ms): F {100 * stats['boundaries']['f']:.1f} %"
    )


def plot_units(stats: dict[str, dict[str, Any]], inventory: UnitInventory, folder: Path) -> None:
    """unit_use.png: how often each unit occurs, by rank; run_lengths.png: how long they last."""
    figure, axes = new_figure("units by frequency", "share of all units")
    for split, s in stats.items():
        counts = np.sort(s["counts"])[::-1]
        axes.semilogy(np.arange(1, len(counts) + 1), counts / max(1, counts.sum()), label=split)
    axes.legend()
    write_figure(figure, folder / "unit_use.png")
    shift = 1000 * inventory.manifest["frame_shift"]
    figure, axes = new_figure(f"duration of a unit, in frames of {shift:.1f} ms (20: and longer)", "share of all units")
    for i, (split, s) in enumerate(stats.items()):
        runs = np.array(s["run_histogram"])
        at = np.arange(1, len(runs) + 1) + 0.28 * (i - (len(stats) - 1) / 2)
        axes.bar(at, runs / max(1, runs.sum()), 0.28, label=split)
    axes.legend()
    write_figure(figure, folder / "run_lengths.png")


def plot_phones(stats: dict[str, Any], folder: Path) -> None:
    """phones.png: how the frames of each unit spread over phones; units are sorted by their commonest phone."""
    joint = np.array(stats["joint"], float)
    joint = joint[joint.sum(1) > 0]
    joint = joint[np.argsort(joint.argmax(1), kind="stable")]
    figure, axes = new_figure("units", "phones")
    image = axes.imshow((joint / joint.sum(1, keepdims=True)).T, aspect="auto", cmap="magma", interpolation="nearest")
    axes.set_yticks(range(len(stats["phones"])), stats["phones"], fontsize=5)
    figure.colorbar(image, label="share of the unit's frames")
    write_figure(figure, folder / "phones.png")


def new_figure(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    return figure, axes


def write_figure(figure: Any, path: Path) -> None:
    with atomic_path(path) as tmp:
        figure.savefig(tmp, dpi=120)


def save(path: Path, stats: dict[str, Any]) -> None:
    write_text(path, json.dumps(stats, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
