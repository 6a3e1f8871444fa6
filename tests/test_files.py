"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from synesthete.files import whole_directory, whole_file


def test_a_folder_replaces_the_old_one_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for content in ("old", "new"):
        with whole_directory(target) as draft:
            (draft / "sub").mkdir()
            (draft / "sub" / "file").write_text(content)
            assert not target.exists() or (target / "sub" / "file").read_text() == "old"
    assert (target / "sub" / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there_and_no_draft(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as draft:
        draft.write_text("old")

    def write_half(place: Path) -> None:
        (place / "x" if place.is_dir() else place).write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"), whole_file(tmp_path / "a") as draft:
        write_half(draft)
    with pytest.raises(OSError, match="full"), whole_directory(tmp_path / "d") as draft:
        write_half(draft)
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
