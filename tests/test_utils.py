"""Running jobs here and on (a stand-in for) Slurm; option parsing; stamps."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from i2s.archive import write_ark

from .conftest import ROOT, alive, eventually, run

RUN, SLURM = ROOT / "utils" / "run.py", ROOT / "utils" / "slurm.py"

# Stands in for sbatch, squeue and scancel: runs the array here, one process a job, as the name it is called by says.
FAKE_SLURM = """#!{python}
import os, re, signal, subprocess, sys
from pathlib import Path
state = Path(__file__).resolve().parent / "state"
name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
if name == "sbatch":
    (state.parent / "sbatch.arguments").write_text("\\n".join(arguments))
    if any("forbidden" in a for a in arguments):
        sys.exit("sbatch: error: invalid partition specified: forbidden")
    first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", " ".join(arguments)).groups())
    pids = []
    for task in range(first, last + 1):
        pids.append(subprocess.Popen(
            [arguments[-1]], env={{**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
    state.write_text(" ".join(map(str, pids)))
    os.chmod(arguments[-1], 0o755)
    print("4711;here")
elif name == "squeue":
    running = [p for p in state.read_text().split() if Path("/proc", p).exists()]
    print("".join("4711 RUNNING\\n" for _ in running), end="")
else:
    with open(state.parent / "scancel.calls", "a") as f:
        f.write(" ".join(arguments) + "\\n")
    for pid in state.read_text().split():
        try:
            os.killpg(int(pid), signal.SIGTERM)
        except ProcessLookupError:
            pass
"""


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment in which slurm.py finds the stand-in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "sbatch"
    # sbatch runs a script by its first line, executable or not.
    text = FAKE_SLURM.replace("[arguments[-1]], env", "['bash', arguments[-1]], env")
    program.write_text(text.format(python=sys.executable))
    program.chmod(0o755)
    for name in ("squeue", "scancel"):
        (folder / name).symlink_to(program)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "I2S_SLURM_GRACE": "0.3"}


@pytest.fixture(params=["run", "slurm"])
def runner(request, slurm) -> tuple[Path, dict[str, str]]:
    return (RUN, {}) if request.param == "run" else (SLURM, slurm)


def test_each_job_has_its_number_and_log(runner, tmp_path):
    program, env = runner
    run(program, "JOB=2:4", "log/x.JOB.log", "sh", "-c", 'echo "job JOB: $0"', "a b; $HOME JOB", cwd=tmp_path, **env)
    for job in (2, 3, 4):
        lines = (tmp_path / "log" / f"x.{job}.log").read_text().splitlines()
        assert lines[0].startswith("# sh -c") and lines[1].startswith("# started")
        assert lines[2] == f"job {job}: a b; $HOME {job}"
        assert lines[3].startswith("# ended") and lines[3].endswith("with status 0")


def test_failed_jobs_are_shown(runner, tmp_path):
    program, env = runner
    script = "echo working; if [ JOB = 2 ]; then echo 'error: something is wrong' >&2; exit 3; fi"
    done = run(program, "JOB=1:3", "log/JOB.log", "bash", "-c", script, cwd=tmp_path, check=False, **env)
    assert done.returncode == 1
    assert "error: something is wrong" in done.stderr
    assert "1 of 3 jobs failed" in done.stderr and "whole log: log/2.log" in done.stderr
    assert "log/1.log" not in done.stderr.replace("log/JOB.log", "")
    assert (tmp_path / "log" / "2.log").read_text().endswith("with status 3\n")


def test_a_single_job_and_a_command_that_is_not_there(runner, tmp_path):
    program, env = runner
    run(program, "one.log", "touch", "made", cwd=tmp_path, **env)
    assert (tmp_path / "made").exists()
    done = run(program, "two.log", "no-such-command-here", cwd=tmp_path, check=False, **env)
    assert done.returncode == 1 and "no-such-command-here: No such file" in done.stderr


@pytest.mark.parametrize("program", [RUN, SLURM])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--wrong", "1", "x.log", "true"], "unknown option --wrong"),
        (["x.log"], "expected a log and a command"),
        (["JOB=3:2", "x.log", "true"], "expected a log and a command"),
        (["--mem"], "option --mem needs a value"),
    ],
)
def test_mistakes_on_the_command_line(program, words, message, tmp_path):
    done = run(program, *words, cwd=tmp_path, check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_not_more_than_so_many_at_once(tmp_path):
    script = "mkdir -p at/JOB; ls at | wc -l; sleep 0.2; rmdir at/JOB"
    run(RUN, "--max-jobs-run", "2", "JOB=1:6", "JOB.log", "bash", "-c", script, cwd=tmp_path)
    counts = [int((tmp_path / f"{job}.log").read_text().splitlines()[2]) for job in range(1, 7)]
    assert max(counts) == 2


def test_jobs_share_the_cores(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    subprocess.run([RUN, "JOB=1:64", "JOB.log", "sh", "-c", "echo $OMP_NUM_THREADS"], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "64.log").read_text().splitlines()[2] == "1"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_jobs_end_with_run_py(how, tmp_path):
    marker = f"marker{os.getpid()}{how.name}"
    code = "import pathlib, time; pathlib.Path('started.JOB').touch(); time.sleep(60)"
    process = subprocess.Popen(
        [RUN, "JOB=1:2", "JOB.log", sys.executable, "-c", code, marker],
        cwd=tmp_path,
        # A shell starts its background commands with SIGINT ignored, and the tests may be such a command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert eventually(lambda: len(list(tmp_path.glob("started.*"))) == 2)
    process.send_signal(how)
    assert process.wait(10) == {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[how]
    assert eventually(lambda: not alive(marker))


TQDM = """
import sys, time
from i2s.progress import track
for _ in track(range(int(sys.argv[1])), "learn"):
    time.sleep(0.02)
"""


def test_progress_of_the_slowest_job_is_shown(runner, tmp_path):
    program, env = runner
    code = "import sys; print(f'learn: {20 * JOB}%|###   | {20 * JOB}/100 [00:01<00:04]', flush=True); input"
    code += "; import time; time.sleep(1.5)"
    env = {**env, "I2S_PROGRESS_SECONDS": "0.4"}
    done = run(program, "JOB=1:3", "JOB.log", sys.executable, "-c", code, cwd=tmp_path, **env)
    assert "0 of 3 jobs done; learn: 20%|###   | 20/100 [00:01<00:04]" in done.stderr


def test_progress_is_redrawn_on_a_terminal(tmp_path):
    master, slave = pty.openpty()
    code = "import sys, time; print('learn: 40%|##   | 2/5 [00:01<00:04]', flush=True); time.sleep(2.6)"
    process = subprocess.Popen([RUN, "x.log", sys.executable, "-c", code], cwd=tmp_path, stderr=slave)
    assert process.wait(20) == 0
    os.close(slave)
    shown = os.read(master, 10000).decode()
    os.close(master)
    assert "\r  learn: 40%|##   | 2/5" in shown and "\n" not in shown


def test_progress_lines_of_this_project_are_recognised(tmp_path):
    run(RUN, "x.log", sys.executable, "-c", TQDM, "5", cwd=tmp_path)
    sys.path.insert(0, str(ROOT / "utils"))
    try:
        from jobs import last_progress  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(ROOT / "utils"))
    assert "learn: 100%|" in last_progress(tmp_path / "x.log")
    assert last_progress(tmp_path / "none.log") == ""


def test_slurm_options(slurm, tmp_path):
    options = ["--partition=gpu", "--gpu", "2", "--mem", "8G", "--max-jobs-run", "3", "--account=me"]
    run(SLURM, *options, "JOB=1:9", "log/x.JOB.log", "true", cwd=tmp_path, **slurm)
    arguments = (tmp_path / "bin" / "sbatch.arguments").read_text().splitlines()
    for wanted in ("--partition=gpu", "--gpus=2", "--mem=8G", "--array=1-9%3", "--account=me", f"--chdir={tmp_path}"):
        assert wanted in arguments
    assert "--time=" not in " ".join(arguments)
    done = run(SLURM, "--partition=forbidden", "x.log", "true", cwd=tmp_path, check=False, **slurm)
    assert done.returncode == 1 and "sbatch refused the jobs: sbatch: error: invalid partition" in done.stderr


def test_slurm_without_slurm(tmp_path):
    done = run(SLURM, "x.log", "true", cwd=tmp_path, check=False, I2S_SBATCH="/nowhere/sbatch")
    assert done.returncode == 1 and "no sbatch here" in done.stderr


def test_jobs_that_slurm_kills_are_noticed(slurm, tmp_path):
    script = "[ JOB = 1 ] || kill -9 $PPID; echo here"
    done = run(SLURM, "JOB=1:2", "log/JOB.log", "bash", "-c", script, cwd=tmp_path, check=False, **slurm)
    assert done.returncode == 1 and "ended without a status of jobs [2]" in done.stderr


def test_stopping_slurm_py_cancels_its_array(slurm, tmp_path):
    marker = f"marker{os.getpid()}slurm"
    code = "import pathlib, time; pathlib.Path('started').touch(); time.sleep(60)"
    command = [SLURM, "x.log", sys.executable, "-c", code, marker]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **slurm})
    assert eventually((tmp_path / "started").exists)
    process.terminate()
    assert process.wait(10) == 143
    assert eventually(lambda: not alive(marker))
    # Killed outright it cannot; then the next one with the same log does.
    (tmp_path / "started").unlink()
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **slurm})
    assert eventually((tmp_path / "started").exists)
    process.kill()
    process.wait()
    assert alive(marker)
    run(SLURM, "x.log", "true", cwd=tmp_path, **slurm)
    assert eventually(lambda: not alive(marker))
    assert (tmp_path / "bin" / "scancel.calls").read_text() == "4711\n4711\n"


def options(tmp_path: Path, *words: str) -> subprocess.CompletedProcess:
    script = tmp_path / "script.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\nnum_jobs=1\nname=\nhelp_message='Usage: script'\n"
        f'. "{ROOT}/utils/parse_options.sh"\nprintf "%s|" "$num_jobs" "$name" "$@"\n'
    )
    return run("bash", script, *words, check=False)


def test_options_become_variables(tmp_path):
    assert options(tmp_path).stdout == "1||"
    done = options(tmp_path, "--num-jobs", "3", "--name=a=b c", "rest", "--num-jobs", "4")
    assert done.stdout == "3|a=b c|rest|--num-jobs|4|"
    assert options(tmp_path, "--name", "$(touch evil); `x`", "--", "--rest").stdout == "1|$(touch evil); `x`|--rest|"
    assert options(tmp_path, "--help").stdout == "Usage: script\n"


@pytest.mark.parametrize(
    "words", [["--unknown", "1"], ["--num_jobs", "1"], ["--num-jobs"], ["--Path", "x"], ["--a;b", "x"]]
)
def test_unknown_options_are_refused(tmp_path, words):
    done = options(tmp_path, *words)
    assert done.returncode == 2 and done.stdout == ""
    assert "unknown option" in done.stderr or "needs a value" in done.stderr


def test_stamps(tmp_path):
    (tmp_path / "input").write_text("1")
    script = tmp_path / "step.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        f'. "{ROOT}/utils/stamp.sh"\n'
        'stamp_set dir/.done "size=$1" input\n'
        "stamp_holds output && exit 0\n"
        'if stamp_begin "nj=${nj:-1}"; then echo go on; else echo afresh; fi\n'
        '[ "${2:-}" = fail ] && exit 1\ntouch output\nstamp_end\n'
    )

    def step(*words: str, **env: str) -> str:
        return run("bash", script, *words, cwd=tmp_path, check=False, **env).stdout.strip()

    assert step("1", "fail") == "afresh"
    assert step("1", "fail") == "go on"
    assert step("1", "fail", nj="2") == "afresh"
    assert step("1", nj="2") == "go on"
    assert step("1") == ""
    assert step("2") == "afresh"
    (tmp_path / "input").write_text("2")
    assert step("2") == "afresh"
    (tmp_path / "output").unlink()
    assert step("2") == "afresh"
    assert step("2") == ""


def test_matrices_written_anew_are_new_inputs_though_their_table_is_as_it_was(tmp_path):
    script = tmp_path / "step.sh"
    script.write_text(
        f'set -euo pipefail\n. "{ROOT}/utils/stamp.sh"\n'
        "stamp_set .done '' my.scp\nstamp_holds && exit 0\nstamp_begin || echo afresh\nstamp_end\n"
    )

    def extract(value: float) -> None:
        with write_ark(tmp_path / "my feats.ark", tmp_path / "my.scp") as write:
            write("a", np.full((2, 3), value, np.float32))
            write("b", np.full((4, 3), value, np.float32))

    def step() -> str:
        return run("bash", script, cwd=tmp_path, check=False).stdout.strip()

    extract(1)
    assert (step(), step()) == ("afresh", "")
    before = (tmp_path / "my.scp").read_bytes()
    extract(2)
    assert (tmp_path / "my.scp").read_bytes() == before
    assert (step(), step()) == ("afresh", "")


def test_a_folder_that_what_a_killed_step_left_running_is_at_work_in_is_refused(tmp_path):
    script = tmp_path / "step.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        f'. "{ROOT}/utils/stamp.sh"\n'
        "stamp_set dir/.done size=1\nstamp_begin || true\n"
        '"$@"\nstamp_end\n'
    )
    step = subprocess.Popen(
        ["bash", script, "bash", "-c", "echo $$ >pid.new && mv pid.new pid; exec sleep 100"], cwd=tmp_path
    )
    while not (tmp_path / "pid").exists():
        assert step.poll() is None
        time.sleep(0.02)
    step.kill()
    step.wait()
    refused = run("bash", script, "true", cwd=tmp_path, check=False)
    assert refused.returncode == 1 and "another process is at work in dir; wait for it, or stop it" in refused.stderr
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    run("bash", script, "true", cwd=tmp_path)
    assert (tmp_path / "dir/.done").exists() and not (tmp_path / "dir/.done.begun").exists()


def test_a_disk_too_small_for_the_environment_is_told_at_once(tmp_path: Path) -> None:
    project, tools = tmp_path / "my project", tmp_path / "tools"
    project.mkdir(), tools.mkdir()
    for name in ("path.sh", "requirements.txt", "constraints.txt"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    (tools / "df").write_text("#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\nx 0 0 4200000 1%% /\\n'\n")
    (tools / "df").chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run("bash", "-c", ". ./path.sh", cwd=project, check=False, PATH=path, PYTHON=sys.executable, I2S_VENV="")
    assert done.returncode == 1
    assert "takes 10 GB of disk" in done.stderr and f"{project} has 4 GB left" in done.stderr
    assert not (project / ".venv").exists()
