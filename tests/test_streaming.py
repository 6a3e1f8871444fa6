"""Streams: each edge once an epoch, a pure function of (seed, step), in bounded memory."""

import os
import signal
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from loopback import Loopback, Server
from synesthete import artefact, config, material, runs
from synesthete.cli import main
from synesthete.config import Preset
from synesthete.data import batches, pair_shards, remote, shards, storage, streaming, toy
from synesthete.data.alignment import Alignment, AlignmentError
from synesthete.data.audio import resample, trim_silence
from synesthete.data.augment import AugmentationConfig
from synesthete.data.batches import Batch
from synesthete.data.content import from_16_bit, to_16_bit, to_flac, to_png
from synesthete.data.pair_shards import PairShards
from synesthete.data.scenes import SceneConfig
from synesthete.data.spectrogram import LogMel, SpectrogramConfig, pad
from synesthete.data.streaming import Recipe
from synesthete.errors import SharedError
from synesthete.generate import Model
from synesthete.train import Interrupted

FRONT_END = SpectrogramConfig(bands=8, columns=8)
VARIED = AugmentationConfig(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 1, 2)
FIELDS = ("audio", "image", "audio_of", "weight")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0, 0.0))


def waves(count: int) -> list[NDArray[np.float32]]:
    """Different recordings of 2,000 samples."""
    rng = np.random.default_rng(1)
    return [from_16_bit(to_16_bit(rng.uniform(-0.5, 0.5, 2_000))) for _ in range(count)]


def numbered(folder: Path, degrees: Sequence[int], shard_bytes: int = 20_000) -> PairShards:
    """Shards of recordings with so many images; image n of them all has the colour n."""
    first = np.cumsum([0, *degrees])

    def pairs() -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
        for row, wave in enumerate(waves(len(degrees))):
            colours = np.arange(first[row], first[row + 1])
            pixels = np.stack([colours // 256, colours % 256], axis=1).astype(np.uint8)
            yield wave, np.repeat(pixels[:, None, :, None], 2, axis=3)

    pair_shards.write(pairs(), folder, rate=8_000, shard_bytes=shard_bytes)
    return pair_shards.read(folder)


def recipe(
    size: int = 7,
    objective: str = "pairs",
    together: int = 1,
    augmentation: AugmentationConfig | None = None,
    scene: SceneConfig | None = None,
) -> Recipe:
    vary = augmentation or AugmentationConfig()
    return Recipe(FRONT_END, vary, scene or SceneConfig(), objective, size, together)


def colours(batch: Batch) -> list[int]:
    """Which images a batch holds."""
    pixels = (batch.image[:, 0, :, 0] * 255).round().int()
    return [int(high) * 256 + int(low) for high, low in pixels]


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_the_shards_of_these_tests_are_more_than_a_window(tmp_path: Path) -> None:
    """Otherwise little below would be tested."""
    assert len(numbered(tmp_path / "s", [1] * 100).shards) > 2 * streaming.WINDOW


def test_every_edge_comes_once_an_epoch_and_epochs_differ(tmp_path: Path) -> None:
    degrees = [1, 2, 3, 4, 5] * 30
    pairs, edges = numbered(tmp_path / "s", degrees), sum(degrees)
    steps = islice(streaming.batches(pairs, recipe(), 0), -(-3 * edges // 7))
    seen = [colour for batch in steps for colour in colours(batch)]
    epochs = [seen[n * edges : (n + 1) * edges] for n in range(3)]
    assert all(sorted(epoch) == list(range(edges)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(epochs[0]) != epochs[0]


def test_windows_mix_shards_and_each_epoch_mixes_others(tmp_path: Path) -> None:
    """Neighbours on disk are apart; what an epoch's first samples are taken from changes."""
    pairs = numbered(tmp_path / "s", [1] * 200, 15_000)
    each = 200 / len(pairs.shards)
    assert len(pairs.shards) > 3 * streaming.WINDOW
    stream = streaming.batches(pairs, recipe(20), 0)
    seen = [c for batch in islice(stream, 20) for c in colours(batch)]
    homes = [{int(c / each) for c in seen[start : start + 20]} for start in (0, 200)]
    assert min(map(len, homes)) > 3
    assert homes[0] != homes[1]


def test_images_stay_with_their_recording(tmp_path: Path) -> None:
    degrees = [1, 2, 3, 4] * 5
    pairs = numbered(tmp_path / "s", degrees)
    log_mel = LogMel(FRONT_END)
    wanted = batches.pictures(waves(20), log_mel)
    owner = np.repeat(np.arange(20), degrees)
    for batch in islice(streaming.batches(pairs, recipe(9), 0), 60):
        assert len(batch.audio) == len({int(owner[c]) for c in colours(batch)})
        for place, colour in enumerate(colours(batch)):
            heard = batch.audio[batch.audio_of[place]]
            torch.testing.assert_close(heard, wanted[owner[colour]])
        assert batch.weight.tolist() == [1.0] * 9


@pytest.mark.parametrize("start", [1, 45])
@pytest.mark.parametrize(("objective", "together"), [("pairs", 1), ("pairs", 7), ("grouped", 1)])
def test_starting_at_a_step_continues_the_stream_bit_for_bit(
    start: int, objective: str, together: int, tmp_path: Path
) -> None:
    pairs = numbered(tmp_path / "s", [1, 2, 3, 4] * 30)
    scene = SceneConfig(copies=1, speed=0.1, snr=20.0)
    cut = recipe(7, objective, together, VARIED, scene)
    whole = list(islice(streaming.batches(pairs, cut, 3), start + 12))
    again = list(islice(streaming.batches(pairs, cut, 3, start), 12))
    assert all(same(one, other) for one, other in zip(whole[start:], again, strict=True))
    other = next(streaming.batches(pairs, cut, 4, start))
    assert not same(other, again[0])


def test_going_on_reads_no_shard_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = numbered(tmp_path / "s", [1] * 300, 15_000)
    read: list[int] = []
    whole = pair_shards.hold

    def hold(of: PairShards, number: int) -> pair_shards.Held:
        read.append(number)
        return whole(of, number)

    monkeypatch.setattr(streaming, "hold", hold)
    step = 250 // 7  # in the last window of the first epoch
    stream = streaming.batches(pairs, recipe(), 0, step)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(pairs.shards) > 4 * streaming.WINDOW
    assert len(read) <= 2 * streaming.WINDOW


def test_no_more_than_two_windows_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = numbered(tmp_path / "s", [1] * 400, 15_000)
    counted: Counter[str] = Counter()
    finalizers: list[Any] = []
    most, whole = 0, pair_shards.hold

    def hold(of: PairShards, number: int) -> pair_shards.Held:
        nonlocal most
        held = whole(of, number)
        finalizers.append(weakref.finalize(held, counted.subtract, {"held": 1}))
        counted["held"] += 1
        most = max(most, counted["held"])
        return held

    monkeypatch.setattr(streaming, "hold", hold)
    assert len(pairs.shards) > 5 * streaming.WINDOW
    for _ in islice(streaming.batches(pairs, recipe(), 0), 120):
        pass
    assert len(finalizers) > 2 * len(pairs.shards) - 2 * streaming.WINDOW
    assert streaming.WINDOW <= most <= 2 * streaming.WINDOW


@pytest.mark.parametrize("readers", [2, 3])
@pytest.mark.parametrize("objective", ["pairs", "grouped"])
def test_readers_own_shares_that_are_apart_and_cover_all(
    objective: str, readers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    degrees = [1, 2, 1] * 40
    pairs = numbered(tmp_path / "s", degrees)
    count = pairs.edges if objective == "pairs" else pairs.samples
    whole = pair_shards.hold
    heard: list[set[bytes]] = []
    for reader in range(readers):
        read: set[int] = set()
        monkeypatch.setattr(streaming, "hold", lambda p, n, read=read: read.add(n) or whole(p, n))
        stream = streaming.batches(pairs, recipe(6, objective), 0, 0, reader, readers)
        share: set[bytes] = set()
        for batch in islice(stream, count):
            assert len(batch.image) == 6 // readers
            share |= {image.numpy().tobytes() for image in batch.image}
        heard.append(share)
        stream.close()  # type: ignore[attr-defined]
        assert read == {*range(reader, len(pairs.shards), readers)}
    assert sum(map(len, heard)) == len(set.union(*heard)) == count


def test_readers_that_cannot_share_are_told(tmp_path: Path) -> None:
    pairs = numbered(tmp_path / "s", [1] * 5, 10**6)
    with pytest.raises(SharedError, match="7 cannot be shared by 2"):
        next(streaming.batches(pairs, recipe(), 0, 0, 0, 2))
    with pytest.raises(SharedError, match=r"1 shard\(s\) for 7 readers"):
        next(streaming.batches(pairs, recipe(), 0, 0, 0, 7))


def test_a_recording_s_images_come_together(tmp_path: Path) -> None:
    """Of degrees 1, 2, 3, 4 with 3 together: blocks 1, 1, 1, 2, and 15 samples an epoch."""
    degrees = [1, 2, 3, 4] * 20
    pairs, owner = numbered(tmp_path / "s", degrees), np.repeat(np.arange(80), degrees)
    stream = streaming.batches(pairs, recipe(15, "pairs", 3), 0)
    epoch = [c for batch in islice(stream, 20) for c in colours(batch)]
    assert {*epoch} == {*range(200)}
    blocks = owner[np.array(epoch)].reshape(-1, 3)
    assert (blocks == blocks[:, :1]).all()
    assert Counter(blocks[:, 0].tolist()) == {n: (degrees[n] + 2) // 3 for n in range(80)}


def stored(folder: Path, world: Alignment) -> PairShards:
    storage.save(world, folder / "pairs")
    pair_shards.convert(folder / "pairs", folder / "s", shard_bytes=30_000)
    return pair_shards.read(folder / "s")


@pytest.mark.parametrize("objective", ["pairs", "grouped"])
def test_an_epoch_holds_what_the_alignment_in_memory_holds(objective: str, tmp_path: Path) -> None:
    """Pictures, images or mean images, and weights, sample by sample, to the bit or nearly so."""
    world = toy.build(recordings=40, images=160)[0]
    pairs = stored(tmp_path, world)
    source = batches.samples(world.subset("train"), SpectrogramConfig(), objective)
    count = len(source.edges)
    whole = next(batches.batches(source, count, AugmentationConfig(), 0))
    cut = Recipe(
        SpectrogramConfig(), AugmentationConfig(), SceneConfig(), objective, count
    )  # fmt: skip
    found = next(streaming.batches(pairs, cut, 0))

    def rows(batch: Batch) -> list[tuple[bytes, bytes, float]]:
        heard = [batch.audio[row].mul(1_000).round().numpy().tobytes() for row in batch.audio_of]
        images = [image.numpy().tobytes() for image in batch.image]
        return sorted(zip(heard, images, batch.weight.tolist(), strict=True))

    wanted = rows(whole)
    assert [row[:2] for row in rows(found)] == [row[:2] for row in wanted]
    assert [row[2] for row in rows(found)] == pytest.approx([row[2] for row in wanted])


def test_a_recording_is_recorded_anew_each_time(tmp_path: Path) -> None:
    pairs = numbered(tmp_path / "s", [1] * 4, 10**6)
    scene = SceneConfig(copies=1, speed=0.2, snr=10.0)
    first, second = (
        {c: batch.audio[batch.audio_of[n]] for n, c in enumerate(colours(batch))}
        for batch in islice(streaming.batches(pairs, recipe(4, scene=scene), 0), 2)
    )
    assert all(not torch.equal(first[c], second[c]) for c in first)
    wanted = LogMel(FRONT_END)(*pad([trim_silence(wave) for wave in waves(4)]))
    batch = next(streaming.batches(pairs, recipe(4, augmentation=VARIED, scene=scene), 0))
    for place, colour in enumerate(colours(batch)):
        torch.testing.assert_close(batch.plain[batch.audio_of[place], 0], wanted[colour])


def test_recordings_are_brought_to_the_rate_of_the_front_end(tmp_path: Path) -> None:
    pairs = numbered(tmp_path / "s", [1] * 4, 10**6)
    front_end = SpectrogramConfig(rate=4_000, high_hz=1_900)
    cut = Recipe(front_end, AugmentationConfig(), SceneConfig(), "pairs", 4)
    batch = next(streaming.batches(pairs, cut, 0))
    clips = [trim_silence(resample(wave, 8_000, 4_000), 4_000) for wave in waves(4)]
    wanted = LogMel(front_end)(*pad(clips))
    for place, colour in enumerate(colours(batch)):
        torch.testing.assert_close(batch.audio[batch.audio_of[place], 0], wanted[colour])


def replaced(folder: Path, degrees: list[list[int]], files: list[tuple[str, bytes]]) -> PairShards:
    """Shards with one of these files, which the header vouches for."""
    numbered(folder, [1])
    data = shards.packed(files)
    (folder / "train" / "pairs-000000.tar").write_bytes(data)
    shard = pair_shards.Shard(**shards.stamp(data), degrees=dict(degrees))  # type: ignore[arg-type]
    return PairShards(**{**vars(pair_shards.read(folder)), "shards": (shard,)})


@pytest.mark.parametrize("which", ["flac", "png", "bomb"])
def test_a_vouched_file_that_cannot_be_decoded_is_an_error_that_names_the_shard(
    which: str, tmp_path: Path
) -> None:
    flac = to_flac(waves(1)[0], 8_000)
    if which == "bomb":  # 10 MB of silence in a few kilobytes
        flac = to_flac(np.zeros(2_500_000), 8_000)
    png = to_png(np.zeros((1, 2, 2), np.uint8))
    files = [("a.flac", b"x" if which == "flac" else flac), ("a.0.png", png)]
    if which == "png":
        files[1] = ("a.0.png", to_png(np.zeros((1, 3, 2), np.uint8)))
    pairs = replaced(tmp_path / "s", [[1, 1]], files)
    pairs = PairShards(**{**vars(pairs), "longest": 10**7})
    with pytest.raises(AlignmentError, match=r"train/pairs-000000\.tar: damaged"):
        next(streaming.batches(pairs, recipe(1), 0))


# Over the network.


def served(folder: Path) -> dict[str, bytes]:
    return {
        f"/s/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def taken(pairs: PairShards, count: int = 20) -> list[Batch]:
    stream = streaming.batches(pairs, recipe(augmentation=VARIED), 0)
    found = list(islice(stream, count))
    stream.close()  # type: ignore[attr-defined]
    return found


def test_over_http_come_the_same_batches(tmp_path: Path) -> None:
    wanted = taken(numbered(tmp_path / "s", [1, 2] * 50))
    with Server(files=served(tmp_path / "s")) as server:
        found = taken(pair_shards.read(server.url("/s")))
        asked = Counter(request.path for request in server.asked)
    assert all(same(one, other) for one, other in zip(wanted, found, strict=True))
    assert asked["/s/header.json"] == 1


class Flaky(Loopback):
    """Answers each path badly in all these ways first, then well."""

    def __init__(self, files: dict[str, bytes], ways: Sequence[str]) -> None:
        self.files, self.ways, self.asked = files, ways, Counter[str]()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        turn = self.asked[request.path]
        self.asked[request.path] += 1
        body = self.files[request.path]
        way = self.ways[turn] if turn < len(self.ways) and body[:1] != b"{" else "well"
        if way == "busy":
            request.send_error(503)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if way == "altered":
            body = bytes([body[0] ^ 1]) + body[1:]
        request.wfile.write(body[: len(body) // 2] if way == "cut" else body)


def test_a_flaky_server_changes_nothing(tmp_path: Path) -> None:
    wanted = taken(numbered(tmp_path / "s", [1, 2] * 50))
    with Flaky(served(tmp_path / "s"), ("busy", "cut", "altered")) as server:
        found = taken(pair_shards.read(server.url("/s")))
        assert server.asked.pop("/s/header.json") == 1
        assert min(server.asked.values()) == 4
    assert all(same(one, other) for one, other in zip(wanted, found, strict=True))


@pytest.mark.parametrize(("way", "told"), [
    ("busy", "503"), ("cut", "train/pairs-"), ("altered", "altered"),
])  # fmt: skip
def test_a_server_that_stays_bad_is_an_error_in_words(way: str, told: str, tmp_path: Path) -> None:
    numbered(tmp_path / "s", [1] * 20)
    with Flaky(served(tmp_path / "s"), [way] * 99) as server:
        pairs = pair_shards.read(server.url("/s"))
        with pytest.raises(AlignmentError, match=f"{told}.*tried 4 times.*--resume"):
            taken(pairs)
        assert max(server.asked.values()) == 4


def test_what_is_not_there_is_asked_for_once(tmp_path: Path) -> None:
    files = served(tmp_path / "s") if numbered(tmp_path / "s", [1] * 20) else {}
    gone = sorted(files)[-1]
    del files[gone]
    with Server(files=files) as server:
        pairs = pair_shards.read(server.url("/s"))
        with pytest.raises(AlignmentError, match=f"{gone}: .*404"):
            taken(pairs)
        assert len(server.starts(gone)) == 1
        with pytest.raises(AlignmentError, match=r"header\.json: .*404"):
            pair_shards.read(server.url("/t"))


def test_a_server_that_is_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.1)
    with (
        Server(answers=False) as server,
        pytest.raises(AlignmentError, match=r"header\.json: .*tried 4 times"),
    ):
        pair_shards.read(server.url("/s"))


def test_a_server_that_sends_without_end_is_left(tmp_path: Path) -> None:
    numbered(tmp_path / "s", [1] * 20)
    files = served(tmp_path / "s")
    name = max(files)
    files[name] += bytes(100)
    with Server(files=files) as server, pytest.raises(AlignmentError, match="more than"):
        taken(pair_shards.read(server.url("/s")))


@pytest.mark.parametrize("piece", [1 << 22, 4_096])
def test_any_file_system_of_fsspec_will_do(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PIECE", piece)
    wanted = taken(numbered(tmp_path / "s", [1, 2] * 50))
    system = fsspec.filesystem("memory")
    for name, data in served(tmp_path / "s").items():
        system.pipe_file(name, data)
    for place in ("memory://s", f"file://{tmp_path}/s"):
        found = taken(pair_shards.read(place))
        assert all(same(one, other) for one, other in zip(wanted, found, strict=True))


# Training.


def preset(steps: int = 12, **training: object) -> Preset:
    table = config.read("archetype")
    table["training"] |= {"steps": steps, "batch_size": 8, "checkpoint_every": 4, **training}
    table["model"] |= {"width": 8}
    return config.from_table(table)


def weights(out: Path) -> bytes:
    return (out / artefact.WEIGHTS).read_bytes()


@pytest.mark.parametrize("stop_at", [1, 7])
def test_an_interrupted_run_on_a_stream_equals_an_uninterrupted_one(
    stop_at: int, tmp_path: Path
) -> None:
    stored(tmp_path, toy.build(recordings=40, images=160)[0])
    pairs, facts = material.to_learn(tmp_path / "s")
    runs.run(preset(), pairs, facts, tmp_path / "whole")

    def interrupt(step: Any, _: Any) -> None:
        if step.number == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        runs.run(preset(), pairs, facts, tmp_path / "parts", watch=interrupt)
    runs.run(preset(), pairs, facts, tmp_path / "parts", resume=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["pairs", "grouped"])
def test_training_on_a_stream_learns(objective: str, tmp_path: Path) -> None:
    """Of the toy world's sounds never heard, drawings of the right shape."""
    world, labels = toy.build()
    stored(tmp_path, world)
    pairs, facts = material.to_learn(tmp_path / "s")
    recipe = preset(200, objective=objective, batch_size=32)
    held = runs.run(recipe, pairs, facts, tmp_path / "run")
    test = world.subset("test")
    drawn = Model(held).generate([*test.waveforms], 1, sample_rate=world.rate)
    seen = toy.read(drawn[:, 0])
    names = [labels.classes[n] for n in seen]
    right = [name == labels.audio[key] for name, key in zip(names, test.audio_ids, strict=True)]
    assert np.mean(right) > 0.9


def test_the_command_line_streams_and_the_model_knows_its_alignment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = toy.build(recordings=40, images=160)[0]
    storage.save(world, tmp_path / "pairs")
    made = ["pairs", "stream", str(tmp_path / "pairs"), "--out", str(tmp_path / "s")]
    assert main([*made, "--megabytes", "0.05"]) == 0
    small = ["--steps", "2", "--batch-size", "4", "--width", "8"]
    with Server(files=served(tmp_path / "s")) as server:
        place = server.url("/s")
        out = ["--out", str(tmp_path / "run")]
        assert main(["train", "archetype", "--pairs", place, *out, *small]) == 0
    told = artefact.read(str(tmp_path / "run")).data
    assert told["alignment"] == world.digest() != told["digest"]
    assert told["counts"]["splits"]["train"]["edges"] == len(world.subset("train").edges)
    capsys.readouterr()
    material.check_same(tmp_path / "pairs", told, asked=False)
    other = ["--split", "test", "--out", str(tmp_path / "t")]
    assert main(["pairs", "stream", str(tmp_path / "pairs"), *other]) == 0
    assert main(["train", "archetype", "--pairs", str(tmp_path / "t"), *small]) == 2
    assert "wanted 'train'" in capsys.readouterr().err
