"""Unpacking zip and tar archives from elsewhere: nothing may land outside the folder, and not more than allowed."""

from __future__ import annotations

import logging
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from i2s.errors import UserError
from i2s.files import atomic_dir, write_text
from i2s.progress import track

log = logging.getLogger(__name__)

STAMP = ".unpacked"
BLOCK = 1 << 20


def unpack(archive: str | Path, folder: str | Path, *, holds: Sequence[str] = (), max_bytes: int = 100 << 30) -> Path:
    """Unpack a zip or tar (plain, gz, bz2, xz) archive into `folder`, which appears whole or not at all.

    `holds`: patterns (`*.jpg`, matched against file names without their folders) that must each have a file. An
    archive that was unpacked there already is skipped. macOS resource forks (`__MACOSX/`, `._*`) are left out.

    Raises UserError for: no archive, a damaged one, one without what it must hold, members with absolute names, with
    `..`, links and devices, more than `max_bytes` in all or than the disk has room for.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise UserError(f"{archive}: no such archive")
    status = archive.stat()
    mark = f"{archive.name} {status.st_size} {status.st_mtime_ns}\n"
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
        log.info("%s: unpacked already", folder)
        return folder
    for leftover in folder.parent.glob(f".{folder.name}.tmp*"):  # of a killed run; may be gigabytes
        shutil.rmtree(leftover, ignore_errors=True)
    with atomic_dir(folder) as tmp:
        names = [name for name, _ in _extract(archive, tmp, max_bytes)]
        for pattern in holds:
            if not any(fnmatchcase(PurePosixPath(name).name, pattern) for name in names):
                raise UserError(f"{archive}: holds no {pattern}; is it the right archive?")
        write_text(tmp / STAMP, mark)
    log.info("%s: %d files from %s", folder, len(names), archive)
    return folder


def _extract(archive: Path, folder: Path, max_bytes: int) -> list[tuple[str, int]]:
    """Write every member below `folder`; returns (name, size) of each."""
    try:
        if zipfile.is_zipfile(archive):
            return _extract_zip(archive, folder, max_bytes)
        if tarfile.is_tarfile(archive):
            return _extract_tar(archive, folder, max_bytes)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError) as e:
        raise UserError(f"{archive}: damaged archive: {e}; fetch it again") from e
    raise UserError(f"{archive}: not a zip or tar archive, or cut short; fetch it again")


def _extract_zip(archive: Path, folder: Path, max_bytes: int) -> list[tuple[str, int]]:
    with zipfile.ZipFile(archive) as z:
        members = [m for m in z.infolist() if not m.is_dir() and not _is_resource_fork(m.filename)]
        for member in members:
            mode = member.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise UserError(f"{archive}: {member.filename!r} is a link or device; not unpacked")
        sizes = [(member.filename, member.file_size) for member in members]
        _check(archive, folder, sizes, max_bytes)
        # zipfile itself reads no more than the stated size of a member, and checks its CRC.
        for member in track(members, f"unpack {archive.name}", unit="file"):
            with z.open(member) as source:
                _write(source, _inside(archive, folder, member.filename))
    return sizes


def _extract_tar(archive: Path, folder: Path, max_bytes: int) -> list[tuple[str, int]]:
    with tarfile.open(archive) as t:
        members = [m for m in t if not m.isdir() and not _is_resource_fork(m.name)]
        for member in members:
            if not member.isreg():
                raise UserError(f"{archive}: {member.name!r} is a link or device; not unpacked")
        sizes = [(member.name, member.size) for member in members]
        _check(archive, folder, sizes, max_bytes)
        for member in track(members, f"unpack {archive.name}", unit="file"):
            source = t.extractfile(member)
            assert source is not None  # a regular file
            with source:
                _write(source, _inside(archive, folder, member.name))
    return sizes


def _check(archive: Path, folder: Path, sizes: list[tuple[str, int]], max_bytes: int) -> None:
    """All members at once, before the first is written."""
    for name, _ in sizes:
        _inside(archive, folder, name)
    total = sum(size for _, size in sizes)
    if total > max_bytes:
        raise UserError(f"{archive}: would unpack to {_gigabytes(total)}, more than {_gigabytes(max_bytes)}")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(f"{archive}: needs {_gigabytes(total)} in {folder.parent}, where {_gigabytes(free)} are free")


def _inside(archive: Path, folder: Path, name: str) -> Path:
    """Where a member goes; UserError for a name that could lead elsewhere, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not posix.parts or posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise UserError(f"{archive}: {name!r} would land outside of its folder; not unpacked")
    return folder / posix


def _write(source: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as f:
        for block in _blocks(source):
            f.write(block)


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(BLOCK):
        yield block


def _is_resource_fork(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and (parts[0] == "__MACOSX" or parts[-1].startswith("._"))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
