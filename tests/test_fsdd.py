"""FSDD from directories, from an archive on a real server, and the real recordings if at hand."""

import hashlib
import io
import itertools
import os
import re
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from loopback import Server
from synesthete.data import download, fsdd
from synesthete.data.download import SourceError
from synesthete.data.sources import Dataset, Files, Unavailable

FILES = {f"{digit}_theo_{i}.wav": f"RIFF {digit} {i}".encode() for digit in (7, 0) for i in (10, 1)}
OTHERS = {"3_george_0.wav": b"RIFF george", "3_lucas_2.wav": b"RIFF lucas"}
TOP = "free-spoken-digit-dataset-1.0.10"
REAL = os.environ.get("SYNESTHETE_DATA")
ARCHIVE = "/v1.0.10.tar.gz"


def archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for info, content in members:
            opened.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def member(path: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size = len(content)
    for name, value in fields.items():
        setattr(info, name, value)
    return info, content


def as_on_github(files: Files) -> bytes:
    recordings = [member(f"{TOP}/recordings/{name}", data) for name, data in files.items()]
    folder = member(f"{TOP}/recordings", type=tarfile.DIRTYPE)
    return archive([folder, member(f"{TOP}/metadata.py", b"print()"), *recordings])


def dataset(*urls: str) -> Dataset:
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    return Dataset("FSDD of a test", "fsdd", sha256, urls, "Put the recordings into DIR.")


@pytest.fixture(autouse=True)
def _no_user_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNESTHETE_DATA", raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server({ARCHIVE: as_on_github(FILES | OTHERS)}) as running:
        yield running


def test_the_archive_of_the_data_sets_home_is_fetched_once_and_kept(
    server: Server, tmp_path: Path
) -> None:
    data = dataset(server.url(ARCHIVE))
    first = fsdd.load(cache=tmp_path, dataset=data)
    assert (first.origin.place, first.origin.detail) == ("upstream", server.url(ARCHIVE))
    assert {f"{item.name}.wav": item.data for item in first.items} == FILES
    second = fsdd.load(cache=tmp_path, dataset=data)
    assert second.items == first.items
    assert second.origin.place == "cache"
    assert server.starts(ARCHIVE) == [0]
    assert not list((tmp_path / "downloads").iterdir())


def test_a_recording_is_described_by_its_name_and_all_are_sorted(
    server: Server, tmp_path: Path
) -> None:
    recordings = fsdd.load(cache=tmp_path, dataset=dataset(server.url(ARCHIVE)))
    names = [item.name for item in recordings.items]
    assert names == ["0_theo_1", "0_theo_10", "7_theo_1", "7_theo_10"]
    last = recordings.items[-1]
    assert (last.digit, last.speaker, last.index, last.verified) == (7, "theo", 10, True)
    assert not recordings.synthetic


def test_other_speakers_come_only_by_option_and_are_recorded_as_unverified(
    server: Server, tmp_path: Path
) -> None:
    data = dataset(server.url(ARCHIVE))
    for _ in ("upstream", "cache"):
        found = fsdd.load(cache=tmp_path, dataset=data, other_speakers=True)
        assert {item.speaker: item.verified for item in found.items} == {
            "george": False,
            "lucas": False,
            "theo": True,
        }
        assert not found.origin.verified
        assert found.origin.notes == (
            "2 recordings of 2 further speakers (george, lucas), unverified",
        )
    assert fsdd.load(cache=tmp_path, dataset=data).origin.verified


@pytest.mark.parametrize("layout", [".", "recordings", "fsdd/recordings"])
def test_a_directory_may_hold_the_recordings_in_three_ways(tmp_path: Path, layout: str) -> None:
    write(tmp_path / "data" / layout, FILES | {"notes_on_theo_1.wav": b"not a recording"})
    data, cache = tmp_path / "data", tmp_path / "cache"
    found = fsdd.load(data, cache=cache, dataset=dataset(), other_speakers=True)
    assert len(found.items) == len(FILES)
    assert found.origin.place == "directory"


def test_the_environment_names_the_directory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNESTHETE_DATA", str(write(tmp_path / "data", FILES)))
    assert fsdd.load(cache=tmp_path / "cache", dataset=dataset()).origin.place == "directory"


def test_an_altered_recording_sends_the_chain_to_the_next_place(
    server: Server, tmp_path: Path
) -> None:
    mine = write(tmp_path / "data", FILES | {"7_theo_1.wav": b"RIFF 7 2"})
    found = fsdd.load(mine, cache=tmp_path / "cache", dataset=dataset(server.url(ARCHIVE)))
    assert found.origin.place == "upstream"
    assert found.origin.notes == (
        f"directory {mine} passed over: of 4 files, 1 (7_theo_1.wav) altered",
    )


def test_hostile_names_and_links_never_become_paths(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"RIFF secret")
    hostile = [
        member("../../recordings/1_eve_0.wav", b"RIFF up"),
        member("/recordings/..", b"RIFF dots"),
        member(f"{TOP}/recordings/../../2_eve_0.wav", b"RIFF out"),
        member(f"{TOP}/recordings/3_eve_0.wav", type=tarfile.SYMTYPE, linkname=str(secret)),
        member(f"{TOP}/recordings/4_eve_0.wav", type=tarfile.LNKTYPE, linkname="../secret"),
        member(f"{TOP}/recordings/5_eve_0.wav", type=tarfile.CHRTYPE),
        member(f"{TOP}/recordings/6_eve_0.wav\0/x", b"RIFF nul"),
    ]
    good = [member(f"{TOP}/recordings/{name}", data) for name, data in FILES.items()]
    server.files[ARCHIVE] = archive(hostile + good)
    cache = tmp_path / "a" / "b" / "cache"
    found = fsdd.load(cache=cache, dataset=dataset(server.url(ARCHIVE)), other_speakers=True)
    assert {item.name for item in found.items if not item.verified} <= {"1_eve_0", "6_eve_0"}
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    inside = {path for path in written if path.is_relative_to(cache / "fsdd")}
    assert written - inside == {secret, cache / ".lock-fsdd"}
    assert len(inside) == len(found.items)


def test_an_archive_that_claims_more_than_it_holds_is_not_believed() -> None:
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 40)}
    bomb = member(f"{TOP}/recordings/0_eve_0.wav", pax_headers=sparse | {"GNU.sparse.map": "0,0"})
    assert fsdd.unpack(archive([bomb])) == {}


