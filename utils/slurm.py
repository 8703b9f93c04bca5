#!/usr/bin/env python3
"""Run a job, or an array of jobs, on a Slurm cluster, and wait for them. Called as Kaldi's slurm.pl is.

    slurm.py [--max-jobs-run N] [--gpu N] [--mem M] [--time T] [--num-threads N] [--NAME=VALUE ...]
             [JOB=1:NJ] LOG COMMAND [ARGUMENT...]

As run.py, but each job runs where Slurm puts it; the folders must be shared between the machines. --NAME=VALUE goes
to sbatch as it is: --partition=gpu --account=me. Jobs are cancelled when slurm.py is stopped; those left over by a
slurm.py that was killed outright are cancelled when the same jobs are submitted again.
The environment variables I2S_SBATCH, I2S_SQUEUE and I2S_SCANCEL name other programs in their place.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from jobs import Jobs, Progress, finish, parse, report, start

POLL = 0.5  # seconds between two looks for finished jobs
GRACE = float(os.environ.get("I2S_SLURM_GRACE", "60"))  # seconds for the files of ended jobs to show on a network disk
ASK_SLURM = min(20.0, GRACE)  # seconds between two questions whether the array is still there


def main() -> int:
    if sys.argv[1:2] == ["--one"]:  # on the cluster
        return one(Path(sys.argv[2]), int(os.environ["SLURM_ARRAY_TASK_ID"]))
    options = {"max-jobs-run": "", "gpu": "0", "mem": "", "time": "", "num-threads": "1"}
    jobs = parse(sys.argv[1:], options, __doc__, pass_on=True)
    folder = spool(jobs)
    cancel_leftover(folder)
    for old in folder.glob("status.*"):
        old.unlink()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    array = submit(jobs, folder, options)
    try:
        failed = wait(jobs, folder, array)
    except BaseException:
        subprocess.run([program("scancel"), array], check=False)
        raise
    finally:
        (folder / "array").unlink()
    return report(jobs, failed)


def program(name: str) -> str:
    return os.environ.get(f"I2S_{name.upper()}", name)


def spool(jobs: Jobs) -> Path:
    """Where the script, the exit statuses and Slurm's own output go: beside the logs."""
    log = Path(jobs.log_pattern)
    name = log.stem.replace(jobs.variable, "").strip(".") if jobs.variable else log.stem
    folder = log.parent / "slurm" / (name or "jobs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cancel_leftover(folder: Path) -> None:
    """Two arrays writing the same files would spoil them."""
    if (folder / "array").is_file():
        subprocess.run([program("scancel"), (folder / "array").read_text().strip()], check=False)


def submit(jobs: Jobs, folder: Path, options: dict[str, str]) -> str:
    """Hand the array to sbatch; returns its number. No shell sees the command: it travels as json."""
    (folder / "jobs.json").write_text(json.dumps(asdict(jobs)))
    script = folder / "job.sh"
    python, this = sys.executable, Path(__file__).resolve()
    command = shlex.join([python, str(this), "--one", str((folder / "jobs.json").resolve())])
    script.write_text(f"#!/bin/bash\nexec {command}\n")
    numbers = f"{jobs.numbers[0]}-{jobs.numbers[-1]}"
    limit = f"%{options['max-jobs-run']}" if options["max-jobs-run"] else ""
    arguments = [
        "--parsable",
        f"--job-name={folder.name}",
        f"--array={numbers}{limit}",
        f"--chdir={Path.cwd()}",
        f"--output={folder.resolve()}/slurm.%a.out",
        f"--cpus-per-task={options['num-threads']}",
    ]
    if options["gpu"] != "0":
        arguments.append(f"--gpus={options['gpu']}")
    own = ("max-jobs-run", "gpu", "num-threads")
    arguments += [f"--{name}={value}" for name, value in options.items() if name not in own and value]
    try:
        done = subprocess.run([program("sbatch"), *arguments, str(script)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("slurm.py: error: there is no sbatch here; use run.py in cmd.sh")
    # --parsable prints the number, or number;cluster.
    if done.returncode or not (match := re.search(r"^(\d+)", done.stdout, re.MULTILINE)):
        sys.exit(f"slurm.py: error: sbatch refused the jobs: {(done.stderr or done.stdout).strip()}")
    (folder / "array").write_text(match[1])
    print(f"slurm.py: array {match[1]}, {len(jobs.numbers)} jobs; logs: {jobs.log_pattern}", file=sys.stderr)
    return match[1]


def wait(jobs: Jobs, folder: Path, array: str) -> list[int]:
    """Wait for the exit status of every job; returns those that failed or vanished."""
    failed: list[int] = []
    unfinished = list(jobs.numbers)
    progress = Progress(jobs)
    ask, gone = time.monotonic() + ASK_SLURM, None
    while unfinished:
        for job in list(unfinished):
            status = folder / f"status.{job}"
            if status.is_file():
                unfinished.remove(job)
                if status.read_text() != "0":
                    failed.append(job)
        progress.show(unfinished)
        now = time.monotonic()
        if unfinished and gone is None and now >= ask:
            gone, ask = (None if in_queue(array) else now), now + ASK_SLURM
        if unfinished and gone is not None and now >= gone + GRACE:
            print(
                f"slurm.py: array {array} ended without a status of jobs {unfinished}: cancelled, or beyond its "
                f"time or memory? See {folder}/slurm.*.out",
                file=sys.stderr,
            )
            return sorted(failed + unfinished)
        if unfinished:
            time.sleep(POLL)
    progress.close()
    return sorted(failed)


def in_queue(array: str) -> bool:
    done = subprocess.run(
        [program("squeue"), "--noheader", f"--jobs={array}"], capture_output=True, text=True, check=False
    )
    if done.returncode and "Invalid job id" not in done.stderr:
        return True  # Slurm does not answer now: keep waiting
    return bool(done.stdout.strip())


def one(specification: Path, job: int) -> int:
    """Run one job of the array, then leave its exit status for the waiting slurm.py."""
    jobs = Jobs(**json.loads(specification.read_text()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    process, log = start(jobs, job)
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        raise
    finish(log, status)
    target = specification.parent / f"status.{job}"
    target.with_suffix(f".{job}.tmp").write_text(str(status))
    target.with_suffix(f".{job}.tmp").replace(target)
    return abs(status)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
