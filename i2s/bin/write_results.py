"""Write a recipe's RESULTS.md from a finished run: command, commit, hash of the configuration, machine, duration of
each stage, then the tables of its scores.

SPLIT_DIR is exp/<system>/<split>; run.sh noted its stages in exp/stages.tsv. Of a stage that ran more than once the
longest run counts, as the others found its work done.
"""

from __future__ import annotations

from pathlib import Path

from i2s.cli import parser, run
from i2s.files import read_json, write_text
from i2s.score.provenance import config_hash, machine, read_stages
from i2s.score.results import markdown


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


if __name__ == "__main__":
    run(main)
