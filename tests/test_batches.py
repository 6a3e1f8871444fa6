"""Batches: a pure function of (seed, step), each sample once an epoch, the graph intact."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synesthete.data import batches
from synesthete.data.alignment import Alignment
from synesthete.data.audio import trim_silence
from synesthete.data.augment import AugmentationConfig, augment
from synesthete.data.batches import Samples
from synesthete.data.labels import Labels
from synesthete.data.scenes import SceneConfig, again
from synesthete.data.spectrogram import LogMel, SpectrogramConfig, pad

PLAIN = AugmentationConfig()
VARIED = AugmentationConfig(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 2, 6)


def numbered(edges: int, recordings: int = 3) -> Samples:
    """Samples whose audio and image tell which row they are."""
    rows = torch.arange(edges)
    audio = torch.arange(recordings).float().view(-1, 1, 1, 1).expand(-1, 1, 48, 48) / 10
    image = rows.float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    links = torch.stack([rows % recordings, rows], dim=1)
    audio = audio.contiguous()
    return Samples(audio, image.contiguous(), links, rows.float(), audio)


@settings(max_examples=30)
@given(st.integers(1, 23), st.integers(1, 9), st.integers(0, 5), st.integers(0, 12))
def test_starting_at_a_step_continues_the_stream(
    edges: int, size: int, seed: int, start: int
) -> None:
    source = numbered(edges)
    whole = batches.batches(source, size, VARIED, seed)
    for _ in range(start):
        next(whole)
    ours, theirs = next(batches.batches(source, size, VARIED, seed, start)), next(whole)
    for name in ("audio", "image", "audio_of", "weight"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))


@settings(max_examples=30)
@given(st.integers(1, 23), st.integers(1, 9), st.integers(0, 5))
def test_an_epoch_visits_each_sample_once_and_epochs_differ(
    edges: int, size: int, seed: int
) -> None:
    stream = batches.batches(numbered(edges), size, PLAIN, seed)
    seen = [w for _ in range(-(-3 * edges // size)) for w in next(stream).weight.tolist()]
    epochs = [seen[i * edges : (i + 1) * edges] for i in range(3)]
    assert all(sorted(epoch) == list(range(edges)) for epoch in epochs)
    if edges > 12:
        assert epochs[0] != epochs[1]


@settings(max_examples=30)
@given(st.integers(1, 23), st.integers(1, 3), st.integers(1, 4), st.integers(0, 5))
def test_readers_share_the_batch_that_one_would_read(
    edges: int, share: int, readers: int, start: int
) -> None:
    """Each in order its own samples, whoever else reads; each with random numbers of its own."""
    source, size = numbered(edges), share * readers
    whole = next(batches.batches(source, size, PLAIN, 1, start))
    shares = [
        next(batches.batches(source, size, PLAIN, 1, start, reader, readers))
        for reader in range(readers)
    ]
    assert {len(found.weight) for found in shares} == {share}
    assert torch.equal(torch.cat([found.weight for found in shares]), whole.weight)
    assert torch.equal(torch.cat([found.image for found in shares]), whole.image)


def test_each_reader_augments_by_random_numbers_of_its_own() -> None:
    """One recording, heard by all: no two readers vary it alike, and each always does so."""
    source = numbered(1, recordings=1)
    source.audio.copy_(torch.rand(source.audio.shape, generator=batches.generator(1)))
    heard = [
        next(batches.batches(source, 4, VARIED, 1, 2, reader, readers)).audio
        for reader, readers in [(0, 1), (0, 4), (1, 4), (2, 4), (3, 4), (3, 4)]
    ]
    assert torch.equal(heard[4], heard[5])
    assert not any(torch.equal(a, b) for i, a in enumerate(heard[:5]) for b in heard[:i])


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6), st.integers(0, 5))
def test_a_recording_s_images_come_together_and_none_is_left_out(
    edges: int, recordings: int, together: int, seed: int
) -> None:
    source = numbered(edges, recordings)
    degrees = np.bincount(source.edges[:, 0].numpy())
    epoch = int((-(-degrees // together)).sum()) * together
    stream = batches.batches(source, together, PLAIN, seed, images_per_recording=together)
    seen: list[int] = []
    for _ in range(epoch // together):
        batch = next(stream)
        assert len(batch.audio) == 1
        seen += batch.weight.long().tolist()
    assert set(seen) == set(range(edges))
    counts = np.bincount(seen, minlength=edges)
    for recording in range(recordings):  # only the last block is filled up, evenly
        mine = counts[source.edges[:, 0].numpy() == recording]
        if len(mine):
            assert mine.sum() == -(-len(mine) // together) * together
            assert mine.max() - mine.min() <= 1
    second = [w for _ in range(epoch // together) for w in next(stream).weight.long().tolist()]
    if edges > 12 and together < 4:
        assert seen != second


def test_a_batch_keeps_every_image_with_its_recording_and_its_weight() -> None:
    batch = next(batches.batches(numbered(20, recordings=4), 9, PLAIN, 1))
    assert len(batch.audio) <= 4
    for image, row, weight in zip(batch.image, batch.audio_of, batch.weight, strict=True):
        edge = int(image[0, 0, 0])
        assert float(batch.audio[row, 0, 0, 0]) == torch.tensor((edge % 4) / 10)
        assert float(weight) == edge


def test_pairs_and_groups_come_from_the_same_graph(toy_world: tuple[Alignment, Labels]) -> None:
    side = toy_world[0].subset("train")
    pairs = batches.samples(side, SpectrogramConfig(), "pairs")
    grouped = batches.samples(side, SpectrogramConfig(), "grouped")
    assert len(pairs.edges) == len(side.edges)
    assert torch.equal(pairs.audio, grouped.audio)
    assert float(grouped.weight.mean()) == 1
    for audio_row, image_row in grouped.edges[:5].tolist():
        partners = side.images[side.edges[side.edges[:, 0] == audio_row, 1]] / 255
        np.testing.assert_allclose(grouped.image[image_row], partners.mean(0), atol=1e-6)


def test_images_come_out_in_0_to_1(toy_world: tuple[Alignment, Labels]) -> None:
    source = batches.samples(toy_world[0], SpectrogramConfig(), "pairs")
    batch = next(batches.batches(source, 64, PLAIN, 0))
    assert batch.image.dtype == torch.float32
    assert float(batch.image.min()) == 0
    assert float(batch.image.max()) == 1


def test_spectrograms_of_recordings_are_those_of_the_trimmed_waveforms(
    toy_world: tuple[Alignment, Labels],
) -> None:
    found = batches.spectrograms(toy_world[0], SpectrogramConfig())
    alone = LogMel()(*pad([trim_silence(toy_world[0].waveforms[70])]))
    torch.testing.assert_close(found[70, 0], alone[0], atol=1e-5, rtol=0)


def test_copies_of_a_recording_take_turns_and_are_those_of_its_own_key(
    toy_world: tuple[Alignment, Labels],
) -> None:
    side, scene = toy_world[0].subset("train"), SceneConfig(copies=3, speed=0.1, snr=20)
    source = batches.samples(side, SpectrogramConfig(), "pairs", scene, seed=7)
    recordings = len(side.waveforms)
    assert source.audio.shape == (recordings, 3, 48, 48)
    heard = again(side.waveforms[5], scene, np.random.default_rng((7, 6, 5, 1)))
    torch.testing.assert_close(source.audio[5, 1], LogMel()(*pad([heard]))[0], atol=1e-5, rtol=0)
    turns, as_they_are = set(), batches.spectrograms(side, SpectrogramConfig())
    stream = batches.batches(source, 32, PLAIN, 0)
    for batch in (next(stream) for _ in range(8)):
        assert batch.audio.shape[1:] == (1, 48, 48)
        for picture, plain in zip(batch.audio[:, 0], batch.plain, strict=True):
            row = int((source.audio == picture).flatten(2).all(2).nonzero()[0, 0])
            assert torch.equal(plain, as_they_are[row])
        for picture in batch.audio[:, 0]:
            turns.add(int((source.audio == picture).flatten(2).all(2).nonzero()[0, 1]))
    assert turns == {0, 1, 2}
    first, same = (next(batches.batches(source, 32, PLAIN, 0)).audio for _ in range(2))
    assert torch.equal(first, same)


def test_no_augmentation_changes_nothing_and_some_keeps_shape_and_range() -> None:
    audio = torch.rand(6, 1, 48, 48)
    assert augment(audio, PLAIN, batches.generator(0)) is audio
    varied = augment(audio, VARIED, batches.generator(0))
    assert varied.shape == audio.shape
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert not torch.equal(varied[0], audio[0])
    assert torch.equal(varied, augment(audio, VARIED, batches.generator(0)))
    assert not torch.equal(varied, augment(audio, VARIED, batches.generator(1)))


def test_each_clip_is_varied_on_its_own() -> None:
    audio = torch.rand(1, 1, 48, 48).expand(4, -1, -1, -1)
    varied = augment(audio, VARIED, batches.generator(2))
    assert all(not torch.equal(varied[0], other) for other in varied[1:])


def test_shifts_and_masks_go_as_far_as_they_say() -> None:
    """A single bright column moves by at most its share; masks blank at most what they may."""
    line = torch.zeros(200, 1, 48, 48)
    line[..., 24] = 1
    moved = augment(line, AugmentationConfig(time_shift=0.125), batches.generator(3))
    places = (moved.sum(2) * torch.arange(48)).sum(2) / moved.sum((2, 3))
    assert places.min() >= 24 - 6.01
    assert places.max() <= 24 + 6.01
    assert places.min() < 20
    assert places.max() > 28
    masked = augment(
        torch.ones(200, 1, 48, 48), AugmentationConfig(masks=1, mask_width=5), batches.generator(4)
    )
    columns = (masked.sum(2) == 0).sum(-1)
    assert columns.max() == 5
    assert columns.min() == 0


def test_generators_of_different_keys_differ() -> None:
    draws = {
        float(torch.rand((), generator=batches.generator(*key)))
        for key in [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 1)]
    }
    assert len(draws) == 6
