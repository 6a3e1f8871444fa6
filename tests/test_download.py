"""Downloads against a real server on loopback: each ends in a good file or a clear error."""

import gzip
import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from loopback import Server
from synesthete.data import download as module
from synesthete.data.download import (
    CHUNK,
    AbsentError,
    SourceError,
    Wheel,
    download,
    download_wheel,
    inflate,
)

BODY = random.Random(0).randbytes(300_000)
KEPT = 10 * CHUNK  # bytes sent before a cut, and none of them lost
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "PYPI_SIMPLE_ENDPOINT", "http://127.0.0.1:9/simple")  # discarded
    with Server({"/file": BODY}) as running:
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(server: Server, tmp_path: Path) -> None:
    target = download(server.url("/file"), tmp_path / "new" / "file", sha256=SHA256)
    assert target.read_bytes() == BODY
    assert names(target.parent) == {"file"}


def test_a_cut_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = [KEPT, KEPT]
    target = download(server.url("/file"), tmp_path / "file", sha256=SHA256)
    assert server.starts("/file") == [0, KEPT, 2 * KEPT]
    assert target.read_bytes() == BODY


def test_a_cut_anywhere_costs_no_more_than_the_last_chunk(server: Server, tmp_path: Path) -> None:
    server.cuts = [KEPT + 5]
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY
    assert server.starts("/file")[1] in (KEPT, KEPT + 5)


def test_a_later_call_takes_up_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    server.cuts = [KEPT, 0]
    with pytest.raises(SourceError, match="more expected"):
        download(server.url("/file"), tmp_path / "file")
    assert "file" not in names(tmp_path)
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY
    assert server.starts("/file") == [0, KEPT, KEPT]
    assert names(tmp_path) == {"file"}


def test_a_server_that_ignores_ranges_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    server.cuts = [KEPT]
    target = download(server.url("/file"), tmp_path / "file")
    assert server.starts("/file") == [0, KEPT]
    assert target.read_bytes() == BODY


def test_a_file_that_changed_since_the_cut_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.cuts = [KEPT, 0]
    with pytest.raises(SourceError):
        download(server.url("/file"), tmp_path / "file")
    server.files["/file"] = BODY[::-1]
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY[::-1]


def test_a_part_that_is_already_whole_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.cuts = [KEPT, 0]
    with pytest.raises(SourceError):
        download(server.url("/file"), tmp_path / "file")
    (tmp_path / "file.part").write_bytes(BODY)
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY
    assert server.starts("/file") == [0, KEPT, 300_000, 0]


def test_a_part_of_unknown_origin_is_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"something else")
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY
    assert server.starts("/file") == [0]


def test_a_server_that_does_not_tell_the_length_is_read_to_the_end(
    server: Server, tmp_path: Path
) -> None:
    server.sized = False
    assert download(server.url("/file"), tmp_path / "file", sha256=SHA256).read_bytes() == BODY


def test_a_wrong_hash_is_an_error_that_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"SHA-256 is {SHA256}, wanted 00; deleted"):
        download(server.url("/file"), tmp_path / "file", sha256="00")
    assert not names(tmp_path)


def test_a_missing_file_is_an_error_that_names_the_status(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="404 Not Found"):
        download(server.url("/other"), tmp_path / "file")
    assert not names(tmp_path)


def test_a_server_that_never_answers_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = False
    with pytest.raises(SourceError, match=r"no answer within 0\.2 s|timed out"):
        download(server.url("/file"), tmp_path / "file", patience=0.2)
    assert not names(tmp_path)


def test_a_server_that_hangs_in_the_middle_is_given_up_and_later_resumed(
    server: Server, tmp_path: Path
) -> None:
    server.cuts = [KEPT, 0]
    server.hangs = True
    with pytest.raises(SourceError, match=r"timed out|no answer"):
        download(server.url("/file"), tmp_path / "file", patience=1)
    server.hangs = False
    assert download(server.url("/file"), tmp_path / "file").read_bytes() == BODY
    assert server.starts("/file")[-1] == KEPT


def test_what_has_no_time_limit_of_its_own_is_given_up_too(tmp_path: Path) -> None:
    class Lost(requests.Session):
        """Stands for name resolution that never ends."""

        def get(self, url: str | bytes, **_: Any) -> requests.Response:
            threading.Event().wait(5)
            raise AssertionError(url)

    with pytest.raises(SourceError, match=r"no answer within 0\.1 s"):
        download("http://127.0.0.1/", tmp_path / "file", patience=0.1, session=Lost())


