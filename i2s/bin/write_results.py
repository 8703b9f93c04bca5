"""Write a recipe's RESULTS.md from a finished run: command, commit, hash of the configuration, machine, duration of
each stage, then the tables of its scores.

SPLIT_DIR is exp/<system>/<split>; run.sh noted its stages in exp/stages.tsv. Of a stage that ran more than once the
longest run counts, as the others found its work done.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import read_json, write_text
from i2s.modeldir import load_manifest
from i2s.score.results import markdown

_SHARED = 6  # the stages up to this one serve all systems of an exp folder


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--title", default="", help="after 'Results: ' (default: the system's folder)")
    options.add_argument("--note", type=Path, metavar="FILE", help="Markdown to put before the tables")
    options.add_argument("split", type=Path, metavar="SPLIT_DIR", help="holds results.json (stage 10)")
    options.add_argument("out", type=Path, metavar="RESULTS_MD")
    args = options.parse_args()

    results = read_json(args.split / "results.json", "run stage 10")
    system = args.split.resolve().parent
    stages = read_stages(system.parent / "stages.tsv", system.name)
    tables = markdown(results).partition("\n")[2].strip()
    note = [args.note.read_text(encoding="utf-8").strip(), ""] if args.note else []
    lines = [
        f"# Results: {args.title or system.name}",
        "",
        f"Command: {', then '.join(dict.fromkeys(f'`{command}`' for *_, command in stages))}  ",
        f"Commit: {', '.join(dict.fromkeys(commit for _, _, commit, _ in stages))}  ",
        f"Configuration: {config_hash(system)} (SHA-256 of the models' configurations)  ",
        f"Machine: {machine()}  ",
        f"Split: {args.split.name}",
        "",
        "| stage | " + " | ".join(str(stage) for stage, *_ in stages) + " | all |",
        "| --- |" + " --: |" * (len(stages) + 1),
        "| seconds | " + " | ".join(str(s) for _, s, *_ in stages) + f" | {sum(s for _, s, *_ in stages)} |",
        "",
        *note,
        tables,
    ]
    write_text(args.out, "\n".join(lines) + "\n")


def read_stages(path: Path, system: str) -> list[tuple[int, int, str, str]]:
    """(stage, seconds, commit, command) of each stage of `system`, its longest run, in the order of the stages.

    Raises UserError where run.sh noted none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run.sh writes it as stages end")
    longest: dict[int, tuple[int, int, str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            _, commit, stage, seconds, folder, command = line.split("\t")
            found = (int(stage), int(seconds), commit, command.strip())
        except ValueError as e:
            raise UserError(f"{path}:{number}: not a line of run.sh") from e
        mine = found[0] <= _SHARED or Path(folder).name == system
        if mine and (found[0] not in longest or found[1] >= longest[found[0]][1]):
            longest[found[0]] = found
    if not longest:
        raise UserError(f"{path}: has no stage of {system}; run it first")
    return [longest[stage] for stage in sorted(longest)]


def config_hash(system: Path) -> str:
    """Of what the models and the system were built from: the same configuration gives the same 12 hex digits."""
    manifest = load_manifest(system, "system")
    models = [system / manifest[part] for part in ("i2u", "u2s", "sas") if part in manifest]
    files = [system / "manifest.json", *(model / "config.yaml" for model in models)]
    content = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(content).hexdigest()[:12]


def machine() -> str:
    """Processor, cores, memory and GPUs of this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.is_file() else []
    processor = models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    gpus = "no GPU"
    if smi := shutil.which("nvidia-smi"):
        done = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False)
        names = [line.partition(": ")[2].partition(" (")[0] for line in done.stdout.splitlines()]
        gpus = ", ".join(names) or gpus
    return f"{len(os.sched_getaffinity(0))} cores of {processor}, {gigabytes:.0f} GB, {gpus}"


if __name__ == "__main__":
    run(main)
