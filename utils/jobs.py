"""What run.py and slurm.py share: the command line of Kaldi's run.pl, logs, progress, and the report of failures."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PROGRESS = re.compile(r"\d+%\||\[\d+:\d\d[<,]")  # a line of tqdm's
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Jobs:
    """An array of jobs: `variable` in the log's path and in the words of the command becomes the job's number."""

    variable: str | None
    numbers: list[int]
    log_pattern: str
    words: list[str]

    def log(self, job: int) -> Path:
        return Path(self._substitute(self.log_pattern, job))

    def command(self, job: int) -> list[str]:
        return [self._substitute(word, job) for word in self.words]

    def _substitute(self, text: str, job: int) -> str:
        return text.replace(self.variable, str(job)) if self.variable else text


def parse(words: list[str], options: dict[str, str], usage: str, pass_on: bool = False) -> Jobs:
    """Split a command line into options (put into `options`, the known ones with their defaults) and the jobs.

    With `pass_on`, unknown options of the form --name=value are taken too. Leaves the program on a mistake.
    """
    words = list(words)
    program = Path(sys.argv[0]).name
    while words and words[0].startswith("--"):
        word = words.pop(0)
        name, equals, value = word[2:].partition("=")
        if word in ("--help", "-h"):
            print(usage)
            sys.exit(0)
        if name not in options and not (pass_on and equals):
            sys.exit(f"{program}: error: unknown option --{name}\n{usage}")
        if not equals:
            if not words:
                sys.exit(f"{program}: error: option --{name} needs a value")
            value = words.pop(0)
        options[name] = value
    variable, numbers = None, [1]
    if words and (match := re.fullmatch(r"([A-Za-z_]+)=(\d+)(?::(\d+))?", words[0])):
        variable, first, last = match[1], int(match[2]), int(match[3] or match[2])
        numbers = list(range(first, last + 1))
        words.pop(0)
    if len(words) < 2 or not numbers:
        sys.exit(f"{program}: error: expected a log and a command\n{usage}")
    return Jobs(variable, numbers, words[0], words[1:])


def start(jobs: Jobs, job: int) -> tuple[subprocess.Popen, IO[str]]:
    """Start one job with its output going to its log; returns the process and the log, open."""
    path, command = jobs.log(job), jobs.command(job)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("w", encoding="utf-8")
    log.write(f"# {shlex.join(command)}\n# started {time.strftime('%F %T')}\n")
    log.flush()
    try:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent
        )
    except OSError as e:
        log.write(f"{command[0]}: {e.strerror}\n")
        process = subprocess.Popen(["false"])
    return process, log


def finish(log: IO[str], status: int) -> None:
    """Close the log of a job that ended."""
    log.seek(0, os.SEEK_END)
    ending = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    log.write(f"# ended {time.strftime('%F %T')} with {ending}\n")
    log.close()


def _die_with_parent() -> None:
    """A job is stopped when the program that started it goes, even by SIGKILL (Linux; harmless elsewhere)."""
    if sys.platform == "linux":
        _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Progress:
    """Shows how far the slowest unfinished job is, from its log: a redrawn line on a terminal, else now and then."""

    def __init__(self, jobs: Jobs, stream: IO[str] = sys.stderr):
        self.jobs, self.stream = jobs, stream
        self.terminal = stream.isatty()
        self.every = 2.0 if self.terminal else float(os.environ.get("I2S_PROGRESS_SECONDS", "15"))
        self.next = time.monotonic() + self.every
        self.drawn = False
        self.last = ""

    def show(self, unfinished: list[int]) -> None:
        """Call often; shows something when it is time."""
        if time.monotonic() < self.next or not unfinished:
            return
        self.next = time.monotonic() + self.every
        lines = [line for line in (last_progress(self.jobs.log(job)) for job in unfinished) if line]
        slowest = min(lines, key=_percent, default="")
        count = len(self.jobs.numbers)
        text = f"{count - len(unfinished)} of {count} jobs done; " if count > 1 else ""
        text = f"  {text}{slowest}".rstrip("; ")
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r{text[:width]:<{width}}")
            self.drawn = True
        elif slowest and text != self.last:
            self.stream.write(text + "\n")
        self.last = text
        self.stream.flush()

    def close(self) -> None:
        if self.drawn:
            self.stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self.stream.flush()


def last_progress(log: Path) -> str:
    """The last line of a progress bar near the end of a log, or ""."""
    try:
        with log.open("rb") as f:
            f.seek(max(0, log.stat().st_size - 8192))
            tail = f.read().decode(errors="replace")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(re.split(r"[\r\n]", tail)) if _PROGRESS.search(line)), "")


def _percent(line: str) -> float:
    match = re.search(r"(\d+)%\|", line)
    return float(match[1]) if match else 0.0


def report(jobs: Jobs, failed: list[int]) -> int:
    """Show the ends of the logs of up to three failed jobs; returns the exit status of the program."""
    program = Path(sys.argv[0]).name
    for job in failed[:3]:
        path = jobs.log(job)
        tail = path.read_text(errors="replace").splitlines()[-12:] if path.is_file() else ["(no log: never started)"]
        print("\n".join([f"{program}: this job failed:", *("  " + line for line in tail)]), file=sys.stderr)
        print(f"{program}: whole log: {path}", file=sys.stderr)
    if failed:
        print(f"{program}: {len(failed)} of {len(jobs.numbers)} jobs failed", file=sys.stderr)
    return 1 if failed else 0
