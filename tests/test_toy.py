"""The toy world: separable, varied, split without leaks, and the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synesthete.data import labels, storage, toy
from synesthete.data.spectrogram import LogMel, SpectrogramConfig, pad
from synesthete.errors import UserError


@pytest.mark.parametrize("classes", [2, 4, 8])
@pytest.mark.parametrize("size", [16, 28, 64])
def test_the_judge_reads_shapes_and_mean_shapes(classes: int, size: int) -> None:
    alignment, told = toy.build(classes, seed=5, size=size)
    audio, images = told.of(alignment)
    assert alignment.images.shape == (800, 1, size, size)
    assert (toy.read(alignment.images, classes) == images).mean() >= 0.995
    grouped = alignment.grouped()
    assert (toy.read(grouped.mean_image, classes) == audio[grouped.audio]).mean() >= 0.99


def test_the_judge_takes_images_with_or_without_a_channel_in_any_number_type() -> None:
    images = toy.build()[0].images
    read = toy.read(images)
    assert (toy.read(images[:, 0]) == read).all()
    assert (toy.read((images / 255).astype(np.float32)) == read).all()
    assert (toy.read((images / 255).astype(np.float32) * 0.1) == read).all()


def test_tunes_can_be_told_apart_though_pitch_voice_and_length_vary() -> None:
    alignment, told = toy.build(recordings=240)
    with torch.no_grad():
        heard = LogMel(SpectrogramConfig())(*pad(alignment.waveforms)).flatten(1)
    train = torch.tensor([split == "train" for split in alignment.audio_splits])
    classes = torch.from_numpy(told.of(alignment)[0])
    nearest = torch.cdist(heard[~train], heard[train]).argmin(dim=1)
    assert (classes[train][nearest] == classes[~train]).double().mean() > 0.95
    lengths = [len(wave) for wave in alignment.waveforms]
    assert min(lengths) >= 0.3 * toy.RATE
    assert max(lengths) <= 0.6 * toy.RATE
    assert len({*lengths}) > 100


def test_edges_join_equal_classes_within_a_split_and_every_image_has_one() -> None:
    alignment, told = toy.build(classes=5, recordings=200)
    audio, images = told.of(alignment)
    assert (audio[alignment.edges[:, 0]] == images[alignment.edges[:, 1]]).all()
    assert sorted(alignment.edges[:, 1]) == [*range(800)]
    alignment.check_leakage()
    assert [*alignment.summary()["splits"]] == ["train", "test"]
    assert alignment.audio_splits.count("test") == 200 / 5
    for split in ("train", "test"):
        assert {*told.of(alignment.subset(split))[0].tolist()} == {*range(5)}
    assert told.judge_unseen == {*alignment.subset("train").image_ids}


def test_no_timbre_belongs_to_a_class() -> None:
    alignment, told = toy.build()
    pairs = zip(alignment.audio_groups, told.of(alignment)[0].tolist(), strict=True)
    assert len({*pairs}) == 4 * 4
    assert {told.groups[group] for group in alignment.audio_groups} == {*toy.VOICES}


def test_a_seed_is_a_world() -> None:
    digests = [toy.build(seed=seed)[0].digest() for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_a_world_can_be_stored_with_its_labels(tmp_path: Path) -> None:
    alignment, told = toy.build()
    storage.save(alignment, tmp_path / "toy", beside=told.save)
    assert storage.load(tmp_path / "toy").digest() == alignment.digest()
    assert labels.load(tmp_path / "toy") == told


@pytest.mark.parametrize(
    "asked", [{"classes": 1}, {"classes": 9}, {"recordings": 7}, {"images": 7}, {"size": 11}]
)
def test_a_world_too_small_or_too_varied_is_refused(asked: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"wanted 2 to 8 classes, two of each, 12 pixels or more"):
        toy.build(**asked)
