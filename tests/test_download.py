"""Downloads and unpacking, against a local server with faults and against malicious archives."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from i2s.corpus.download import download
from i2s.corpus.unpack import unpack
from i2s.errors import UserError

from .conftest import run

CONTENT = bytes(range(256)) * 4000  # about a megabyte
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves CONTENT at any path; the first part of the path names a fault. Keeps (path, Range header) of requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        nth = [path for path, _ in self.server.requests].count(self.path)
        self.server.requests.append((self.path, wanted))
        fault = self.path.split("/")[1]
        if fault == "missing":
            return self.send_error(404)
        if fault == "broken" or (fault == "flaky" and nth < 2):
            return self.send_error(503)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fault != "norange" else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        body = CONTENT[start:]
        if fault == "short":
            body = body[: len(CONTENT) // 2]
        if fault == "wrong":
            body = body[:-1] + b"!"
        self.send_response(206 if start else 200)
        if start:
            said = start + 1 if fault == "elsewhere" else start
            self.send_header("Content-Range", f"bytes {said}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if fault != "unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A cut: the first two answers stop after 300,000 bytes.
        self.wfile.write(body[:300_000] if fault in ("cut", "norange", "elsewhere") and nth < 2 else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


def fetch(server: Server, target: Path, *paths: str, **options: object) -> Path:
    options = {"size": len(CONTENT), "checksum": SHA256, "wait": 0.01, "tries": 3, **options}
    return download([server.url(p) for p in paths], target, **options)  # type: ignore[arg-type]


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_whole_file_then_nothing_to_do(server, tmp_path):
    assert fetch(server, tmp_path / "a", "fine").read_bytes() == CONTENT
    fetch(server, tmp_path / "a", "fine")
    assert server.requests == [("/fine", None)]
    assert leftovers(tmp_path) == ["a"]


def test_cut_connection_goes_on_where_it_stopped(server, tmp_path):
    assert fetch(server, tmp_path / "a", "cut").read_bytes() == CONTENT
    assert [r for _, r in server.requests] == [None, "bytes=300000-", "bytes=600000-"]


def test_a_later_run_goes_on_too(server, tmp_path):
    (tmp_path / ".a.part").write_bytes(CONTENT[:5000])
    assert fetch(server, tmp_path / "a", "fine").read_bytes() == CONTENT
    assert server.requests == [("/fine", "bytes=5000-")]


def test_what_an_earlier_run_left_is_not_trusted_without_size_or_checksum(server, tmp_path):
    (tmp_path / ".a.part").write_bytes(b"another file")
    assert fetch(server, tmp_path / "a", "fine", size=None, checksum=None).read_bytes() == CONTENT


def test_server_without_range_starts_over(server, tmp_path):
    assert fetch(server, tmp_path / "a", "norange").read_bytes() == CONTENT


def test_server_that_sends_another_range_is_refused(server, tmp_path):
    with pytest.raises(UserError, match="sent another part than asked for"):
        fetch(server, tmp_path / "a", "elsewhere")


def test_part_longer_than_the_file_starts_over(server, tmp_path):
    (tmp_path / ".a.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path / "a", "fine", size=None).read_bytes() == CONTENT


def test_server_without_length(server, tmp_path):
    assert fetch(server, tmp_path / "a", "unsized").read_bytes() == CONTENT


def test_error_that_passes(server, tmp_path):
    assert fetch(server, tmp_path / "a", "flaky").read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_error_that_stays_is_given_up(server, tmp_path):
    with pytest.raises(UserError, match=r"HTTP error 503 .*\(3 tries\)"):
        fetch(server, tmp_path / "a", "broken")
    assert len(server.requests) == 3


def test_missing_file_is_asked_for_once_then_the_mirror(server, tmp_path):
    assert fetch(server, tmp_path / "a", "missing", "fine").read_bytes() == CONTENT
    assert [p for p, _ in server.requests] == ["/missing", "/fine"]


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("missing", {}, "HTTP error 404"),
        ("short", {}, "offers 512000 bytes instead of 1024000"),
        ("wrong", {}, "wrong sha256"),
        ("wrong", {"checksum": "md5:" + "0" * 32}, "wrong md5"),
        ("fine", {"checksum": "sha256:12"}, "expected sha256:HEX"),
    ],
)
def test_what_is_not_the_file_never_gets_its_name(server, tmp_path, path, options, message):
    with pytest.raises(UserError, match=message):
        fetch(server, tmp_path / "a", path, **options)
    assert leftovers(tmp_path) == []


def test_no_server_and_no_http(tmp_path):
    with pytest.raises(UserError, match=r"no connection(.|\n)*not an http or https address"):
        download(["http://127.0.0.1:9/a", "file:///etc/passwd"], tmp_path / "a", wait=0.01, tries=2)


def test_wrong_file_that_is_there_is_fetched_again(server, tmp_path):
    (tmp_path / "a").write_bytes(b"wrong")
    assert fetch(server, tmp_path / "a", "fine").read_bytes() == CONTENT


def zipped(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            z.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as t:
        for member in members:
            member.size = 4 if member.isreg() else 0
            t.addfile(member, io.BytesIO(b"good") if member.isreg() else None)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_unpack_zip_and_tar(tmp_path):
    members = {"f/a.txt": b"1", "b.txt": b"2", "__MACOSX/f/._a.txt": b"x", "f/._a.txt": b"x", "f/empty/": b""}
    archive = zipped(tmp_path / "a.zip", members)
    folder = unpack(archive, tmp_path / "zip", holds=["a.txt", "*.txt"])
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.txt")) == ["b.txt", "f/a.txt"]
    folder = unpack(tarred(tmp_path / "a.tar.gz", tarfile.TarInfo("f/a.txt")), tmp_path / "tar")
    assert (folder / "f" / "a.txt").read_bytes() == b"good"


def test_unpacking_again_does_nothing_until_the_archive_changes(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": b"1"})
    folder = unpack(archive, tmp_path / "out")
    (folder / "mark").touch()
    (tmp_path / ".out.tmp123" / "f").mkdir(parents=True)  # of a killed run
    assert (unpack(archive, folder) / "mark").exists()
    zipped(archive, {"b": b"22"})
    unpack(archive, folder)
    assert (folder / "b").exists() and not (folder / "a").exists() and not (folder / "mark").exists()
    assert leftovers(tmp_path) == ["a.zip", "out"]


EVIL = {
    "parent": lambda p: zipped(p, {"ok": b"1", "../evil": b"x"}),
    "parent inside": lambda p: zipped(p, {"a/../../evil": b"x"}),
    "absolute": lambda p: zipped(p, {"/tmp/evil": b"x"}),
    "drive": lambda p: zipped(p, {"C:/evil": b"x"}),
    "backslash": lambda p: zipped(p, {"..\\evil": b"x"}),
    "zip link": lambda p: zipped(p, {"evil": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
    "tar link": lambda p: tarred(p, link("evil", "/etc")),
    "tar hard link": lambda p: tarred(p, link("evil", "../../evil", tarfile.LNKTYPE)),
    "tar device": lambda p: tarred(p, link("evil", "", tarfile.CHRTYPE)),
    "tar parent": lambda p: tarred(p, tarfile.TarInfo("../evil")),
    "tar absolute": lambda p: tarred(p, tarfile.TarInfo("/tmp/evil")),
}


@pytest.mark.parametrize("name", EVIL)
def test_evil_archives_leave_nothing(tmp_path, name):
    archive = EVIL[name](tmp_path / "in" / "archive") if (tmp_path / "in").mkdir() is None else None
    with pytest.raises(UserError, match="not unpacked"):
        unpack(archive, tmp_path / "out" / "folder")
    assert leftovers(tmp_path) == ["in", "out"] and leftovers(tmp_path / "out") == []


def test_a_bomb_is_refused_before_anything_is_written(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"zeros": b"\0" * 50_000_000})
    assert archive.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"would unpack to 0\.05 GB, more than 0\.01 GB"):
        unpack(archive, tmp_path / "out", max_bytes=10_000_000)


def test_more_than_the_disk_holds_is_refused(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", {"a": b"x" * 1000})
    full = shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(UserError, match=r"needs 0\.00 GB in .*, where 0\.00 GB are free"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
def test_damaged_archives(tmp_path, keep):
    archive = zipped(tmp_path / "a.zip", {f"f{i}": bytes(range(256)) * 20 for i in range(5)})
    content = archive.read_bytes()
    archive.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(UserError, match="fetch it again"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_member_is_noticed(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": b"some content " * 50})
    content = bytearray(archive.read_bytes())
    content[45] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(UserError, match="damaged archive"):
        unpack(archive, tmp_path / "out")


def test_archive_of_something_else(tmp_path):
    with pytest.raises(UserError, match=r"holds no \*.jpg"):
        unpack(zipped(tmp_path / "a.zip", {"a.png": b"1"}), tmp_path / "out", holds=["*.jpg"])


def test_command(server, tmp_path):
    zipped(tmp_path / "local.zip", {"a.txt": b"1"})
    command = ["python", "-m", "i2s.bin.download"]
    arguments = ["--unpack", tmp_path / "out", "--holds", "a.txt", tmp_path / "a.zip", server.url("missing")]
    done = run(*command, *arguments, check=False)
    assert done.returncode == 1 and "HTTP error 404" in done.stderr and "Traceback" not in done.stderr
    assert "run again to go on" in done.stderr
    run(*command, "--local", tmp_path / "local.zip", *arguments)
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"1"
    assert "unpacked already" in run(*command, *arguments).stderr  # the archive itself may be removed
    done = run(*command, "--local", tmp_path / "none.zip", *arguments, check=False)
    assert done.returncode == 1 and "none.zip: no such file" in done.stderr
