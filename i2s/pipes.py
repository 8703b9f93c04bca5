"""Kaldi's pipes in wav.scp: `utterance command ... |` means the wav that the command writes. Run without a shell."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from itertools import groupby

from i2s.errors import UserError


def pipe_output(entry: str) -> bytes:
    """The bytes that the pipe `entry` ("sox a.wav -t wav - |", or several commands joined by |) writes.

    No shell reads it: quotes work as usual, but $, ;, > and the like are ordinary characters.
    Raises UserError if it is not well formed, a program is missing or one fails.
    """
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryFile() as errors:
        try:
            for words in _commands(entry):
                stdin = processes[-1].stdout if processes else subprocess.DEVNULL
                processes.append(subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, stderr=errors))
                if len(processes) > 1 and (before := processes[-2].stdout):
                    before.close()  # the next command holds it now
            output, _ = processes[-1].communicate()
        except OSError as e:
            raise UserError(f"pipe {entry!r}: cannot run {e.filename}: {e.strerror}") from e
        finally:
            for process in processes[:-1]:
                process.terminate() if processes[-1].poll() is None else process.wait()
        if any(process.wait() for process in processes):
            errors.seek(0)
            said = errors.read()[-300:].decode(errors="replace").strip()
            raise UserError(f"pipe {entry!r} failed{': ' + said if said else ''}")
    return output


def _commands(entry: str) -> list[list[str]]:
    try:
        lexer = shlex.shlex(entry.rstrip().removesuffix("|"), posix=True, punctuation_chars="|")
        lexer.whitespace_split, lexer.commenters = True, ""
        words = list(lexer)
    except ValueError as e:
        raise UserError(f"pipe {entry!r}: {e}") from e
    groups = [(is_bar, list(group)) for is_bar, group in groupby(words, key=lambda word: set(word) == {"|"})]
    commands = [group for is_bar, group in groups if not is_bar]
    if len(groups) != 2 * len(commands) - 1 or any(is_bar and group != ["|"] for is_bar, group in groups):
        raise UserError(f"pipe {entry!r}: expected 'command |' or 'command | command |'")
    return commands
