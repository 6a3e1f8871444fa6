"""Turn an alignment into a stream of batches whose content is a pure function of (seed, step)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synesthete.data.alignment import Alignment
from synesthete.data.audio import Wave, resample, trim_silence
from synesthete.data.augment import AugmentationConfig, augment
from synesthete.data.scenes import SceneConfig, again
from synesthete.data.spectrogram import LogMel, SpectrogramConfig, pad
from synesthete.progress import bar


@dataclass(frozen=True)
class Batch:
    """A piece of the graph: few recordings, many images, and who meets whom."""

    audio: Tensor
    """float32[A, 1, bands, columns], log-mel spectrograms in 0..1."""
    image: Tensor
    """float32[I, C, H, W] in 0..1: images, or a recording's mean image (grouped)."""
    audio_of: Tensor
    """int64[I], the row of `audio` that each image belongs to."""
    weight: Tensor
    """float32[I], how much each image counts; 1 on average over an epoch."""
    plain: Tensor
    """float32[A, 1, bands, columns], the recordings of `audio` as they are, not varied."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        return Batch(*(getattr(self, f).to(device) for f in self.__dataclass_fields__))


@dataclass(frozen=True)
class Samples:
    """Everything that batches are cut from: one row a sample, in memory, computed once."""

    audio: Tensor
    """float32[R, V, bands, columns], a row a recording, in V versions that take turns."""
    image: Tensor
    """uint8[I, C, H, W] images, or float32 mean images in 0..1."""
    edges: Tensor
    """int64[N, 2], (row of `audio`, row of `image`) a sample."""
    weight: Tensor
    """float32[N]."""
    plain: Tensor
    """float32[R, 1, bands, columns], the recordings as they are."""


def spectrograms(alignment: Alignment, config: SpectrogramConfig) -> Tensor:
    """Every recording of `alignment`, trimmed, as float32[R, 1, bands, columns] in 0..1."""
    return pictures(at(alignment, config.rate), LogMel(config))


def pictures(waves: Sequence[Wave], log_mel: LogMel) -> Tensor:
    """Each of R recordings, at the rate of `log_mel`, trimmed: float32[R, 1, bands, columns]."""
    clips = [trim_silence(wave, log_mel.config.rate) for wave in waves]
    parts = [log_mel(*pad(clips[i : i + 64])) for i in range(0, len(clips), 64)]
    return torch.cat(parts).unsqueeze(1)


def at(alignment: Alignment, rate: int) -> Sequence[Wave]:
    """The recordings at `rate`, resampled where the alignment has another."""
    if alignment.rate == rate:
        return alignment.waveforms
    return [resample(wave, alignment.rate, rate) for wave in alignment.waveforms]


def rerecorded(
    alignment: Alignment, spectrogram: SpectrogramConfig, scene: SceneConfig, seed: int
) -> Tensor:
    """Every recording of `alignment` anew, `scene.copies` times: float32[R, V, bands, columns].

    Copy v of recording r is drawn from (seed, r, v). Without copies, V = 1: the clip as it is.
    """
    if not scene.copies:
        return spectrograms(alignment, spectrogram)
    log_mel, pictures = LogMel(spectrogram), []
    with bar("recording anew", len(alignment.waveforms)) as progress:
        for row, wave in enumerate(at(alignment, spectrogram.rate)):
            rngs = [np.random.default_rng((seed, 6, row, copy)) for copy in range(scene.copies)]
            anew = [again(wave, scene, rng, spectrogram.rate) for rng in rngs]
            pictures.append(log_mel(*pad(anew)))
            progress.advance()
    return torch.stack(pictures)


def samples(
    alignment: Alignment,
    spectrogram: SpectrogramConfig,
    objective: str,
    scene: SceneConfig | None = None,
    seed: int = 0,
) -> Samples:
    """The samples of one objective: `"pairs"` (a row an edge) or `"grouped"` (a row a recording).

    For a Bernoulli or Gaussian decoder both have the same expected gradient (DESIGN, "an
    alignment is a bipartite graph"): the loss is affine or quadratic in the target, so its mean
    over a recording's images is, up to a constant, the loss against their mean image.
    """
    audio = rerecorded(alignment, spectrogram, scene or SceneConfig(), seed)
    plain = spectrograms(alignment, spectrogram) if scene and scene.copies else audio
    if objective == "grouped":
        grouped = alignment.grouped()
        rows = torch.from_numpy(grouped.audio)
        edges = torch.stack([rows, torch.arange(len(rows))], dim=1)
        mean_image = torch.from_numpy(grouped.mean_image)
        return Samples(audio, mean_image, edges, torch.from_numpy(grouped.weight), plain)
    edges = torch.from_numpy(alignment.edges)
    images = torch.from_numpy(alignment.images)
    return Samples(audio, images, edges, torch.ones(len(edges)), plain)


def batches(
    source: Samples,
    batch_size: int,
    augmentation: AugmentationConfig,
    seed: int,
    start: int = 0,
    reader: int = 0,
    readers: int = 1,
    images_per_recording: int = 1,
) -> Iterator[Batch]:
    """Endless batches from step `start` on, or one reader's equal share of each.

    Epochs follow each other without a seam: step s takes the samples s·B … (s+1)·B - 1 of the
    concatenated orders, each drawn from (seed, epoch); reader r of R has the r-th B / R of them.
    Augmentation draws from (seed, step), with several readers from (seed, step, reader).
    With `images_per_recording` k, a recording's samples come k at a time, so that a batch of B
    images holds about B / k recordings; where k does not divide a recording's samples, its last k
    are filled up with its first.
    """
    order = _Order(source.edges[:, 0].numpy(), images_per_recording, seed)
    share = batch_size // readers
    for step in range(start, 2**62):
        begin = step * batch_size + reader * share
        rows = [order[position] for position in range(begin, begin + share)]
        rng = generator(seed, step, *reader_key(reader, readers))
        yield _batch(source, torch.tensor(rows), augmentation, rng)


def reader_key(reader: int, readers: int) -> tuple[int, ...]:
    """What a reader adds to the key of its random numbers; nothing where it is the only one."""
    return (reader,) if readers > 1 else ()


def generator(*key: int) -> torch.Generator:
    """A torch generator that is a pure function of non-negative integers (seed, step, …)."""
    sequence = np.random.SeedSequence((len(key), *key))  # (0,) and (0, 0) alone would be one
    state = sequence.generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))


def shuffled(
    recordings: NDArray[np.int64], together: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Every sample of `recordings` int64[N], a recording's `together` at a time: int64[>= N]."""
    order = rng.permutation(len(recordings))
    if together == 1:
        return order
    degrees = np.bincount(recordings)
    degrees = degrees[degrees > 0]
    by_recording = order[np.argsort(recordings[order], kind="stable")]
    first = np.cumsum(degrees) - degrees
    wanted = -(-degrees // together) * together
    place = np.arange(wanted.sum()) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    rows = np.repeat(first, wanted) + place % np.repeat(degrees, wanted)
    blocks = by_recording[rows].reshape(-1, together)
    return rng.permutation(blocks).reshape(-1)


class _Order:
    """Position in the endless stream -> sample, remembering the latest epoch's order."""

    def __init__(self, recordings: NDArray[np.int64], together: int, seed: int) -> None:
        """Samples of `recordings` int64[N], a recording's `together` at a time."""
        self.recordings, self.together, self.seed, self.epoch = recordings, together, seed, -1
        self.size = int((-(-np.bincount(recordings) // together)).sum()) * together

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.size)
        if epoch != self.epoch:
            self.epoch = epoch
            rng = np.random.default_rng((self.seed, epoch))
            self.order = shuffled(self.recordings, self.together, rng)
        return int(self.order[offset])


def _batch(
    source: Samples, rows: Tensor, augmentation: AugmentationConfig, rng: torch.Generator
) -> Batch:
    """The samples `rows`, each recording among them once, augmented."""
    edges = source.edges[rows]
    audio_rows, audio_of = torch.unique(edges[:, 0], return_inverse=True)
    image = source.image[edges[:, 1]]
    if image.dtype == torch.uint8:
        image = image.float() / 255
    audio = source.audio[audio_rows]
    if (versions := audio.shape[1]) > 1:
        turn = torch.randint(versions, audio_rows.shape, generator=rng)
        audio = audio[torch.arange(len(turn)), turn].unsqueeze(1)
    audio = augment(audio, augmentation, rng)
    return Batch(audio, image, audio_of, source.weight[rows], source.plain[audio_rows])
