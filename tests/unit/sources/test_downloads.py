"""What is fetched is whole and as asked for, or one line says why not; and nobody fetches it twice."""

import gc
import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headrace.errors import InputError
from headrace.experiments.config import Download
from headrace.sources import downloads
from headrace.sources.downloads import fetch


class Server:
    """Serves `content` on the loopback interface and counts what is asked for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.stalls = threading.Event()
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked[self.path] += 1
                content = outer.content.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                packed = "gzip" in self.headers.get("Accept-Encoding", "")
                if packed:
                    content = gzip.compress(content)
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if outer.stalls.is_set():
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    outer.released.wait(30)
                    return
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, path: str, content: bytes, *, unpack: bool = False, sha256: str = "") -> Download:
        self.content[path] = content
        sha256 = sha256 or hashlib.sha256(content).hexdigest()
        return Download(address=self.address + path, sha256=sha256, unpack=unpack)

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    opened = Server()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def sockets_may_leak() -> Iterator[None]:
    """Requests leaves connections that broke to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def make_zip(**content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, value in content.items():
            opened.writestr(name, value)
    return buffer.getvalue()


def refusal(downloads: list[Download], root: Path) -> str:
    with pytest.raises(InputError) as caught:
        fetch(downloads, root)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert not [path for path in root.rglob("*") if path.is_file()]
    return line


def test_files_are_fetched_once(server: Server, tmp_path: Path) -> None:
    wanted = [server.serve("/data/one.csv", b"1,2\n"), server.serve("/two%20words.csv?version=3", b"3,4\n" * 10**6)]
    folder = fetch(wanted, tmp_path / "downloads")
    assert folder.parent == tmp_path / "downloads"
    assert len(folder.name) == 16
    assert (folder / "one.csv").read_bytes() == b"1,2\n"
    assert (folder / "two words.csv").read_bytes() == b"3,4\n" * 10**6
    assert sorted(path.name for path in folder.iterdir()) == ["one.csv", "two words.csv"]
    assert fetch(wanted, tmp_path / "downloads") == folder
    assert set(server.asked.values()) == {1}


def test_another_content_is_another_folder(server: Server, tmp_path: Path) -> None:
    one = fetch([server.serve("/a", b"1")], tmp_path)
    two = fetch([server.serve("/a", b"2")], tmp_path)
    assert ((one / "a").read_bytes(), (two / "a").read_bytes()) == (b"1", b"2")


def test_archives_are_unpacked(server: Server, tmp_path: Path) -> None:
    archive = make_zip(**{"data.zip": b"of the same name", "below/x.csv": b"1"})
    wanted = [server.serve("/data.zip", archive, unpack=True), server.serve("/more.csv", b"2")]
    folder = fetch(wanted, tmp_path)
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {"data.zip": b"of the same name", "below/x.csv": b"1", "more.csv": b"2"}
    fetch(wanted, tmp_path)
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("damage", ["change", "remove", "add", "empty", "forget"])
def test_what_was_changed_is_fetched_again(damage: str, server: Server, tmp_path: Path) -> None:
    wanted = [server.serve("/data.zip", make_zip(a=b"one", b=b"two"), unpack=True)]
    folder = fetch(wanted, tmp_path)
    if damage == "change":
        (folder / "a").write_bytes(b"eno")
    elif damage == "remove":
        (folder / "a").unlink()
    elif damage == "add":
        (folder / "c").write_bytes(b"three")
    elif damage == "empty":
        folder.rename(tmp_path / "elsewhere")
    else:
        folder.with_name(f"{folder.name}.json").unlink()
    assert fetch(wanted, tmp_path) == folder
    assert server.asked["/data.zip"] == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"one", "b": b"two"}


# What goes wrong


def test_another_content_than_asked_for(server: Server, tmp_path: Path) -> None:
    line = refusal([server.serve("/a", b"1"), server.serve("/b.csv", b"text", sha256="0" * 64)], tmp_path)
    assert f"{server.address}/b.csv" in line
    assert hashlib.sha256(b"text").hexdigest() in line
    assert "0" * 64 in line


