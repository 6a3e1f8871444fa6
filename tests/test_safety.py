"""Files from strangers: refused in words, before they cost memory or time, and never obeyed."""

import dataclasses
import io
import json
import os
import pickle
import resource
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from synesthete import artefact, checkpoint, config, family
from synesthete.artefact import ArtefactError
from synesthete.config import ConfigError
from synesthete.data import audio, fsdd, labels, mnist, shards, storage, tables, toy
from synesthete.data.alignment import AlignmentError
from synesthete.data.content import PNG, from_png, to_png
from synesthete.data.download import LIMIT, SourceError, inflate
from synesthete.errors import UserError
from synesthete.family import Shapes
from synesthete.generate import Model
from synesthete.train import State

LITTLE = 200_000_000
"""Bytes that nothing below may need: what is declared is far more, or what is there far less."""


@contextmanager
def little_memory() -> Iterator[None]:
    """Have the system refuse this process more than `LITTLE` bytes besides what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LITTLE, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained flow, the family with the most to configure."""
    preset = config.from_table(
        {
            **config.read("flow"),
            "model": {"encoder_width": 8, "width": 8, "inner_width": 8, "code": 8},
        }
    )
    told = {"seed": 0, "steps": 1, "seconds": 0.5, "command": "", "torch": "", "threads": 1}
    built = family.from_preset(preset, Shapes())
    artefact.write(artefact.Artefact(built, preset, Shapes(), told, {}), tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, dotted: str, value: Any) -> None:
    """Put a value, NaN too, at a place of a configuration."""
    path = folder / artefact.CONFIG
    about = json.loads(path.read_text())
    *way, last = dotted.split(".")
    table = about
    for key in way:
        table = table[key]
    table[last] = value
    path.write_text(json.dumps(about))


def vouch(folder: Path, weights: bytes) -> None:
    """Put weights into an artefact, and the hash that vouches for them."""
    (folder / artefact.WEIGHTS).write_bytes(weights)
    change(folder, "weights_sha256", shards.stamp(weights)["sha256"])


class Bomb:
    """Whoever unpickles this runs its code."""

    gone_off = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Bomb, "gone_off", True)


@pytest.mark.parametrize(
    "name", [artefact.CONFIG, artefact.WEIGHTS, artefact.SCORECARD, artefact.CARD]
)
def test_a_pickle_in_the_place_of_a_models_file_is_never_opened(model: Path, name: str) -> None:
    assert artefact.read(str(model)).parameters
    vouch(model, pickle.dumps(Bomb())) if name == artefact.WEIGHTS else None
    (model / name).write_bytes(pickle.dumps(Bomb()))
    if name in (artefact.CONFIG, artefact.WEIGHTS):
        with pytest.raises(ArtefactError, match=f"{name}: "):
            artefact.read(str(model))
    else:
        assert artefact.read(str(model)).parameters
    assert not Bomb.gone_off


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer-all.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "pipe"])
def test_no_checkpoint_is_made_of_a_pickle_or_a_pipe(tmp_path: Path, name: str, kind: str) -> None:
    built = family.build("image_autoencoder", {}, Shapes())
    optimizers: dict[str, torch.optim.Optimizer] = {"all": torch.optim.Adam(built.parameters())}
    state = State(model=built, optimizers=optimizers, average=None)
    target = checkpoint.save(state, tmp_path)
    checkpoint.restore(state, target)
    (target / name).unlink()
    if kind == "pipe":
        os.mkfifo(target / name)
    else:
        (target / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="this checkpoint cannot be read"):
        checkpoint.restore(state, target)
    assert not Bomb.gone_off


