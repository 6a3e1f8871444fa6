"""An alignment looked over: each fault is found, a clean one has none, the sheet shows pairs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synesthete import cli, inspection
from synesthete.data import storage, toy
from synesthete.data.alignment import Alignment


@pytest.fixture
def world() -> Alignment:
    """Toy tunes, each with two images of random squares."""
    tunes = toy.build(recordings=80, images=160)[0]
    squares = np.random.default_rng(0).integers(0, 256, (160, 1, 7, 7), np.uint8)
    edges = []
    for split in ("train", "test"):
        audio = [row for row, side in enumerate(tunes.audio_splits) if side == split]
        edges += [(audio[at // 2], image) for at, image in enumerate(rows(tunes, split))]
    images = squares.repeat(4, axis=2).repeat(4, axis=3)
    return replace(tunes, images=images, edges=np.array(sorted(edges), np.int64))


def rows(world: Alignment, split: str) -> list[int]:
    return [row for row, found in enumerate(world.image_splits) if found == split]


def with_wave(
    world: Alignment, row: int, wave: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> Alignment:
    waves = [wave if at == row else kept for at, kept in enumerate(world.waveforms)]
    return replace(world, waveforms=tuple(waves))


def warned(world: Alignment, words: str) -> bool:
    return any(words in line for line in inspection.warnings(world))


def test_a_clean_alignment_has_only_what_it_has(world: Alignment) -> None:
    assert [line for line in inspection.warnings(world) if "groups" not in line] == []
    assert warned(world, "4 of 4 groups (speakers, videos) are on two sides")


def test_copies_are_found_though_they_differ_a_little(world: Alignment) -> None:
    images = world.images.copy()
    here, there = rows(world, "train")[0], rows(world, "test")[0]
    images[there] = np.clip(images[here].astype(int) + 2, 0, 255)
    copied = replace(world, images=images)
    assert warned(copied, "2 of 160 images are all but equal to another")
    assert warned(copied, "1 kept from training are all but equal to images")
    images[there] = images[here]
    assert warned(replace(world, images=images), "1 image(s) in more than one split")
    audio = [row for row, side in enumerate(world.audio_splits) if side == "test"]
    quieter = (world.waveforms[audio[0]] * 0.5).astype(np.float32)
    assert warned(with_wave(world, audio[1], quieter), "2 of 80 recordings are all but equal")


def test_silence_clipping_and_images_of_one_colour_are_counted(world: Alignment) -> None:
    assert warned(with_wave(world, 0, np.zeros(4_000, np.float32)), "1 of 80 recordings are silent")
    loud = np.clip(50 * world.waveforms[0], -1, 1).astype(np.float32)
    assert warned(with_wave(world, 0, loud), "1 of 80 recordings are clipped")
    images = world.images.copy()
    images[3] = 90
    assert warned(replace(world, images=images), "1 of 160 images are of one colour")


def test_uneven_partners_and_none_are_told(world: Alignment) -> None:
    images = rows(world, "train")
    busy = world.edges[world.edges[:, 1] == images[0], 0][0]
    more = np.array([[busy, image] for image in images], np.int64)
    uneven = replace(world, edges=np.unique(np.concatenate([world.edges, more]), axis=0))
    assert warned(uneven, f"the busiest recording has {len(images)}, the median 2")
    assert warned(replace(world, edges=world.edges[:-1]), "1 of 160 images have no partner")


def test_the_command_warns_and_draws_a_sheet(
    world: Alignment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.save(world, tmp_path / "pairs")
    command = ["pairs", "inspect", str(tmp_path / "pairs"), "--sheet", str(tmp_path / "sheet.png")]
    assert cli.main([*command, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == inspection.warnings(world)
    assert cli.main(command) == 0
    assert "on two sides" in capsys.readouterr().out.replace("\n", " ")
    with Image.open(tmp_path / "sheet.png") as sheet:
        side = 3 * 28
        assert sheet.size == (10 * (side + 4) - 4, 4 * (2 * side + 4) - 4)
        pixels = np.asarray(sheet)
    cell = pixels[side : 2 * side, :side, 0][1::3, 1::3]
    assert (cell == world.images[:, 0]).all(axis=(1, 2)).any()