def test_what_is_not_there(server: Server, tmp_path: Path) -> None:
    line = refusal([Download(address=f"{server.address}/none.csv", sha256="0" * 64)], tmp_path)
    assert f"{server.address}/none.csv: cannot be fetched" in line
    assert "404" in line


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_what_cannot_be_reached(scheme: str, tmp_path: Path) -> None:
    line = refusal([Download(address=f"{scheme}://127.0.0.1:9/x.csv", sha256="0" * 64)], tmp_path)
    assert f"{scheme}://127.0.0.1:9/x.csv: cannot be fetched" in line


def test_a_connection_that_breaks(server: Server, tmp_path: Path) -> None:
    wanted = server.serve("/a.csv", b"text" * 1000)
    server.stalls.set()
    server.released.set()
    assert "cannot be fetched" in refusal([wanted], tmp_path)


def test_a_server_that_falls_silent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.3)
    wanted = server.serve("/a.csv", b"text" * 1000)
    server.stalls.set()
    assert "cannot be fetched" in refusal([wanted], tmp_path)


def test_archives_that_cannot_be_unpacked(server: Server, tmp_path: Path) -> None:
    line = refusal([server.serve("/a.zip", make_zip(**{"../x": b"1"}), unpack=True)], tmp_path)
    assert f"{server.address}/a.zip: member '../x' leads out" in line
    line = refusal([server.serve("/b.zip", b"PK\x03\x04" + b"x" * 100, unpack=True)], tmp_path)
    assert f"{server.address}/b.zip: is damaged" in line


def test_two_files_of_one_name(server: Server, tmp_path: Path) -> None:
    line = refusal([server.serve("/one/a.csv", b"1"), server.serve("/two/a.csv", b"2")], tmp_path)
    assert "another file of the name a.csv" in line
    archive = server.serve("/x.zip", make_zip(**{"a.csv": b"3"}), unpack=True)
    assert "member 'a.csv'" in refusal([server.serve("/one/a.csv", b"1"), archive], tmp_path)


@pytest.mark.parametrize("path", ["/", "", "/..", "/%2e%2e", "/a%0ab", "/.hidden"])
def test_addresses_without_a_name(path: str, tmp_path: Path) -> None:
    line = refusal([Download(address=f"http://127.0.0.1:9{path}", sha256="0" * 64)], tmp_path)
    assert "does not end with the name of a file" in line


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fetch([server.serve("/a", b"1")], tmp_path / "file")


def test_a_killed_process_leaves_nothing_that_counts(server: Server, tmp_path: Path) -> None:
    wanted = server.serve("/data.csv", os.urandom(3 * 2**20))
    code = f"""
from pathlib import Path
from headrace.experiments.config import Download
from headrace.sources.downloads import fetch
fetch([Download(address={wanted.address!r}, sha256={wanted.sha256!r})], Path({str(tmp_path)!r}))
"""
    server.stalls.set()
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size for path in tmp_path.rglob("data.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    server.stalls.clear()
    server.released.set()
    folder = fetch([wanted], tmp_path)
    assert (folder / "data.csv").read_bytes() == server.content["/data.csv"]
    # Until it is certain that nobody works on it.
    assert left.exists()
    os.utime(left, (0, 0))
    fetch([server.serve("/b", b"1")], tmp_path)
    assert not left.exists()


def test_several_at_once_get_the_same(server: Server, tmp_path: Path) -> None:
    wanted = [server.serve("/data.csv", os.urandom(2**20)), server.serve("/a.zip", make_zip(x=b"1"), unpack=True)]
    with ThreadPoolExecutor(6) as pool:
        folders = set(pool.map(lambda _: fetch(wanted, tmp_path), range(6)))
    (folder,) = folders
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "x"]
    assert not list(tmp_path.glob(".*"))