@pytest.mark.parametrize("name", [artefact.CONFIG, artefact.WEIGHTS])
def test_a_pipe_in_the_place_of_a_models_file_is_not_waited_for(model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    with pytest.raises(ArtefactError, match=r"no model here|a directory or device"):
        artefact.read(str(model))


def header(weights: bytes) -> tuple[dict[str, Any], bytes]:
    size = int.from_bytes(weights[:8], "little")
    return json.loads(weights[8 : 8 + size]), weights[8 + size :]


def with_header(head: bytes, data: bytes) -> bytes:
    return len(head).to_bytes(8, "little") + head + data


def huge(weights: bytes) -> bytes:
    """One tensor is said to have a trillion numbers, and the file to end where it says."""
    head, data = header(weights)
    name = max(head, key=lambda name: head[name]["data_offsets"][1])
    start = head[name]["data_offsets"][0]
    head[name] |= {"shape": [10**6, 10**6], "data_offsets": [start, start + 4 * 10**12]}
    return with_header(json.dumps(head).encode(), data)


def overlapping(weights: bytes) -> bytes:
    """Every tensor lies where the first does."""
    head, data = header(weights)
    for entry in head.values():
        start, end = entry["data_offsets"]
        entry["data_offsets"] = [0, end - start]
    return with_header(json.dumps(head).encode(), data)


@pytest.mark.parametrize(
    "harm",
    [
        huge,
        overlapping,
        lambda weights: weights[:100],
        lambda weights: weights[:5],
        lambda weights: weights[:-1],
        lambda weights: b"",
        lambda weights: with_header(b"[" * 100_000, b""),
        lambda weights: with_header(b" " * (artefact.HEADER + 1), b""),
        lambda weights: b"\xff" * 8 + weights[8:],
    ],
    ids=["huge", "overlapping", "cut", "stub", "short", "empty", "deep", "long", "endless"],
)
def test_weights_whose_header_lies_are_refused(model: Path, harm: Callable[[bytes], bytes]) -> None:
    vouch(model, harm((model / artefact.WEIGHTS).read_bytes()))
    with little_memory(), pytest.raises(UserError, match=r"model|network"):
        artefact.read(str(model))


def test_more_weights_than_any_model_has_are_not_read(model: Path) -> None:
    with (model / artefact.WEIGHTS).open("wb") as file:
        file.truncate(10**12)
    with little_memory(), pytest.raises(ArtefactError, match="1,000,000,000,000 bytes, wanted"):
        artefact.read(str(model))


@pytest.mark.parametrize("name", ["os", "../x", "synesthete.cli", "families.vae", "vae\0", "", 3])
def test_a_configuration_cannot_name_an_import(model: Path, name: object) -> None:
    change(model, "preset.family", name)
    with pytest.raises(ConfigError, match=r"no family|wanted str"):
        artefact.read(str(model))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("preset.model.width", 10**9),
        ("preset.model.width", 10**30),
        ("preset.model.width", 0),
        ("preset.model.width", -8),
        ("preset.model.width", 9),
        ("preset.model.code", 10**6),
        ("preset.model.blocks", 10**9),
        ("preset.model.evaluations", 10**9),
        ("preset.model.guidance", 0.0),
        ("preset.model.dropout", float("nan")),
        ("preset.model.dropout", 10**400),
        ("preset.model", [1]),
        ("preset.spectrogram.dft", 10**9),
        ("preset.spectrogram.columns", 10**9),
        ("preset.spectrogram.bands", 47),
        ("preset.spectrogram.low_hz", float("-inf")),
        ("preset.training.learning_rate", float("nan")),
        ("preset.training.learning_rate", float("inf")),
        ("preset.training", None),
        ("preset.name", "../../x"),
        ("preset.name", "\ud800"),
        ("preset", "flow"),
        ("shapes.image", [1, 10**9, 10**9]),
        ("shapes.image", [2, 28, 28]),
        ("shapes.image", [1, 28.0, 28]),
        ("shapes.audio", [[1], 48, 48]),
        ("shapes", {"video": [1, 2, 3]}),
        ("format", [[]]),
        ("training", {}),
        ("training.steps", "many"),
        ("data", 7),
        ("data.origins", [7]),
        ("data.split", ["random"]),
        ("data.deep", json.loads("[" * 100 + "]" * 100)),
    ],
)
def test_a_configuration_beyond_reason_is_refused_before_anything_is_made_of_it(
    model: Path, place: str, value: Any
) -> None:
    change(model, place, value)
    with little_memory(), pytest.raises(UserError):
        artefact.read(str(model))


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**5 + "1" + "}" * 10**5, '{"a": 1e9', "\xff"]
)
def test_json_that_is_nested_or_broken_is_refused(model: Path, text: str) -> None:
    for name, read, error in (
        (artefact.CONFIG, artefact.read, ArtefactError),
        (storage.HEADER, storage.load, AlignmentError),
    ):
        (model / name).write_text(text, encoding="latin-1")
        with pytest.raises(error, match=r"cannot be read|not an alignment"):
            read(str(model))


