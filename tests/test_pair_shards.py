"""Pair shards: what is written is what is read, whole or not at all, and nothing else passes."""

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray

from synesthete.cli import main
from synesthete.data import pair_shards, remote, shards, storage, toy
from synesthete.data.alignment import Alignment, AlignmentError
from synesthete.data.content import from_16_bit, from_flac, from_png, to_16_bit
from synesthete.data.labels import Labels
from synesthete.errors import UserError
from synesthete.locks import alone

Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]


def pairs(count: int, images: int = 1) -> Iterator[Pair]:
    """Recordings of 100 samples with so many images each, all different."""
    for row in range(count):
        rng = np.random.default_rng(row)
        wave = from_16_bit(to_16_bit(rng.uniform(-0.5, 0.5, 100)))
        yield wave, rng.integers(0, 256, (images, 1, 8, 8), np.uint8)


def held(folder: Path) -> list[pair_shards.Held]:
    found = pair_shards.read(folder)
    return [pair_shards.hold(found, number) for number in range(len(found.shards))]


def contents(folder: Path) -> list[tuple[bytes, list[bytes]]]:
    """The waveform and the images of every sample, decoded."""
    found = pair_shards.read(folder)
    samples = []
    for shard in held(folder):
        image = iter(shard.image)
        for flac, degree in zip(shard.flac, shard.degrees.tolist(), strict=True):
            wave = from_flac(shard.cut(flac), found.rate, found.longest, fewer=True)
            pngs = [shard.cut(next(image)) for _ in range(degree)]
            samples.append(
                (wave.tobytes(), [from_png(p, found.image_shape).tobytes() for p in pngs])
            )
    return samples


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    pair_shards.write(pairs(50, 3), tmp_path / "s", rate=8_000, shard_bytes=20_000)
    found = pair_shards.read(tmp_path / "s")
    assert (found.rate, found.longest, found.image_shape) == (8_000, 100, (1, 8, 8))
    assert (found.samples, found.edges) == (50, 150)
    assert len(found.shards) > 5
    wanted = [(w.tobytes(), [i.tobytes() for i in images]) for w, images in pairs(50, 3)]
    assert contents(tmp_path / "s") == wanted


def test_a_recording_with_very_many_images_is_several_samples(tmp_path: Path) -> None:
    many = pair_shards.MOST_IMAGES * 2 + 5
    pair_shards.write(pairs(1, many), tmp_path / "s", rate=8_000)
    (shard,) = pair_shards.read(tmp_path / "s").shards
    assert dict(shard.degrees) == {pair_shards.MOST_IMAGES: 2, 5: 1}
    assert [shard.blocks(k) for k in (1, 4, 100)] == [many, 34, 3]
    (wave, images) = next(pairs(1, many))
    found = contents(tmp_path / "s")
    assert {heard for heard, _ in found} == {wave.tobytes()}
    assert [one for _, seen in found for one in seen] == [one.tobytes() for one in images]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
def test_the_webdataset_library_reads_the_shards(tmp_path: Path) -> None:
    pair_shards.write(pairs(6, 2), tmp_path / "s", rate=8_000)
    tar = tmp_path / "s" / "train" / "pairs-000000.tar"
    dataset = webdataset.WebDataset(str(tar), shardshuffle=False)
    samples = list(dataset)
    del dataset
    gc.collect()
    assert [sample["__key__"] for sample in samples] == [f"{n:09d}" for n in range(6)]
    for sample, (wave, images) in zip(samples, pairs(6, 2), strict=True):
        assert {k for k in sample if not k.startswith("__")} == {"flac", "0000.png", "0001.png"}
        np.testing.assert_array_equal(from_flac(sample["flac"], 8_000, 100), wave)
        np.testing.assert_array_equal(from_png(sample["0001.png"], (1, 8, 8)), images[1])


def test_of_an_alignment_come_the_edges_of_one_side(
    tmp_path: Path, toy_world: tuple[Alignment, Labels]
) -> None:
    world = toy_world[0]
    storage.save(world, tmp_path / "pairs")
    pair_shards.convert(tmp_path / "pairs", tmp_path / "s", shard_bytes=30_000)
    side = world.subset("train")
    wanted = Counter(
        (side.waveforms[audio].tobytes(), side.images[image].tobytes())
        for audio, image in side.edges
    )
    found = Counter((wave, image) for wave, images in contents(tmp_path / "s") for image in images)
    assert found == wanted
    header = pair_shards.read(tmp_path / "s")
    assert header.alignment == world.digest()
    assert header.provenance == world.provenance
    assert header.longest == max(map(len, side.waveforms))


