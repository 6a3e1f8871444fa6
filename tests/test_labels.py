"""Labels: kept in a file of their own, and refused where they do not belong."""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synesthete.data import labels
from synesthete.data.labels import Labels, LabelsError

ANIMALS = Labels(
    audio={"a1": "dog", "a2": "cat"},
    images={"i1": "cat", "i2": "dog", "i3": "bird"},
    groups={"g1": "the neighbour's"},
    judge_unseen=frozenset({"i3"}),
)


@dataclass
class Rows:
    audio_ids: tuple[str, ...]
    image_ids: tuple[str, ...]


keys = st.text("0123456789abcdef", min_size=1, max_size=16)
texts = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=25)
@given(
    audio=st.dictionaries(keys, texts),
    images=st.dictionaries(keys, texts),
    groups=st.dictionaries(keys, texts),
    data=st.data(),
)
def test_labels_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    audio: dict[str, str],
    images: dict[str, str],
    groups: dict[str, str],
    data: st.DataObject,
) -> None:
    unseen = data.draw(st.sets(st.sampled_from(sorted(images)))) if images else set()
    told = Labels(audio, images, groups, frozenset(unseen))
    folder = tmp_path_factory.mktemp("labels")
    told.save(folder)
    assert labels.load(folder) == told
    assert [path.name for path in folder.iterdir()] == ["labels.parquet"]


def test_equal_labels_are_equal_bytes(tmp_path: Path) -> None:
    turned = Labels(
        {"a2": "cat", "a1": "dog"}, ANIMALS.images, ANIMALS.groups, ANIMALS.judge_unseen
    )
    for name, told in (("one", ANIMALS), ("two", turned)):
        (tmp_path / name).mkdir()
        told.save(tmp_path / name)
    files = [(tmp_path / name / "labels.parquet").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_classes_are_sorted_and_index_the_rows() -> None:
    assert ANIMALS.classes == ("bird", "cat", "dog")
    audio, images = ANIMALS.of(Rows(("a2", "a1", "a2"), ("i3", "i1")))
    assert audio.tolist() == [1, 2, 1]
    assert images.tolist() == [0, 1]
    assert audio.dtype == images.dtype == "int64"


def test_labels_of_another_alignment_are_refused() -> None:
    with pytest.raises(LabelsError, match=r"1 of 2 images have no label \(the first: i9\)"):
        ANIMALS.of(Rows(("a1",), ("i1", "i9")))


def test_a_folder_without_labels_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"labels\.parquet: not there"):
        labels.load(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.999])
def test_a_damaged_file_is_an_error_or_reads_as_it_was(tmp_path: Path, part: float) -> None:
    many = Labels({f"{row:016x}": str(row % 10) for row in range(500)}, {}, {})
    many.save(tmp_path)
    path = tmp_path / "labels.parquet"
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= 0x10
    path.write_bytes(data)
    try:
        assert labels.load(tmp_path) == many
    except LabelsError as error:
        assert "damaged" in str(error)  # noqa: PT017 - either is right, silence is not


def test_a_full_disk_leaves_the_earlier_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ANIMALS.save(tmp_path)

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", fail)
    with pytest.raises(LabelsError, match="No space left"):
        Labels({}, {}, {}).save(tmp_path)
    assert labels.load(tmp_path) == ANIMALS
    assert [path.name for path in tmp_path.iterdir()] == ["labels.parquet"]
