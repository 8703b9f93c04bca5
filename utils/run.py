#!/usr/bin/env python3
"""Run a job, or an array of jobs side by side, on this machine. Called as Kaldi's run.pl is.

    run.py [--max-jobs-run N] [--gpu N] [--mem M] [--time T] [JOB=1:NJ] LOG COMMAND [ARGUMENT...]

JOB in LOG and in the arguments becomes the job's number. Each job's output goes to its log, which begins with the
command and ends with the exit status. Jobs that fail are shown with the end of their log; the exit status is then 1.
--gpu, --mem and --time are for clusters and do nothing here.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main() -> int:
    options, variable, jobs, log, command = parse(sys.argv[1:])
    cores = len(os.sched_getaffinity(0))
    slots = min(len(jobs), int(options.get("max-jobs-run", cores)))
    # Jobs share the cores: without this, each of them would start as many threads as there are cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // max(1, slots))))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # lets the children be stopped below
    children: list[subprocess.Popen] = []

    def run(job: int) -> bool:
        path = Path(substitute(log, variable, job))
        arguments = [substitute(word, variable, job) for word in command]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as f:
            f.write(f"# {shlex.join(arguments)}\n# started {time.strftime('%F %T')}\n")
            f.flush()
            child = subprocess.Popen(arguments, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            children.append(child)
            status = child.wait()
            f.write(f"# ended {time.strftime('%F %T')} with status {status}\n")
        return status == 0

    try:
        with ThreadPoolExecutor(max(1, slots)) as pool:
            done = list(pool.map(run, jobs))
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
    failed = [job for job, ok in zip(jobs, done, strict=True) if not ok]
    for job in failed[:3]:
        path = Path(substitute(log, variable, job))
        tail = path.read_text(errors="replace").splitlines()[-12:]
        print("\n".join(["run.py: this job failed:", *("  " + line for line in tail)]), file=sys.stderr)
        print(f"run.py: whole log: {path}", file=sys.stderr)
    if failed:
        print(f"run.py: {len(failed)} of {len(jobs)} jobs failed", file=sys.stderr)
    return 1 if failed else 0


def parse(words: list[str]) -> tuple[dict[str, str], str | None, list[int], str, list[str]]:
    """Split the command line into options, the array's variable and numbers, the log's path and the command."""
    options: dict[str, str] = {}
    while words and words[0].startswith("--"):
        name = words.pop(0)[2:]
        if name not in ("max-jobs-run", "gpu", "mem", "time", "num-threads") or not words:
            sys.exit(f"run.py: error: unknown option --{name}\n{__doc__}")
        options[name] = words.pop(0)
    variable, jobs = None, [1]
    if words and (match := re.fullmatch(r"([A-Za-z_]+)=(\d+)(?::(\d+))?", words[0])):
        variable, first, last = match[1], int(match[2]), int(match[3] or match[2])
        jobs = list(range(first, last + 1))
        words.pop(0)
    if len(words) < 2 or not jobs:
        sys.exit(f"run.py: error: expected a log and a command\n{__doc__}")
    return options, variable, jobs, words[0], words[1:]


def substitute(text: str, variable: str | None, job: int) -> str:
    return text.replace(variable, str(job)) if variable else text


if __name__ == "__main__":
    sys.exit(main())