def test_equal_pairs_give_equal_bytes_and_a_digest_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pair_shards.write(pairs(9), tmp_path / name, rate=8_000)
    pair_shards.write(pairs(10), tmp_path / "other", rate=8_000)
    one, two, other = (
        [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(f.rglob("*")) if p.is_file()]
        for f in (tmp_path / "one", tmp_path / "two", tmp_path / "other")
    )
    assert one == two != other
    digests = [pair_shards.read(tmp_path / n).digest() for n in ("one", "two", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_pairs_that_fail_half_way_leave_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Pair]:
        yield from pairs(5)
        raise ZeroDivisionError

    pair_shards.write(pairs(3), tmp_path / "s", rate=8_000)
    before = pair_shards.read(tmp_path / "s")
    with pytest.raises(ZeroDivisionError):
        pair_shards.write(broken(), tmp_path / "s", rate=8_000, shard_bytes=1_000)
    assert pair_shards.read(tmp_path / "s") == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    """Least of all the alignment that is read."""
    storage.save(toy.build(recordings=20, images=40)[0], tmp_path / "pairs")
    with pytest.raises(AlignmentError, match="something else"):
        pair_shards.convert(tmp_path / "pairs", tmp_path / "pairs")
    assert storage.read_header(tmp_path / "pairs")["version"] == storage.VERSION


@pytest.mark.parametrize("megabytes", ["nan", "inf", "0", "40"])
def test_shards_of_no_such_size_are_refused(
    megabytes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, out = str(tmp_path / "pairs"), str(tmp_path / "s")
    storage.save(toy.build(recordings=20, images=40)[0], pairs)
    assert main(["pairs", "stream", pairs, "--out", out, "--megabytes", megabytes]) == 2
    assert "bytes, wanted 1 to 33,554,432" in capsys.readouterr().err


def test_one_process_writes_and_sweeps_up_after_a_killed_one(tmp_path: Path) -> None:
    (tmp_path / ".draft-s-abcdefgh").mkdir()
    with alone(tmp_path / "s"), pytest.raises(UserError, match="another process is writing"):
        pair_shards.write(pairs(3), tmp_path / "s", rate=8_000)
    pair_shards.write(pairs(3), tmp_path / "s", rate=8_000)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("command", ["pairs inspect", "evaluate digits --pairs", "demo --pairs"])
def test_what_streams_nothing_says_so(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair_shards.write(pairs(3), tmp_path / "s", rate=8_000)
    assert main([*command.split(), str(tmp_path / "s")]) == 2
    told = (
        f"{tmp_path / 's'}: pair shards, which `synesthete train` alone takes; name the alignment"
    )
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("given", "told"), [
    ([], "nothing to write"),
    ([(np.zeros(5, np.float32), np.zeros((0, 1, 8, 8), np.uint8))], "nothing to write"),
    ([(np.full(5, 2, np.float32), np.zeros((1, 1, 8, 8), np.uint8))], "recording 0"),
    ([(np.zeros(5, np.float32), np.zeros((1, 1, n, 8), np.uint8)) for n in (8, 9)], "recording 1"),
])  # fmt: skip
def test_what_cannot_be_written_is_named(given: list[Pair], told: str, tmp_path: Path) -> None:
    with pytest.raises(AlignmentError, match=told):
        pair_shards.write(given, tmp_path / "s", rate=8_000)
    assert not (tmp_path / "s").exists()


def test_a_damaged_alignment_makes_no_shards(tmp_path: Path) -> None:
    storage.save(toy.build(recordings=20, images=40)[0], tmp_path / "pairs")
    shard = tmp_path / "pairs" / "train" / "image-000000.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(AlignmentError, match=r"image-000000\.tar was altered"):
        pair_shards.convert(tmp_path / "pairs", tmp_path / "s")
    with pytest.raises(AlignmentError, match="no split 'validation'"):
        pair_shards.convert(tmp_path / "pairs", tmp_path / "s", split="validation")
    assert not (tmp_path / "s").exists()


def damaged(shard: Path, how: str) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    if how == "missing":
        shard.unlink()
    else:
        shard.write_bytes(data[:-512] if how == "cut" else data)


@pytest.mark.parametrize(("how", "told"), [
    ("missing", "No such file"), ("cut", "wanted"), ("altered", "altered"),
])  # fmt: skip
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_damaged_shard_is_named_with_what_to_do(
    scheme: str, how: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    pair_shards.write(pairs(9), tmp_path / "s", rate=8_000, shard_bytes=5_000)
    damaged(tmp_path / "s" / "train" / "pairs-000001.tar", how)
    found = pair_shards.read(f"{scheme}{tmp_path}/s")
    pair_shards.hold(found, 0)
    reason = "FileNotFoundError" if scheme and how == "missing" else told
    with pytest.raises(AlignmentError, match=rf"train/pairs-000001\.tar: .*{reason}.*--resume"):
        pair_shards.hold(found, 1)


def test_every_name_that_hides_no_shards_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "header.json").write_text("[]")
    for place in (tmp_path, tmp_path / "none", "nosuch://bucket/x", f"file://{tmp_path}/none"):
        with pytest.raises(AlignmentError, match=r"none|header|nosuch"):
            pair_shards.read(place)


@pytest.mark.parametrize(("key", "value"), [
    ("rate", 0), ("rate", 8_000.0), ("rate", True), ("longest", 10**12), ("longest", None),
    ("image_shape", [2, 8, 8]), ("image_shape", [3, 4_000, 4_000]), ("image_shape", [8, 8]),
    ("image_shape", [1, -8, -8]), ("split", "../x"), ("split", []), ("shards", []),
    ("shards", [[10**12, "00", [[1, 1]]]]), ("shards", [[5_000, "00", [[1, 10**9]]]]),
    ("shards", [[5_000, "00", [[10**9, 1]]]]), ("shards", [[5_000, "00", []]]),
    ("shards", [[5_000, "00", [[1, -1], [2, 3]]]]), ("shards", [[5_000, "00", 5]]),
    ("shards", {"a": 1}), ("version", 2), ("format", "other"), ("provenance", None),
    ("digest", "0"), ("longest", 99),
])  # fmt: skip
def test_a_header_that_asks_for_too_much_or_makes_no_sense_is_refused(
    key: str, value: Any, tmp_path: Path
) -> None:
    pair_shards.write(pairs(9), tmp_path / "s", rate=8_000)
    path = tmp_path / "s" / "header.json"
    header = json.loads(path.read_text())
    assert header[key] != value or type(header[key]) is not type(value)
    path.write_text(json.dumps({**header, key: value}))
    with pytest.raises(AlignmentError, match=str(tmp_path)):
        pair_shards.read(tmp_path / "s")


def forged(folder: Path, data: bytes, degrees: list[list[int]]) -> pair_shards.PairShards:
    """Pair shards whose header vouches for these bytes."""
    pair_shards.write(pairs(1), folder, rate=8_000)
    (folder / "train" / "pairs-000000.tar").write_bytes(data)
    stamp = shards.stamp(data)
    made = pair_shards.read(folder)
    shard = pair_shards.Shard(stamp["size"], stamp["sha256"], dict(degrees))  # type: ignore[arg-type]
    return pair_shards.PairShards(**{**vars(made), "shards": (shard,)})


@pytest.mark.parametrize(("files", "told"), [
    ([("a.flac", b"x")], "as many samples"),
    ([("a.0000.png", b"x")], "belongs to no recording"),
    ([("a.flac", b"x"), ("b.0000.png", b"x")], "belongs to no recording"),
    ([("a.flac", b"x"), ("a.json", b"x")], "belongs to no recording"),
])  # fmt: skip
def test_a_vouched_shard_of_other_files_is_refused(
    files: list[tuple[str, bytes]], told: str, tmp_path: Path
) -> None:
    found = forged(tmp_path / "s", shards.packed(files), [[1, 1]])
    with pytest.raises(AlignmentError, match=rf"pairs-000000\.tar: damaged .*{told}"):
        pair_shards.hold(found, 0)


@pytest.mark.parametrize("harm", ["link", "size", "cut", "text", "negative"])
def test_a_vouched_shard_that_is_another_tar_is_refused(harm: str, tmp_path: Path) -> None:
    data = bytearray(shards.packed([("a.flac", b"x" * 600), ("a.0000.png", b"y")]))
    match harm:
        case "link":
            data[156:157] = b"2"
        case "size":
            data[124:135] = b"77777777777"
        case "cut":
            del data[700:]
        case "text":
            data[:] = b"<html>no such thing</html>" * 40
        case "negative":
            data[124:135] = b"-0000000001"
    found = forged(tmp_path / "s", bytes(data), [[1, 1]])
    with pytest.raises(AlignmentError, match=r"pairs-000000\.tar: damaged"):
        pair_shards.hold(found, 0)
