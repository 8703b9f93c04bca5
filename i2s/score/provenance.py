"""Where scores come from: the commands, the commits, the configurations and the machine that made them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from i2s.errors import UserError
from i2s.modeldir import load_manifest

SHARED, UNITS = 5, 6  # the stages up to SHARED serve all systems of an exp folder, UNITS all of the same units


def read_stages(path: Path, system: str, shared: int = SHARED) -> list[tuple[int, int, str, str]]:
    """(stage, seconds, commit, command) of each stage of `system`, its longest run, in the order of the stages.

    Up to the stage `shared`, what other systems noted counts, too, and of the stage UNITS what those of the same units
    did. Raises UserError where run.sh noted none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run.sh writes it as stages end")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            _, commit, stage, seconds, folder, units, command = line.split("\t")
            rows.append(((int(stage), int(seconds), commit, command.strip()), Path(folder).name == system, units))
        except ValueError as e:
            raise UserError(f"{path}:{number}: not a line of run.sh") from e
    same_units = {units for _, own, units in rows if own}
    longest: dict[int, tuple[int, int, str, str]] = {}
    for found, own, units in rows:
        counts = own or found[0] <= shared or (found[0] == UNITS and units in same_units)
        if counts and (found[0] not in longest or found[1] >= longest[found[0]][1]):
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
