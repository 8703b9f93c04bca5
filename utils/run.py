#!/usr/bin/env python3
"""Run a job, or an array of jobs side by side, on this machine. Called as Kaldi's run.pl is.

    run.py [--max-jobs-run N] [--gpu N] [--mem M] [--time T] [--num-threads N] [JOB=1:NJ] LOG COMMAND [ARGUMENT...]

JOB in LOG and in the arguments becomes the job's number. Each job's output goes to its log, which begins with the
command and ends with the exit status. While they run, the progress of the slowest job is shown. Jobs that fail are
shown with the end of their log; the exit status is then 1. Jobs end when run.py does, however it ends.
--gpu, --mem, --time and --num-threads are for clusters and do nothing here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import IO

from jobs import Jobs, Progress, finish, parse, report, start


def main() -> int:
    cores = len(os.sched_getaffinity(0))
    options = {"max-jobs-run": str(cores), "gpu": "0", "mem": "", "time": "", "num-threads": "1"}
    jobs = parse(sys.argv[1:], options, __doc__)
    slots = max(1, min(len(jobs.numbers), int(options["max-jobs-run"])))
    # Jobs share the cores: without this, each of them would start as many threads as there are cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // slots)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the jobs are stopped on the way out
    return report(jobs, run(jobs, slots))


def run(jobs: Jobs, slots: int) -> list[int]:
    """Run all jobs, `slots` at a time; returns those that failed."""
    waiting = list(jobs.numbers)
    running: dict[int, tuple[subprocess.Popen, IO[str]]] = {}
    failed = []
    progress = Progress(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                job = waiting.pop(0)
                running[job] = start(jobs, job)
            for job, (process, log) in list(running.items()):
                status = process.poll()
                if status is not None:
                    finish(log, status)
                    del running[job]
                    if status:
                        failed.append(job)
            progress.show(sorted([*running, *waiting]))
            time.sleep(0.02)
    finally:
        progress.close()
        stop([process for process, _ in running.values()])
    return sorted(failed)


def stop(processes: list[subprocess.Popen], patience: float = 5.0) -> None:
    """End jobs: ask first, then insist."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + patience
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, end - time.monotonic()))
        process.kill()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
