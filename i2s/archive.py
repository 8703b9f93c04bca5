"""Matrices in Kaldi archives (kaldiio): written in a stream, read one at a time by key."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import kaldiio
import numpy as np
from kaldiio.compression_header import kTwoByteAuto

from i2s.corpus.tables import iter_table, write_table
from i2s.errors import UserError
from i2s.files import atomic_path

_HEADER = 24  # bytes of the longest header up to the number of columns


class ArkWriter:
    """Collects what `write_ark` yields: call it with (key, float32 matrix)."""

    def __init__(self, file: BinaryIO, ark: Path, compress: bool):
        self._file, self._ark = file, ark
        # Kaldi's 16-bit compression: 65536 even steps from a matrix's least to its greatest value.
        self._method = kTwoByteAuto if compress else None
        self.rows: dict[str, str] = {}

    def __call__(self, key: str, matrix: np.ndarray) -> None:
        prefix = f"{key} ".encode()
        self.rows[key] = f"{self._ark}:{self._file.tell() + len(prefix)}"
        kaldiio.save_ark(self._file, {key: np.ascontiguousarray(matrix, np.float32)}, compression_method=self._method)


@contextmanager
def write_ark(ark: str | Path, scp: str | Path, compress: bool = False) -> Iterator[ArkWriter]:
    """Stream matrices into `ark`, then write its `scp` (`key ark:offset`); neither appears half-written.

    The scp names the archive as given: recipes pass paths relative to the recipe folder, as Kaldi does.
    `compress`: 16 bits a value instead of 32; every Kaldi reader opens that too.
    """
    ark = Path(ark)
    with atomic_path(ark) as tmp, tmp.open("wb") as f:
        writer = ArkWriter(f, ark, compress)
        yield writer
    write_table(scp, writer.rows)


class Matrices(Mapping[str, np.ndarray]):
    """The matrices of an scp file, loaded from disk at each access, in the table's order."""

    def __init__(self, scp: str | Path):
        self.scp = Path(scp)
        self._rows = dict(iter_table(scp))

    def __getitem__(self, key: str) -> np.ndarray:
        with self._at(key) as f:
            return kaldiio.matio.read_kaldi(f)

    def rows(self, key: str) -> int:
        """The number of rows of a matrix, read from its header alone."""
        with self._at(key) as f:
            header = f.read(_HEADER)
            kind = header[2:].partition(b" ")[0]
            if kind in (b"FM", b"DM"):  # \0B, kind and a space; then each size after a byte that tells its own
                return int(struct.unpack_from("<i", header, 6)[0])
            if kind in (b"CM", b"CM2", b"CM3"):  # compressed: least value and range come before the sizes
                return int(struct.unpack_from("<i", header, len(kind) + 11)[0])
            raise ValueError("no matrix at this place")

    @contextmanager
    def _at(self, key: str) -> Iterator[BinaryIO]:
        """The archive, opened where the matrix begins. Raises UserError for whatever is wrong with it."""
        if key not in self._rows:
            raise UserError(f"{self.scp}: has no entry for {key}")
        path, _, offset = self._rows[key].rpartition(":")
        try:
            with Path(path).open("rb") as f:
                f.seek(int(offset))
                # kaldiio would run an entry that is a command, and unpickle one that says so: matrices alone are read.
                if f.peek(2)[:2] != b"\0B":
                    raise ValueError("no matrix in Kaldi's binary format at this place")
                yield f
        except (OSError, ValueError, EOFError, AssertionError, struct.error) as e:
            raise UserError(f"{self.scp}: {key}: cannot read {self._rows[key]}: {e}; run its stage again") from e

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows
