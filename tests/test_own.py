"""A user's own files: what meets what, brought to which form, on which side, and what is told."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from draws import few
from synesthete import cli
from synesthete.data import folder, joining, labels, manifest, own, pictures, storage
from synesthete.data.alignment import Alignment, LeakageError
from synesthete.data.own import Form, OwnError
from synesthete.data.sides import Shares, SidesError, deal, together


def sound(path: Path, pitch: float = 300, rate: int = 22_050, seconds: float = 0.4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(rate * seconds)) / rate
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * pitch * time), rate)


def image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (90, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def pairs(root: Path, names: Mapping[str, tuple[str, str]]) -> None:
    """Sound and image of each name, no two alike."""
    for row, (heard, seen) in enumerate(names.values()):
        sound(root / heard, 200 + 20 * row)
        image(root / seen, (10 * row, 255 - 10 * row, 60))


def met(alignment: Alignment, folder: Path) -> set[tuple[str, str]]:
    """The edges, as the names of the files they came from."""
    rows = pq.read_table(folder / joining.FILES).to_pylist()
    name = {
        row["id"]: Path(row["file"]).relative_to(folder.parent / "in").as_posix() for row in rows
    }
    ends = alignment.edges.tolist()
    return {(name[alignment.audio_ids[a]], name[alignment.image_ids[i]]) for a, i in ends}


def build(tmp_path: Path, *options: str) -> Alignment:
    arguments = ["pairs", "from-folder", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, *options]) == 0
    return storage.load(tmp_path / "out")


@pytest.mark.parametrize(
    "names",
    [
        {str(i): (f"a/{i:03}.wav", f"b/{i:03}.png") for i in range(6)},
        {str(i): (f"{'xy'[i % 2]}/{i // 2}.wav", f"{'xy'[i % 2]}/{i // 2}.jpg") for i in range(6)},
        {
            str(i): (f"sounds/{'xy'[i % 2]}/{i // 2}.flac", f"images/{'xy'[i % 2]}/{i // 2}.png")
            for i in range(6)
        },
    ],
    ids=["stem alone", "stem within a folder", "stem below the first folder"],
)
def test_equal_stems_meet(tmp_path: Path, names: dict[str, tuple[str, str]]) -> None:
    pairs(tmp_path / "in", names)
    alignment = build(tmp_path, "--test", "0.34", "--size", "32", "--rate", "12000")
    assert met(alignment, tmp_path / "out") == set(names.values())
    assert alignment.images.shape == (6, 3, 32, 32)
    assert alignment.rate == 12_000
    assert {len(wave) for wave in alignment.waveforms} == {4_800}
    assert alignment.audio_splits.count("test") == 2
    assert not (tmp_path / "out" / labels.FILE).exists()
    alignment.check_leakage()


def test_a_sub_folder_s_sounds_meet_its_images_as_edges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for row, kind in enumerate(("cat", "dog")):
        for number in range(4):
            sound(tmp_path / "in" / kind / f"s{number}.wav", 200 + 50 * row + 9 * number)
        for number in range(6):
            image(tmp_path / "in" / kind / f"i{number}.png", (100 * row, 9 * number, 0))
    image(tmp_path / "in" / "stray.png", (1, 2, 3))
    alignment = build(tmp_path, "--test", "0.25", "--grey")
    assert len(alignment.audio_ids) == 8
    assert len(alignment.image_ids) == 12
    assert len(alignment.edges) == 2 * (3 * 5 + 1 * 1)
    told = labels.load(tmp_path / "out")
    heard, seen = told.of(alignment)
    assert told.classes == ("cat", "dog")
    assert (heard[alignment.edges[:, 0]] == seen[alignment.edges[:, 1]]).all()
    for split in ("train", "test"):
        assert {*told.of(alignment.subset(split))[0].tolist()} == {0, 1}
    err = capsys.readouterr().err
    assert "by sub-folder" in err
    assert "stray.png" in err
    assert (
        "cat" not in (tmp_path / "out" / storage.HEADER).read_text()
    )  # no label where training is


def test_which_rule_is_a_choice_and_ambiguous_stems_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in "ab":
        for number in range(3):
            sound(tmp_path / "in" / kind / f"{number}.wav", 200 + 9 * number + ord(kind))
            image(tmp_path / "in" / kind / f"{number}.png", (ord(kind), number, 0))
    assert len(build(tmp_path).edges) == 6
    assert "stem within a folder" in capsys.readouterr().err
    assert len(build(tmp_path, "--by", "folder", "--test", "0").edges) == 18
    for path in (tmp_path / "in" / "b").glob("*.wav"):
        path.rename(path.with_name(f"x{path.name}"))
    sound(tmp_path / "in" / "c" / "1.wav", 900)
    image(tmp_path / "in" / "d" / "1.png", (9, 9, 9))
    found = folder.listing(tmp_path / "in", "stem")
    assert len(found.edges) == 3
    assert found.lonely[str(tmp_path / "in" / "b" / "x0.wav")] == "no image of this stem"
    with pytest.raises(OwnError, match="wanted some of both"):
        folder.listing(tmp_path / "in" / "d")


def test_equal_contents_are_one_node_and_never_on_two_sides(tmp_path: Path) -> None:
    names = {str(i): (f"{i}.wav", f"{i}.png") for i in range(20)}
    pairs(tmp_path / "in", names)
    for copy in (3, 7, 11):
        (tmp_path / "in" / f"{copy}.wav").write_bytes((tmp_path / "in" / "0.wav").read_bytes())
    alignment = build(tmp_path, "--test", "0.3")
    assert len(alignment.audio_ids) == 17
    assert len(alignment.edges) == 20
    assert sorted(np.bincount(alignment.edges[:, 0]))[-2:] == [1, 4]
    alignment.check_leakage()


def test_sub_folders_can_be_groups(tmp_path: Path) -> None:
    names = {f"{g}{i}": (f"{g}/{i}.wav", f"{g}/{i}.png") for g in "pqrst" for i in range(4)}
    pairs(tmp_path / "in", names)
    alignment = build(tmp_path, "--group-folders", "--test", "0.2", "--validation", "0.2")
    homes = {*zip(alignment.audio_groups, alignment.audio_splits, strict=True)}
    assert len(homes) == 5
    assert sorted(alignment.audio_splits) == ["test"] * 4 + ["train"] * 12 + ["validation"] * 4
    assert alignment.provenance["held_out_groups"] == "all"


def test_what_cannot_be_used_is_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "in", {str(i): (f"{i}.wav", f"{i}.png") for i in range(8)})
    (tmp_path / "in" / "1.wav").write_bytes(b"no sound")
    (tmp_path / "in" / "2.png").write_bytes((tmp_path / "in" / "2.png").read_bytes()[:40])
    soundfile.write(tmp_path / "in" / "3.wav", np.zeros(9_000), 9_000)
    alignment = build(tmp_path)
    assert len(alignment.edges) == 5
    faults = {
        Path(row["file"]).name: row["fault"]
        for row in pq.read_table(tmp_path / "out" / joining.FILES).to_pylist()
        if row["fault"]
    }
    assert [*faults] == ["1.wav", "2.png", "3.wav"]
    assert "dBFS" in faults["3.wav"]
    assert "2.png: not an image" in capsys.readouterr().err
    for path in (tmp_path / "in").glob("*.png"):
        path.write_bytes(b"")
    assert (
        cli.main(["pairs", "from-folder", str(tmp_path / "in"), "--out", str(tmp_path / "no")]) == 2
    )
    assert "no sound meets an image" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def as_csv(path: Path, rows: list[dict[str, Any]], separator: str = ",") -> None:
    lines = [[*rows[0]], *([*map(str, row.values())] for row in rows)]
    path.write_text("".join(separator.join(line) + "\n" for line in lines))


def as_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    ".csv": as_csv,
    ".tsv": lambda path, rows: as_csv(path, rows, "\t"),
    ".jsonl": as_json_lines,
    ".parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_manifest_of_any_kind_gives_the_same_alignment(tmp_path: Path, kind: str) -> None:
    pairs(tmp_path / "in", {str(i): (f"{i}.wav", f"{i}.png") for i in range(6)})
    sides = ["train", "train", "val", "train", "test", "test"]
    rows = [
        {"audio": f"{i}.wav", "image": f"{j}.png", "group": "xxyyzz"[i], "split": sides[i],
         "label": f"00{i // 4}"}
        for i, j in ((0, 0), (0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5))
    ]  # fmt: skip
    path = tmp_path / "in" / f"list{kind}"
    WRITERS[kind](path, rows)
    out = tmp_path / "out"
    assert cli.main(["pairs", "from-manifest", str(path), "--out", str(out), "--size", "28"]) == 0
    alignment, told = storage.load(out), labels.load(out)
    assert met(alignment, out) == {(row["audio"], row["image"]) for row in rows}
    assert sorted(alignment.audio_splits) == sorted(
        side.replace("val", "validation") for side in sides
    )
    assert told.classes == ("000", "001")
    assert {*told.groups.values()} == {"x", "y", "z"}


def test_columns_can_have_other_names_and_a_typo_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "in", {str(i): (f"{i}.wav", f"{i}.png") for i in range(4)})
    path = tmp_path / "in" / "m.csv"
    as_csv(path, [{"clip": f"{i}.wav", "frame": f"{i}.png", "who": "ab"[i % 2]} for i in range(4)])
    command = ["pairs", "from-manifest", str(path), "--out", str(tmp_path / "out")]
    options = ["--audio", "clip", "--image", "frame", "--group", "who", "--test", "0.5"]
    assert cli.main([*command, *options]) == 0
    assert len({*storage.load(tmp_path / "out").audio_groups}) == 2
    assert cli.main([*command, "--audio", "clips", "--image", "frame"]) == 2
    assert "did you mean 'clip'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([("0", "0", "", "train"), ("1", "1", "", "tset")], OwnError, "row 2: split 'tset'"),
        ([("0", "0", "", "train"), ("0", "1", "", "test")], LeakageError, "on two sides"),
        ([("0", "0", "a", ""), ("0", "1", "b", ""), ("1", "1", "b", "")], OwnError, "two labels"),
        ([("0", "0", "a", ""), ("1", "1", "", "")], OwnError, "2 of 4 items have no label"),
        ([("0", "0", "", ""), ("0", "1", "", "")], OwnError, "hang together in 1 groups"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    tmp_path: Path, rows: list[tuple[str, ...]], error: type[Exception], match: str
) -> None:
    pairs(tmp_path / "in", {str(i): (f"{i}.wav", f"{i}.png") for i in range(2)})
    path = tmp_path / "in" / "m.csv"
    named = [
        {"audio": f"{a}.wav", "image": f"{i}.png", "label": label}
        | ({"split": side} if side else {})
        for a, i, label, side in rows
    ]
    as_csv(path, named)
    test = 0.5 if "hang" in match else 0
    with pytest.raises(error, match=match):
        joining.join(own.decoded(manifest.listing(path), Form()), Form(), Shares(test), {})


def test_images_are_turned_flattened_and_cropped_around_their_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (90, 30), (0, 0, 255))
    wide.paste((255, 0, 0), (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    red = pictures.load(tmp_path / "wide.png", 28, 3)
    assert np.abs(red[:, :, 1:-1].astype(int) - np.array([255, 0, 0])[:, None, None]).max() <= 3
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(noise).save(tmp_path / "fits.png")
    assert (pictures.load(tmp_path / "fits.png", 28, 1)[0] == noise).all()
    Image.new("RGBA", (30, 30), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert not pictures.load(tmp_path / "clear.png", 28, 1).any()
    deep = Image.fromarray(np.full((30, 30), 0x8000, np.uint16))
    deep.save(tmp_path / "deep.png")
    assert (pictures.load(tmp_path / "deep.png", 28, 1) == 0x80).all()
    tall = Image.new("L", (30, 60))
    tall.paste(255, (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera on its side: what is at the top belongs to the right
    tall.save(tmp_path / "turned.png", exif=exif)
    turned = pictures.load(tmp_path / "turned.png", 28, 1)[0]
    assert turned[:, -10:].min() > 250
    assert turned[:, :10].max() < 5


@pytest.mark.parametrize(
    "options", [["--size", "30"], ["--size", "132"], ["--rate", "7999"], ["--test", "1"]]
)
def test_forms_and_shares_out_of_range_are_refused(tmp_path: Path, options: list[str]) -> None:
    pairs(tmp_path / "in", {str(i): (f"{i}.wav", f"{i}.png") for i in range(3)})
    command = ["pairs", "from-folder", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert cli.main([*command, *options]) == 2
    assert not (tmp_path / "out").exists()
    with pytest.raises(SidesError, match="less than 1 together"):
        Shares(0.6, 0.4)


@few
@given(
    weights=st.lists(st.integers(1, 50), min_size=3, max_size=40),
    test=st.floats(0.05, 0.5),
    validation=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 99),
)
def test_every_side_gets_something_and_no_more_than_its_share(
    weights: list[int], test: float, validation: float, seed: int
) -> None:
    shares = Shares(test, validation, seed)
    units = dict(enumerate(weights))
    sides = deal(units, shares, np.random.default_rng(seed))
    assert {*sides.values()} == {"train", *shares.asked}
    for side, share in shares.asked.items():
        mine = [units[unit] for unit in units if sides[unit] == side]
        assert sum(mine) <= share * sum(weights) or len(mine) == 1
    assert sides == deal(units, shares, np.random.default_rng(seed))


def test_ties_chain() -> None:
    assert together(7, [[1, 2], [4, 5], [2, 3], [6, 3]]) == [0, 1, 1, 1, 4, 4, 1]


def test_an_image_that_would_start_a_program_or_fill_the_memory_is_refused(tmp_path: Path) -> None:
    postscript = tmp_path / "a.png"
    Image.new("RGB", (40, 40), (255, 0, 0)).save(postscript, "EPS")  # Pillow asks Ghostscript
    with pytest.raises(pictures.PictureError, match="not an image"):
        pictures.load(postscript, 28, 3)
    vast = tmp_path / "b.png"
    Image.new("1", (8_000, 8_000)).save(vast)
    assert vast.stat().st_size < 20_000
    with pytest.raises(pictures.PictureError, match="more than 50,000,000 pixels"):
        pictures.load(vast, 28, 3)