def test_an_archive_that_grows_beyond_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LIMIT", 1_000_000)
    bomb = archive([member(f"{TOP}/recordings/0_eve_0.wav", bytes(2_000_000))])
    with pytest.raises(SourceError, match="unpacks to more than 1,000,000 bytes"):
        fsdd.unpack(bomb)


@pytest.mark.parametrize("damaged", [as_on_github(FILES)[:-40], b"<html>Sign in</html>", b""])
def test_a_damaged_archive_is_an_error_and_is_not_kept(
    server: Server, tmp_path: Path, damaged: bytes
) -> None:
    server.files[ARCHIVE] = damaged
    with pytest.raises(Unavailable, match="damaged"):
        fsdd.load(cache=tmp_path, dataset=dataset(server.url(ARCHIVE)))
    assert {path.name for path in tmp_path.rglob("*")} == {"downloads", ".lock-fsdd"}


def place_and_count(url: str, cache: Path) -> tuple[str, int]:
    """Run in a process of its own."""
    found = fsdd.load(cache=cache, dataset=dataset(url))
    return found.origin.place, len(found.items)


def test_of_two_processes_at_once_one_fetches_and_both_have_the_recordings(
    server: Server, tmp_path: Path
) -> None:
    server.held = True
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = [pool.submit(place_and_count, server.url(ARCHIVE), tmp_path) for _ in range(2)]
        while not server.asked and not any(job.done() for job in jobs):
            time.sleep(0.01)
        wait(jobs, timeout=1)  # time for the other process to ask too, if it would
        server.release.set()
        found = sorted(job.result() for job in jobs)
    assert found == [("cache", 4), ("upstream", 4)]
    assert server.starts(ARCHIVE) == [0]


def test_the_manifest_lists_the_decks_recordings_in_sha256sums_format() -> None:
    names = list(fsdd.release().sha256)
    wanted = itertools.product(range(10), ("jackson", "nicolas", "theo", "yweweler"), range(50))
    assert names == sorted(f"{digit}_{who}_{index}.wav" for digit, who, index in wanted)
    assert all(re.fullmatch("[0-9a-f]{64}", hash) for hash in fsdd.release().sha256.values())
    manifest = Path(fsdd.__file__).with_name("fsdd_manifest.sha256").read_bytes()
    lines = (f"{sha256}  {name}\n" for name, sha256 in fsdd.release().sha256.items())
    assert manifest == "".join(lines).encode()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not REAL or not (Path(REAL) / "fsdd" / "recordings").is_dir():
        pytest.skip("needs FSDD's recordings: set SYNESTHETE_DATA to a directory that has them")
    return Path(REAL)


def test_the_real_recordings_are_verified_one_by_one(real: Path, tmp_path: Path) -> None:
    found = fsdd.load(real, cache=tmp_path)
    counts = Counter((item.digit, item.speaker) for item in found.items)
    assert len(counts) == 40
    assert set(counts.values()) == {50}
    assert found.origin.verified
    assert all(item.verified and item.data.startswith(b"RIFF") for item in found.items)
    manifest = Path(fsdd.__file__).with_name("fsdd_manifest.sha256").read_bytes()
    assert found.origin.sha256 == hashlib.sha256(manifest).hexdigest()


def test_one_changed_bit_in_a_real_recording_is_noticed(real: Path, tmp_path: Path) -> None:
    recordings = tmp_path / "data" / "recordings"
    recordings.mkdir(parents=True)
    for path in (real / "fsdd" / "recordings").iterdir():
        (recordings / path.name).symlink_to(path)
    changed = bytearray((recordings / "4_theo_9.wav").read_bytes())
    changed[-1] ^= 1
    (recordings / "4_theo_9.wav").unlink()
    (recordings / "4_theo_9.wav").write_bytes(changed)
    (recordings / "5_jackson_0.wav").unlink()
    offline = replace(fsdd.release(), homes=())
    with pytest.raises(Unavailable) as caught:
        fsdd.load(tmp_path / "data", cache=tmp_path / "cache", dataset=offline)
    fault = "of 2,000 files, 1 (5_jackson_0.wav) missing and 1 (4_theo_9.wav) altered"
    assert fault in str(caught.value)


def write(directory: Path, files: Files) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory
