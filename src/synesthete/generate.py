"""Audio in, images or embeddings out: the model as its users hold it."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synesthete import artefact, hub
from synesthete.data import audio
from synesthete.data.spectrogram import LogMel, pad
from synesthete.errors import UserError
from synesthete.family import Generator, noise

Audio = str | os.PathLike[str] | bytes | NDArray[Any]
"""One clip: a path, the bytes of an audio file, or samples [T] or [T, channels]."""

CLIPS = 64
"""Clips that are held in memory at a time."""

IMAGES = 512
"""Images that are drawn at a time."""

MOST_DIVERSE = 1.5
"""How far the dial goes; at 1 images are as various as was learnt."""


class Model:
    """A trained generator with its front end; `synesthete.load` makes one.

    Where the family leaves the choice, each image is drawn in `evaluations` of the network, the
    model's own number unless told otherwise: fewer are faster.

    Raises:
        UserError: the model draws no images, or not in that many evaluations.
    """

    def __init__(self, held: artefact.Artefact, *, evaluations: int | None = None) -> None:
        if not isinstance(held.model, Generator):
            raise UserError(f"{held.name}: a {held.preset.family} draws no images")
        self.artefact = held
        self.generator = held.model
        self.log_mel = LogMel(held.preset.spectrogram)
        self.rate = held.preset.spectrogram.rate
        if evaluations is None:
            return
        if self.generator.evaluations is None:
            raise UserError(f"{held.name}: a {held.preset.family} has no evaluations to choose")
        if evaluations < 1:
            raise UserError(f"evaluations is {evaluations}, wanted 1 or more")
        self.generator.evaluations = evaluations

    def generate(
        self,
        source: Audio | Sequence[Audio],
        n: int = 16,
        *,
        sample_rate: int | None = None,
        seed: int = 0,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Draw `n` images for a clip, or for each of a list of clips.

        Image j of input i depends on (seed, i, j) alone, within a grey level, whatever the batch.
        A long list takes no more memory than its images; threads may share the model.

        Examples:
            >>> model.generate("seven.wav", n=16).shape
            (16, 28, 28)
            >>> model.generate(["seven.wav", "seven.wav"], n=4, seed=1, diversity=0.5).shape
            (2, 4, 28, 28)
            >>> second = np.random.default_rng(0).normal(0, 0.1, 16_000)
            >>> model.generate(second, n=1, sample_rate=16_000).dtype
            dtype('uint8')

        Args:
            source: a path, an audio file's bytes, samples (then `sample_rate` in Hz is needed), or
                a list of these.
            n: images a clip.
            sample_rate: of arrays, in Hz.
            seed: of the noise.
            diversity: from 0, one image a clip, to 1, images as various as was learnt, and a
                little past (`MOST_DIVERSE`).

        Returns:
            uint8[n, H, W] for one clip, uint8[B, n, H, W] for a list; [..., 3] where in colour.

        Raises:
            AudioError: a clip cannot be used.
            UserError: `n` or `diversity` is out of range.
        """
        check(n, diversity)
        clips, single = _as_list(source)
        images = self.blank(len(clips), n)
        for rows, waveforms in self._loaded(clips, sample_rate):
            images[rows] = self.draw(waveforms, n, seed=seed, rows=rows, diversity=diversity)
        return images[0] if single else images

    def draw(
        self,
        waveforms: Sequence[NDArray[np.float32]],
        n: int,
        *,
        seed: int = 0,
        rows: Sequence[int] | None = None,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Images uint8[B, n, H, W] (or [..., 3]) of prepared clips; `rows` as for `sample`."""
        heard = self.spectrogram(waveforms)
        return self.sample(heard, n, seed=seed, rows=rows, diversity=diversity)

    @torch.inference_mode()
    def sample(
        self,
        spectrogram: Tensor,
        n: int,
        *,
        seed: int = 0,
        rows: Sequence[int] | None = None,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Images uint8[B, n, H, W] (or [..., 3]) of spectrograms float32[B, 1, bands, columns].

        The noise of a clip is keyed by its number in `rows`, by default 0, 1, ….
        """
        rows = range(len(spectrogram)) if rows is None else rows
        size, together = self.generator.noise_size, max(1, IMAGES // n)
        images = self.blank(len(rows), n)
        for i in range(0, len(rows), together):
            part = slice(i, i + together)
            noises = torch.cat([noise(seed, row, 1, n, size) for row in rows[part]])
            for j in range(0, n, IMAGES):
                some = slice(j, j + IMAGES)
                drawn = self.generator.sample(spectrogram[part], noises[:, some], diversity)
                images[part, some] = to_uint8(drawn)
        return images

    def blank(self, count: int, n: int) -> NDArray[np.uint8]:
        """Room for `n` images of each of `count` clips: uint8[count, n, H, W] (or [..., 3])."""
        channels, height, width = self.artefact.shapes.image
        colours = () if channels == 1 else (channels,)
        return np.zeros((count, n, height, width, *colours), np.uint8)

    @torch.inference_mode()
    def morph(
        self,
        ends: Tensor,
        positions: Sequence[float],
        n: int,
        *,
        seed: int = 0,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Images uint8[P, n, H, W] (or [..., 3]) on the way from one recording to another.

        The way is straight between the codes of the spectrograms `ends`, float32[2, 1, bands,
        columns], and the noise is held: at position 0 the images are those of `sample` for the
        first alone, at 1 those for the second.
        """
        codes = self.generator.encode(ends)
        along = torch.tensor(positions, dtype=codes.dtype)[:, None]
        code = torch.lerp(codes[:1], codes[1:], along).repeat_interleave(n, dim=0)
        held = noise(seed, 0, 1, n, self.generator.noise_size)[0].repeat(len(positions), 1)
        images = self.generator.decode(code, held, diversity)
        return to_uint8(images.reshape(len(positions), n, *images.shape[1:]))

    def embed(
        self, source: Audio | Sequence[Audio], *, sample_rate: int | None = None
    ) -> NDArray[np.float32]:
        """Place a clip in the latent space: float32[D]; float32[B, D] for a list of clips.

        Examples:
            >>> vector = model.embed("seven.wav")
            >>> vector.shape, vector.dtype
            ((64,), dtype('float32'))
            >>> both = model.embed(["seven.wav", Path("seven.wav").read_bytes()])
            >>> bool(np.allclose(both, vector, atol=1e-5))
            True

        Raises:
            AudioError: a clip cannot be used.
        """
        clips, single = _as_list(source)
        parts = [self.embed_spectrogram(torch.zeros(0, *self.artefact.shapes.audio))]
        for _, waveforms in self._loaded(clips, sample_rate):
            parts.append(self.embed_spectrogram(self.spectrogram(waveforms)))
        vectors = np.concatenate(parts)
        return vectors[0] if single else vectors

    def _loaded(
        self, clips: Sequence[Audio], sample_rate: int | None
    ) -> Iterator[tuple[range, list[NDArray[np.float32]]]]:
        """The clips, prepared, with their numbers: so many at a time."""
        for first in range(0, len(clips), CLIPS):
            block = clips[first : first + CLIPS]
            yield (
                range(first, first + len(block)),
                [audio.load(clip, sample_rate, rate=self.rate) for clip in block],
            )

    @torch.inference_mode()
    def embed_spectrogram(self, spectrogram: Tensor) -> NDArray[np.float32]:
        """float32[B, 1, bands, columns] -> float32[B, D]."""
        return self.generator.embed(spectrogram).float().numpy()

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write the model into a folder that `load` reads: plain files, no pickle.

        Examples:
            >>> model.save_pretrained("my-digits")
            >>> sorted(path.name for path in Path("my-digits").iterdir())
            ['README.md', 'config.json', 'model.safetensors', 'scorecard.json']
        """
        artefact.copy(self.artefact, Path(directory))

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Publish the model as `user/model` on the Hugging Face Hub; the address of the commit.

        What `save_pretrained` writes is uploaded, into a new repository where there is none:
        public, unless `private` or the organisation says otherwise. `token` is by default that of
        `hf auth login`. It needs `pip install 'synesthete[hub]'`.

        Examples:
            >>> address = model.push_to_hub("ada/digits", private=True)
            >>> synesthete.load("ada/digits").generate("seven.wav", n=1).shape
            (1, 28, 28)

        Raises:
            HubError: not logged in, not allowed, or not reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.publish(Path(folder), repository, artefact.FILES, private, token)

    @torch.inference_mode()
    def spectrogram(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """What the network sees of prepared clips: float32[B, 1, bands, columns] in 0..1."""
        pictures: Tensor = self.log_mel(*pad(waveforms))
        return pictures.unsqueeze(1)


def load(model: str | os.PathLike[str], *, evaluations: int | None = None) -> Model:
    """The trained generator in a run or artefact folder, of a bundled name, or on the Hub.

    `user/model` is fetched from the Hugging Face Hub, its plain files alone, unless there is a
    folder `user` here; it needs `pip install 'synesthete[hub]'`.

    Examples:
        >>> model = synesthete.load("digits")
        >>> model.artefact.shapes.image
        (1, 28, 28)
        >>> fast = synesthete.load("digits", evaluations=1)
        >>> synesthete.load("digts")
        Traceback (most recent call last):
            ...
        synesthete.artefact.ArtefactError: no model 'digts': ...; did you mean 'digits'?

    Raises:
        ArtefactError: nothing of that name, or damaged.
        HubError: the Hub does not give it.
        UserError: as `Model`, which `evaluations` is for.
    """
    return Model(artefact.read(os.fspath(model)), evaluations=evaluations)


def check(n: int, diversity: float) -> None:
    """Refuse numbers that no image can be drawn for.

    Raises:
        UserError: saying which, and what is wanted.
    """
    if n < 1:
        raise UserError(f"n is {n}, wanted 1 or more images")
    if not 0 <= diversity <= MOST_DIVERSE:
        raise UserError(f"diversity is {diversity}, wanted 0 to {MOST_DIVERSE}")


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """[..., C, H, W] in 0..1 -> uint8[..., H, W], or [..., H, W, 3] in colour."""
    grey = (images.float().clamp(0, 1) * 255).round().to(torch.uint8)
    if images.shape[-3] == 1:
        return grey.squeeze(-3).numpy()
    return grey.movedim(-3, -1).numpy()


def _as_list(source: Audio | Sequence[Audio]) -> tuple[Sequence[Audio], bool]:
    single = isinstance(source, str | os.PathLike | bytes | np.ndarray)
    return ([source] if single else list(source)), single  # type: ignore[list-item, arg-type]
