"""Run every row of a table of variants, one after the other, and write their scores side by side: `run.sh --ablation`.

Each row is the recipe itself with the row's options and tag, so that data, features and units are shared and what is
finished is not done again: the same command goes on where it was killed. OUT_DIR/SPLIT.md is written anew after each
row. A row that fails does not keep the others from running; the exit status is then 1. What each row says goes to
OUT_DIR/log/.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from i2s.cli import parser, run
from i2s.errors import UserError
from i2s.files import read_json, write_text
from i2s.score.ablation import given_options, markdown, read_ablation, row_options
from i2s.score.provenance import config_hash, machine, read_stages

log = logging.getLogger(__name__)
_SHOWN = 10  # lines of a failed row's log
_OWN = 6  # the first stage that rows may have of their own: units


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--command", required=True, help="as the user typed it; with a row's options it is that row's")
    options.add_argument("--split", required=True)
    options.add_argument("--exp", type=Path, required=True, metavar="DIR", help="where the recipe notes its stages")
    options.add_argument("table", type=Path, metavar="TABLE_YAML")
    options.add_argument("out", type=Path, metavar="OUT_DIR")
    options.add_argument("recipe", nargs="+", metavar="RECIPE", help="the recipe's script and the options given to it")
    args = options.parse_args()
    script, *given = args.recipe
    table = read_ablation(args.table)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) != signal.SIG_IGN:  # (nohup)
            signal.signal(ending, lambda number, _: sys.exit(128 + number))  # so that the row is stopped on the way out

    results: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    minutes: dict[str, float] = {}
    commits: dict[str, None] = {}
    configurations: list[str] = []
    report = args.out / f"{args.split}.md"
    for number, row in enumerate(table.rows, 1):
        own = {"ablation": "", "split": args.split, **row_options(table, row, given_options(given))}
        words = [word for name, value in own.items() for word in (f"--{name}", value)]
        command = f"{args.command.strip()} {shlex.join(words)}"
        output = args.out / "log" / f"{args.split}{row.tag}.log"
        log.info("row %d of %d: %s; log: %s", number, len(table.rows), row.name, output)
        status = run_recipe([script, *given, *words], command, output)
        found = system_of(args.exp / "stages.tsv", command) / args.split / "results.json"
        if status == 0 and found.is_file():
            results[row.tag] = read_json(found)
            system = found.parent.parent
            stages = [s for s in read_stages(args.exp / "stages.tsv", system.name, shared=0) if s[0] >= _OWN]
            minutes[row.tag] = sum(seconds for _, seconds, _, _ in stages) / 60
            commits.update(dict.fromkeys(commit for _, _, commit, _ in stages))
            configurations.append(config_hash(system))
        else:
            failed[row.tag] = str(output)
            end = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
            why = f"status {status}" if status else "it ended without scores (stage 10)"
            log.error("%s: %s; the end of %s:\n%s", row.name, why, output, "\n".join(end))
        made = [
            f"Command: `{args.command.strip()}`  ",
            f"Commit: {', '.join(commits)}  ",
            f"Configurations: {', '.join(configurations)} (SHA-256, a row each)  ",
            f"Machine: {machine()}",
        ]
        write_text(report, markdown(table, args.split, results, failed, minutes, made))

    print(report.read_text(encoding="utf-8"))
    if failed:
        raise UserError(f"{len(failed)} of {len(table.rows)} rows failed: see {', '.join(failed.values())}")
    log.info("the table: %s", report)


def run_recipe(words: list[str], command: str, output: Path) -> int:
    """The exit status of the recipe, which notes `command` as its own. All that it prints goes to `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "recipe_command": command},
            start_new_session=True,  # so that what the recipe started is stopped with it
        )
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


def system_of(stages: Path, command: str) -> Path:
    """The folder of the system that `command` made, by what run.sh noted last; one that is not there if nothing is."""
    lines = stages.read_text(encoding="utf-8").splitlines() if stages.is_file() else []
    fields = [line.split("\t") for line in lines]
    return next((Path(f[4]) for f in reversed(fields) if len(f) == 7 and f[6].strip() == command), Path("none"))


if __name__ == "__main__":
    run(main)