def test_a_network_beyond_memory_is_refused_wherever_it_is_asked_for() -> None:
    with little_memory(), pytest.raises(ConfigError, match="a network of more than 536,870,912"):
        family.build("autoencoder", {"width": 10**5}, Shapes())


def test_a_preset_is_no_path_and_no_binary(tmp_path: Path) -> None:
    for data in (b'name = "../../x"', b"name = 3", b"\xff\xfe", b"a = " + b"[" * 10**5):
        (tmp_path / "my.toml").write_bytes(data)
        with pytest.raises(ConfigError):
            config.read(str(tmp_path / "my.toml"))


def test_what_an_error_quotes_cannot_steer_a_terminal() -> None:
    told = str(UserError("a\x1b[2J\x07\udcff:\tna\u00efve\nnext"))
    assert told == "a\\x1b[2J\\x07\\udcff:\tna\u00efve\nnext"


# Archives


def tar(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as opened:
        for info, data in members:
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return file.getvalue()


def block(name: str, kind: bytes, size: int) -> bytes:
    """A tar header of a size, below 0 too."""
    info = tarfile.TarInfo(name)
    info.type = kind
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = (
        b"\xff" + size.to_bytes(11, "big", signed=True) if size < 0 else b"%011o\0" % size
    )
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


NAME = "top/recordings/1_eve_0.wav"


@pytest.mark.parametrize(
    "archive",
    [
        block(NAME, tarfile.REGTYPE, 0) + block(NAME, tarfile.REGTYPE, -1_024),
        block("a", tarfile.XHDTYPE, -512) + bytes(1_024),
        b"".join(
            block("a", tarfile.XHDTYPE, 8) + b"9 a=b\n\n\n".ljust(512, b"\0") for _ in range(3_000)
        ),
        block("a", tarfile.XHDTYPE, 60_000) + b"1" * 60_416,
        block("a", tarfile.GNUTYPE_LONGNAME, 1 << 30) + bytes(512),
    ],
    ids=["in circles", "backwards", "a chain", "a long search", "a long name"],
)
def test_a_tar_that_would_keep_the_reader_busy_is_refused(archive: bytes) -> None:
    with little_memory(), pytest.raises(SourceError, match="damaged archive"):
        fsdd.unpack(archive)


def test_more_members_than_the_data_set_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsdd, "MOST_MEMBERS", 3)
    names = [f"top/recordings/{number}_eve_0.wav" for number in range(4)]
    with pytest.raises(SourceError, match="more than 3 files"):
        fsdd.unpack(tar(*((tarfile.TarInfo(name), b"") for name in names)))
    assert len(fsdd.unpack(tar(*((tarfile.TarInfo(name), b"") for name in names[:3])))) == 3


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int) -> Path:
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_is_read_into_memory_by_known_names_once_each(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(mnist.TEST_LABELS)
    link.external_attr = 0o120777 << 16  # a symbolic link, for those who unpack
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [
        (f"../../{mnist.TRAIN_IMAGES}", b"up"),
        (f"/etc/{mnist.TRAIN_LABELS}", b"root"),
        ("../other", b"no"),
        (link, b"/etc/passwd"),
        *[(mnist.TEST_IMAGES, b"a copy")] * 50,
    ]
    archive = zipped(tmp_path / "a.zip", *members, method=zipfile.ZIP_DEFLATED)
    assert mnist.unpack(archive) == {
        mnist.TRAIN_IMAGES: b"up",
        mnist.TRAIN_LABELS: b"root",
        mnist.TEST_LABELS: b"/etc/passwd",
        mnist.TEST_IMAGES: b"a copy",
    }
    assert [*tmp_path.iterdir()] == [archive]


def test_a_zip_bomb_is_cut_short_and_a_crowded_one_not_opened(tmp_path: Path) -> None:
    bomb = (mnist.TRAIN_IMAGES, bytes(LIMIT + 1))
    archive = zipped(tmp_path / "a.zip", bomb, method=zipfile.ZIP_DEFLATED)
    with little_memory():
        assert len(mnist.unpack(archive)[mnist.TRAIN_IMAGES]) == LIMIT
    with archive.open("ab") as file:
        file.truncate(mnist.LARGEST_ARCHIVE + 1)
    with pytest.raises(SourceError, match="more than 16,777,216 bytes"):
        mnist.unpack(archive)


def test_a_zip_damaged_within_is_an_error(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED):
        noise = np.random.default_rng(0).bytes(500)
        archive = zipped(tmp_path / "a.zip", (mnist.TEST_LABELS, noise), method=method)
        data = bytearray(archive.read_bytes())
        data[60:90] = b"\xff" * 30
        archive.write_bytes(data)
        with pytest.raises(SourceError, match="damaged archive"):
            mnist.unpack(archive)


def test_a_zip_is_not_unpacked_by_a_method_that_asks_for_memory(tmp_path: Path) -> None:
    """A member in LZMA says how much its decoder shall take: here, 4 GB."""
    member = (mnist.TEST_LABELS, b"seven" * 99)
    archive = zipped(tmp_path / "a.zip", member, method=zipfile.ZIP_LZMA)
    data = bytearray(archive.read_bytes())
    dictionary = 30 + len(mnist.TEST_LABELS) + 5  # after the member's header, LZMA's own
    data[dictionary : dictionary + 4] = b"\xff" * 4
    archive.write_bytes(data)
    with little_memory(), pytest.raises(SourceError, match="packed by method 14"):
        mnist.unpack(archive)


def test_a_gzip_bomb_is_refused() -> None:
    packed = zlib.compressobj(9, wbits=31)
    bomb = packed.compress(bytes(LIMIT + 1)) + packed.flush()
    with little_memory(), pytest.raises(SourceError, match="unpacks to more than"):
        inflate(bomb)


@pytest.mark.parametrize("shape", [(1,) * 40, (2**32 - 1,) * 3, (0, 2**32 - 1, 2**32 - 1)])
def test_an_idx_file_of_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    with little_memory(), pytest.raises(SourceError, match="idx file"):
        mnist.parse_idx(head + b"\7")


def test_a_directory_of_recordings_may_hold_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1_eve_0.wav")
    with pytest.raises(OSError, match="a directory or device"):
        fsdd.read(tmp_path)


# Sound


def tone(seconds: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(8_000 * seconds)) / 8_000)


