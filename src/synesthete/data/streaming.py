"""Batches from pair shards in bounded memory; their content is a pure function of (seed, step).

Each epoch a reader takes its shards in an order of their own, `WINDOW` at a time, and the samples
of a window in an order over all of them. The header alone tells which window a step lies in, so a
run that goes on reads that window and none before it. In memory are, as they are stored, the
window and the next, which a thread reads meanwhile; a batch is decoded when it is asked for.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from synesthete.data.alignment import AlignmentError
from synesthete.data.audio import Wave, resample
from synesthete.data.augment import AugmentationConfig, augment
from synesthete.data.batches import Batch, generator, pictures, shuffled
from synesthete.data.content import from_flac, from_png
from synesthete.data.pair_shards import ADVICE, Held, PairShards, Shard, hold
from synesthete.data.scenes import SceneConfig, again
from synesthete.data.spectrogram import LogMel, SpectrogramConfig
from synesthete.errors import SharedError

WINDOW = 8
"""Shards that are shuffled together."""
ALWAYS, RATIO = 1 << 22, 32
"""Bytes that any recording may unpack to; else, so many times its own."""


@dataclass(frozen=True)
class Recipe:
    """How batches are cut, as the sections of a preset say it."""

    spectrogram: SpectrogramConfig
    augmentation: AugmentationConfig
    scene: SceneConfig
    """Each time that a recording is in a batch, it is recorded anew, if there are `copies`."""
    objective: str
    """`"pairs"`: a sample is an edge. `"grouped"`: it is a recording with its mean image."""
    batch_size: int
    """Samples a step, over all readers."""
    images_per_recording: int = 1
    """As in `batches.batches`; of `"pairs"` alone."""


def batches(
    pairs: PairShards, recipe: Recipe, seed: int, start: int = 0, reader: int = 0, readers: int = 1
) -> Iterator[Batch]:
    """Endless batches from step `start` on: the share of one reader in each step.

    Reader r of R owns the shards r, r + R, … and takes B / R samples a step from them; all take
    every sample of theirs once an epoch. A reader with less data begins its next epoch sooner. A
    recording with more than `pair_shards.MOST_IMAGES` images is several samples, also when grouped.

    Args:
        pairs: where the shards are, and what their header tells.
        recipe: how batches are cut.
        seed: of the order, augmentation and re-recordings.
        start: the first step.
        reader: 0 to `readers` - 1.
        readers: among which each step is shared.

    Raises:
        SharedError: the batch size cannot be shared, or a reader would have no shard.
        AlignmentError: a shard is missing, cut or altered, or holds something else.
    """
    if recipe.batch_size % readers:
        raise SharedError(f"a batch of {recipe.batch_size} cannot be shared by {readers} readers")
    if readers > len(pairs.shards):
        raise SharedError(
            f"{pairs.place}: {len(pairs.shards)} shard(s) for {readers} readers; write smaller "
            "shards, or have fewer readers"
        )
    share = recipe.batch_size // readers
    plan = _Plan(pairs, recipe, seed, reader, readers)
    cutter = _Cutter(pairs, recipe)
    samples = plan.samples(start * share)
    for step in range(start, 2**62):
        yield cutter.batch(list(islice(samples, share)), (seed, step, reader, 0))


@dataclass(frozen=True)
class _Sample:
    """A recording and images that it meets, as they are stored."""

    recording: tuple[str, int]
    """Shard and row in it."""
    flac: bytes
    pngs: Sequence[bytes]


@dataclass(frozen=True)
class _Window:
    """Shards whose samples are shuffled together."""

    epoch: int
    index: int
    shards: Sequence[int]
    skip: int
    """Samples at its beginning that are done already."""


class _Plan:
    """Which samples come when, for one reader."""

    def __init__(
        self, pairs: PairShards, recipe: Recipe, seed: int, reader: int, readers: int
    ) -> None:
        self.pairs, self.seed, self.reader = pairs, seed, reader
        self.own = np.arange(reader, len(pairs.shards), readers)
        self.grouped, self.together = recipe.objective == "grouped", recipe.images_per_recording
        self.sizes = np.array([self._size(shard) for shard in pairs.shards])

    def _size(self, shard: Shard) -> int:
        """Samples of a shard in an epoch."""
        return shard.samples if self.grouped else shard.blocks(self.together) * self.together

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.reader, *key))

    def samples(self, position: int) -> Iterator[_Sample]:
        """Endless samples from a position in the concatenated epochs on."""
        windows = self._windows(position)
        thread = ThreadPoolExecutor(1, "shards")
        try:
            window = next(windows)
            coming = thread.submit(self._held, window)
            for following in windows:
                shards = coming.result()
                coming = thread.submit(self._held, following)
                yield from self._ordered(shards, window)
                window = following
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def _windows(self, position: int) -> Iterator[_Window]:
        """Each window from the one that `position` lies in on."""
        first, skip = divmod(position, int(self.sizes[self.own].sum()))
        for epoch in range(first, 2**62):
            shards = self._rng(epoch, 0).permutation(self.own)
            for index, numbers in enumerate(np.array_split(shards, -(-len(shards) // WINDOW))):
                size = int(self.sizes[numbers].sum())
                if skip < size:
                    yield _Window(epoch, index, numbers.tolist(), skip)
                skip = max(0, skip - size)

    def _held(self, window: _Window) -> list[Held]:
        return [hold(self.pairs, number) for number in window.shards]

    def _ordered(self, shards: Sequence[Held], window: _Window) -> Iterator[_Sample]:
        """The samples of a window that are left."""
        rng = self._rng(window.epoch, 1 + window.index)
        degrees = np.concatenate([held.degrees for held in shards])
        first = np.cumsum(degrees) - degrees
        sizes = [len(held.degrees) for held in shards]
        shard_of = np.repeat(np.arange(len(shards)), sizes)
        row_in = np.concatenate([np.arange(size) for size in sizes])
        flac = np.concatenate([held.flac for held in shards])
        image = np.concatenate([held.image for held in shards])
        recording_of = np.repeat(np.arange(len(degrees)), degrees)
        if self.grouped:
            order = rng.permutation(len(degrees))
        else:
            order = shuffled(recording_of, self.together, rng)
        for item in order[window.skip :].tolist():
            row = item if self.grouped else int(recording_of[item])
            places = image[first[row] :][: degrees[row]] if self.grouped else image[item : item + 1]
            held = shards[shard_of[row]]
            pngs = [held.cut(place) for place in places]
            yield _Sample((held.name, int(row_in[row])), held.cut(flac[row]), pngs)


class _Cutter:
    """Makes batches of samples."""

    def __init__(self, pairs: PairShards, recipe: Recipe) -> None:
        self.pairs, self.recipe = pairs, recipe
        self.log_mel = LogMel(recipe.spectrogram)
        grouped = recipe.objective == "grouped"
        self.share = pairs.samples / pairs.edges if grouped else 1.0

    def batch(self, samples: Sequence[_Sample], key: tuple[int, ...]) -> Batch:
        """These samples, each recording among them once, varied as `key` says."""
        flac = {sample.recording: sample.flac for sample in samples}
        row_of = {recording: row for row, recording in enumerate(flac)}
        waves = [self._wave(data, name) for (name, _), data in flac.items()]
        scene, rate = self.recipe.scene, self.recipe.spectrogram.rate
        audio = plain = pictures(waves, self.log_mel)
        if scene.copies:
            rngs = [np.random.default_rng((len(key), *key, row)) for row in range(len(waves))]
            anew = [again(w, scene, rng, rate) for w, rng in zip(waves, rngs, strict=True)]
            audio = pictures(anew, self.log_mel)
        weight = [len(sample.pngs) * self.share for sample in samples]
        return Batch(
            audio=augment(audio, self.recipe.augmentation, generator(*key)),
            image=torch.from_numpy(np.stack([self._mean(sample) for sample in samples])),
            audio_of=torch.tensor([row_of[sample.recording] for sample in samples]),
            weight=torch.tensor(weight),
            plain=plain,
        )

    def _wave(self, flac: bytes, shard: str) -> Wave:
        most = max(ALWAYS, RATIO * len(flac)) // 4
        with self._damage(shard):
            wave = from_flac(flac, self.pairs.rate, min(most, self.pairs.longest), fewer=True)
        rate = self.recipe.spectrogram.rate
        return wave if rate == self.pairs.rate else resample(wave, self.pairs.rate, rate)

    def _mean(self, sample: _Sample) -> NDArray[np.float32]:
        """float32[C, H, W] in 0..1."""
        with self._damage(sample.recording[0]):
            images = [from_png(png, self.pairs.image_shape) for png in sample.pngs]
        total = np.sum(images, axis=0, dtype=np.uint32)
        return np.asarray(total / (255 * len(images)), np.float32)

    @contextmanager
    def _damage(self, shard: str) -> Iterator[None]:
        """Name the shard that cannot be decoded."""
        try:
            yield
        except ValueError as error:
            raise AlignmentError(
                f"{self.pairs.place}/{shard}: damaged ({error}); {ADVICE}"
            ) from error
