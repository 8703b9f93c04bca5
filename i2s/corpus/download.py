"""Downloads that go on where they stopped, are checked before they get their name, and try mirrors in turn."""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from i2s.errors import UserError
from i2s.progress import track

log = logging.getLogger(__name__)

BLOCK = 1 << 18
MEGABYTE = 1_000_000
LONGEST_WAIT = 60.0  # seconds between two tries


class _Refused(Exception):
    """This mirror will not give the file, however often it is asked."""


class _Interrupted(Exception):
    """A fault that may pass: ask again, from where the transfer stopped."""


def download(
    urls: Sequence[str],
    target: str | Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    tries: int = 5,
    wait: float = 1.0,
    timeout: float = 30.0,
) -> Path:
    """Fetch `target` from the first of `urls` that gives it whole; what is there and fits is kept.

    `size` in bytes and `checksum` ("sha256:HEX" or "md5:HEX") are checked before the file gets its name. A transfer
    that stops goes on from there (HTTP Range), also in a later run. A mirror is asked `tries` times in a row without
    progress, after `wait`, 2 `wait`, 4 `wait` ... seconds; `timeout` is for one silent moment of the connection.
    Raises UserError saying what went wrong with each mirror.
    """
    target = Path(target)
    parse_checksum(checksum)
    if target.is_file():
        fault = _fault(target, size, checksum)
        if fault is None:
            log.info("%s: there already", target)
            return target
        log.warning("%s: %s; downloading it again", target, fault)
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    faults = []
    for url in urls:
        try:
            _from_mirror(url, part, size, checksum, tries, wait, timeout)
        except _Refused as e:
            faults.append(f"{url}: {e}")
            log.warning("%s", faults[-1])
        else:
            part.replace(target)
            return target
    raise UserError(
        "\n  ".join([f"{target}: could not be downloaded:", *faults])
        + f"\n  run again to go on, or fetch the file by other means and put it at {target}"
    )


def parse_checksum(checksum: str | None) -> tuple[str, str] | None:
    """ "sha256:HEX" as ("sha256", "hex"). Raises UserError for anything that is not a sha256 or md5."""
    if checksum is None:
        return None
    kind, _, digest = checksum.lower().partition(":")
    lengths = {"sha256": 64, "md5": 32}
    if len(digest) != lengths.get(kind) or set(digest) - set("0123456789abcdef"):
        raise UserError(f"checksum {checksum!r}: expected sha256:HEX (64 digits) or md5:HEX (32 digits)")
    return kind, digest


def _fault(path: Path, size: int | None, checksum: str | None) -> str | None:
    """What is wrong with a whole file, or None."""
    actual = path.stat().st_size
    if size is not None and actual != size:
        return f"has {actual} bytes instead of {size}"
    wanted = parse_checksum(checksum)
    if wanted:
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, wanted[0]).hexdigest()
        if digest != wanted[1]:
            return f"wrong {wanted[0]}: {digest} instead of {wanted[1]}"
    return None


def _from_mirror(
    url: str, part: Path, size: int | None, checksum: str | None, tries: int, wait: float, timeout: float
) -> None:
    """Fill `part` from one mirror and check it. Raises _Refused."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise _Refused("not an http or https address")
    failures = 0
    while True:
        # Bytes that an earlier run left are only worth keeping if the end result can be checked.
        resume = failures > 0 or size is not None or checksum is not None
        have = part.stat().st_size if part.exists() and resume else 0
        try:
            _transfer(url, part, have, size, timeout)
            break
        except _Interrupted as e:
            progress = part.exists() and part.stat().st_size > have
            failures = 1 if progress else failures + 1
            if failures >= tries:
                raise _Refused(f"{e} ({tries} tries)") from e
            pause = min(LONGEST_WAIT, wait * 2 ** (failures - 1))
            log.warning("%s: %s; trying again in %.0f s", url, e, pause)
            time.sleep(pause)
    fault = _fault(part, size, checksum)
    if fault:
        part.unlink()
        raise _Refused(fault)


def _transfer(url: str, part: Path, have: int, size: int | None, timeout: float) -> None:
    """One request: append what is missing after `have` bytes to `part`. Raises _Interrupted or _Refused."""
    if size is not None and have == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "i2s", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if response.status != 206:
                have = 0  # the server sends everything: start over
            elif not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                raise _Refused(f"sent another part than asked for: {response.headers.get('Content-Range')}")
            length = response.headers.get("Content-Length")
            total = have + int(length) if length and length.isdecimal() else size
            if size is not None and total is not None and total != size:
                part.unlink(missing_ok=True)
                raise _Refused(f"offers {total} bytes instead of {size}: another file than expected")
            _receive(response, part, have, total)
    except urllib.error.HTTPError as e:
        if e.code == 416:  # Range beyond the end: what is there is not a beginning of this file
            part.unlink(missing_ok=True)
            raise _Interrupted("the part that was there does not fit") from e
        if e.code in (408, 425, 429) or e.code >= 500:
            raise _Interrupted(f"HTTP error {e.code} {e.reason}") from e
        raise _Refused(f"HTTP error {e.code} {e.reason}") from e
    except urllib.error.URLError as e:
        raise _Interrupted(f"no connection: {e.reason}") from e
    except (TimeoutError, ConnectionError, http.client.HTTPException) as e:
        raise _Interrupted(f"connection broken: {e or type(e).__name__}") from e


def _receive(response: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    with (
        part.open("r+b" if have else "wb") as f,
        track(None, part.name[1:-5], _megabytes(total), "MB", initial=have // MEGABYTE, delay=1) as bar,
    ):
        f.seek(have)
        f.truncate()
        while block := response.read(BLOCK):
            f.write(block)
            have += len(block)
            bar.update(have // MEGABYTE - bar.n)
        bar.update((_megabytes(total) or 0) - bar.n if have == total else 0)
    if total is not None and have < total:
        raise _Interrupted(f"connection broken after {have} of {total} bytes")


def _megabytes(size: int | None) -> int | None:
    return None if size is None else -(-size // MEGABYTE)