def test_a_closed_port_is_an_error_in_plain_words(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url("/file")
    with pytest.raises(SourceError, match=r"^Connection refused$"):
        download(url, tmp_path / "file")


def test_more_than_any_data_set_holds_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 1_000)
    with pytest.raises(SourceError, match="larger than 1,000 bytes"):
        download(server.url("/file"), tmp_path / "file")
    assert not names(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_an_error_that_leaves_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(SourceError, match=r"No space left on device.*SYNESTHETE_CACHE"):
        download(server.url("/file"), tmp_path / "file")
    assert not names(tmp_path)


def test_a_file_size_limit_is_an_error_that_leaves_nothing(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs POSIX resource limits")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"
    done = run(f"{limit}; {fetching(server, tmp_path)}")
    assert done.wait() == 1
    assert "SourceError: cannot write to" in stderr(done)
    assert not names(tmp_path)


def test_a_killed_download_is_resumed_by_the_next(server: Server, tmp_path: Path) -> None:
    server.cuts = [KEPT]
    server.hangs = True
    process = run(fetching(server, tmp_path))
    part = tmp_path / "file.part"
    assert server.cut.wait(30)
    while not part.exists() or part.stat().st_size == 0:
        assert process.poll() is None
    process.kill()
    stderr(process)
    assert "file" not in names(tmp_path)
    server.hangs = False
    assert download(server.url("/file"), tmp_path / "file", sha256=SHA256).read_bytes() == BODY
    assert server.starts("/file")[-1] > 0
    assert names(tmp_path) == {"file"}


def fetching(server: Server, folder: Path) -> str:
    target = str(folder / "file")
    return (
        "from pathlib import Path; from synesthete.data.download import download; "
        f"download({server.url('/file')!r}, Path({target!r}))"
    )


def run(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def stderr(process: subprocess.Popen[str]) -> str:
    return process.communicate()[1]


WHEEL_PATH = "/files/digits_dir-0.2-py3-none-any.whl"


def with_index(server: Server, *, sha256: str = SHA256) -> str:
    """Put a package index with one wheel, BODY, on a server: HTML at /simple, JSON for json."""
    links = "".join(
        f'<a href="../..{path}#sha256={digest}">{path.rpartition("/")[2]}</a>'
        for path, digest in (
            ("/files/digits_dir-0.1-py3-none-any.whl", "00"),
            ("/files/digits_dir-0.2.tar.gz", "00"),
            (WHEEL_PATH, sha256),
        )
    )
    entry = {"filename": WHEEL_PATH[7:], "url": f"../..{WHEEL_PATH}", "hashes": {"sha256": sha256}}
    page = {"meta": {"api-version": "1.0"}, "name": "json", "files": [entry]}
    server.files = {
        "/simple/digits-dir/": f"<!DOCTYPE html><html><body>{links}</body></html>".encode(),
        "/simple/json/": json.dumps(page).encode(),
        WHEEL_PATH: BODY,
    }
    return server.url("/simple")


@pytest.mark.parametrize("project", ["digits-dir", "Digits_dir", "json"])
def test_a_wheel_comes_from_an_index_of_either_format(
    server: Server, tmp_path: Path, project: str
) -> None:
    wheel = Wheel(project, "0.2", with_index(server))
    assert download_wheel(wheel, tmp_path / "wheel").read_bytes() == BODY
    assert server.starts(WHEEL_PATH) == [0]


def test_a_wheel_unlike_the_hash_on_the_index_is_refused(server: Server, tmp_path: Path) -> None:
    wheel = Wheel("digits-dir", "0.2", with_index(server, sha256="11"))
    with pytest.raises(SourceError, match="wanted 11; deleted"):
        download_wheel(wheel, tmp_path / "wheel")
    assert not names(tmp_path)


@pytest.mark.parametrize(
    ("project", "version", "message"),
    [("unknown", "0.2", "does not know unknown"), ("digits-dir", "3", "no wheel of digits-dir 3")],
)
def test_an_index_without_the_wheel_is_an_absence(
    server: Server, tmp_path: Path, project: str, version: str, message: str
) -> None:
    with pytest.raises(AbsentError, match=message):
        download_wheel(Wheel(project, version, with_index(server)), tmp_path / "wheel")


def test_an_index_that_is_none_is_an_error(server: Server, tmp_path: Path) -> None:
    server.files = {"/simple/json/": b"not json"}
    with pytest.raises(SourceError, match="did not answer as one"):
        download_wheel(Wheel("json", "1", server.url("/simple")), tmp_path / "wheel")


def test_an_index_that_never_answers_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = False
    with pytest.raises(SourceError, match=r"no answer within 0\.2 s|timed out"):
        download_wheel(Wheel("a", "1", server.url("/simple")), tmp_path / "wheel", patience=0.2)


def test_the_index_is_the_one_in_pips_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", with_index(server))
    assert download_wheel(Wheel("digits-dir", "0.2"), tmp_path / "wheel").read_bytes() == BODY


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="needs pip")
def test_the_index_is_the_one_in_pips_configuration(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {with_index(server)}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.fspath(tmp_path / "pip.conf"))
    assert download_wheel(Wheel("digits-dir", "0.2"), tmp_path / "wheel").read_bytes() == BODY


def test_inflate_undoes_gzip_and_leaves_other_bytes_alone() -> None:
    assert inflate(gzip.compress(BODY)) == BODY
    assert inflate(BODY) == BODY


@pytest.mark.parametrize("damage", [slice(0, 1_000), slice(0, -4), slice(0, 5)])
def test_inflate_refuses_damaged_data(damage: slice) -> None:
    with pytest.raises(SourceError, match="damaged gzip data"):
        inflate(gzip.compress(BODY)[damage])


def test_inflate_refuses_what_grows_beyond_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 1_000_000)
    with pytest.raises(SourceError, match="unpacks to more than 1,000,000 bytes"):
        inflate(gzip.compress(bytes(1_000_001)))