def test_a_wav_that_declares_100_hours_is_what_it_holds() -> None:
    """As a program that writes to a pipe cannot know the length, and declares the most."""
    file = io.BytesIO()
    soundfile.write(file, tone(0.5), 8_000, format="WAV")
    data = bytearray(file.getvalue())
    honest = audio.load(bytes(data))
    for declared in (2 * 8_000 * 360_000 % 2**32, 2**32 - 1):
        data[4:8] = data[40:44] = struct.pack("<I", declared)
        with little_memory():
            np.testing.assert_array_equal(audio.load(bytes(data)), honest)


def test_a_flac_that_declares_samples_and_has_none_is_refused() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone(0.25), -tone(0.25)], axis=1), 8_000, format="FLAC")
    data = file.getvalue()
    with pytest.raises(audio.Empty, match="no sample can be decoded"):
        audio.load(data[:24] + data[25:])


def test_more_samples_than_a_recording_has_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """30 s of 32 channels of silence at 192 kHz take a few kilobytes, and unpacked 0.7 GB."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros((24_000, 8)), 48_000, format="OGG", subtype="VORBIS")
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    few = dataclasses.replace(audio.LIMITS, max_samples=100_000)
    with pytest.raises(audio.TooLong, match="8 channels of 24000 samples; wanted at most 100000"):
        audio.load(file.getvalue(), limits=few)
    most = np.broadcast_to(np.zeros(1), (30 * 192_000, 32))
    with little_memory(), pytest.raises(audio.TooLong, match="50000000 samples in all"):
        audio.load(most, 192_000)


# Images and alignments


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG of that size, black, with further chunks before its pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * min(height, 9)))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def test_an_image_that_unpacks_to_more_than_it_should_is_refused() -> None:
    text = (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 24)))
    with little_memory():
        with pytest.raises(ValueError, match="no PNG of 9x9"):
            from_png(png(50_000, 50_000), (1, 9, 9))
        with pytest.raises(ValueError, match=r"decoded|too large|large"):
            from_png(png(9, 9, text), (1, 9, 9))
    assert from_png(png(9, 9), (1, 9, 9)).max() == 0


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    alignment, named = toy.build(recordings=16, images=16)
    storage.save(alignment, tmp_path / "pairs", beside=named.save)
    return tmp_path / "pairs"


def told(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a header, and have it vouch for the files that are there."""
    path = folder / storage.HEADER
    about = json.loads(path.read_text())
    about["files"] = {name: shards.stamp((folder / name).read_bytes()) for name in about["files"]}
    change(about)
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["counts"].update(image_shape=[1, 10**6, 10**6]),
        lambda header: header["counts"].update(image_shape=[3, 4096, 4096]),
        lambda header: header["counts"].update(image_shape=None),
        lambda header: header["counts"].update(rate="fast"),
        lambda header: header["provenance"].update(held_out_groups=[["a"]]),
        lambda header: header.update(provenance="mix"),
        lambda header: header.update(version=float("inf")),
        lambda header: header.update(files=dict.fromkeys(header["files"], 3)),
    ],
)
def test_an_alignments_header_beyond_reason_is_refused(
    pairs: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    told(pairs, change)
    with little_memory(), pytest.raises(AlignmentError):
        storage.load(pairs)


def test_one_image_said_a_million_times_is_refused(pairs: Path) -> None:
    """Large and black, it takes a few hundred bytes; nodes that share it would take a gigabyte."""
    rows = pq.read_table(pairs / storage.NODES).to_pylist()
    images = [row for row in rows if row["kind"] == "image" and row["split"] == "train"]
    data = to_png(np.zeros((1, 4_000, 4_000), np.uint8))
    shard = pairs / "train" / "image-000000.tar"
    shard.write_bytes(shard.read_bytes() + data)
    place = {"offset": shard.stat().st_size - len(data), "size": len(data)}
    copies = [{**images[0], **place, "id": f"{number:016x}"} for number in range(1_000)]
    sounds = [row for row in rows if row["kind"] == "audio"]
    pq.write_table(pa.Table.from_pylist([*sounds, *copies]), pairs / storage.NODES)
    told(pairs, lambda header: header["counts"].update(image_shape=[1, 4_000, 4_000]))
    with little_memory(), pytest.raises(AlignmentError, match="unpack to 16,0"):
        storage.load(pairs)


SCHEMA = pa.schema({"id": pa.string(), "size": pa.int64()})


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def test_a_table_is_read_where_it_is_the_one_asked_for_and_of_a_reasonable_size() -> None:
    columns = {"id": ["a", "b"], "size": [1, 2]}
    assert tables.read_table(parquet(columns), SCHEMA).to_pydict() == columns
    many = 3_000_000
    for message, data in (
        ("wanted \\['id', 'size'\\]", parquet({"id": ["a"], "size": ["1"]})),
        ("gaps in 'id'", parquet({"id": ["a", None], "size": [1, 2]})),
        ("3,000,000 rows", parquet({"id": pa.repeat("a", many), "size": pa.repeat(1, many)})),
        ("packed by", parquet(columns, compression="ZSTD")),
        (
            "more than 1000 bytes",
            parquet({"id": pa.repeat("a" * 10**4, 99), "size": range(99)}),
        ),
    ):
        with little_memory(), pytest.raises(ValueError, match=message):
            tables.read_table(data, SCHEMA)


def test_labels_that_are_no_table_of_labels_are_refused(pairs: Path) -> None:
    assert labels.load(pairs).classes
    (pairs / labels.FILE).write_bytes(parquet({"kind": ["audio"], "id": ["a"], "label": [3]}))
    with pytest.raises(labels.LabelsError, match="damaged"):
        labels.load(pairs)


def test_a_sound_model_still_draws_after_all_that(model: Path) -> None:
    images = Model(artefact.read(str(model))).generate(tone(0.5), 2, sample_rate=8_000)
    assert images.shape == (2, 28, 28)
