"""Audio in, images or embeddings out: the model as its users hold it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synesthete import artefact
from synesthete.data import audio
from synesthete.data.spectrogram import LogMel, pad
from synesthete.errors import UserError
from synesthete.family import Generator, noise

Audio = str | os.PathLike[str] | bytes | NDArray[Any]
"""One clip: a path, the bytes of an audio file, or samples [T] or [T, channels]."""

BATCH = 64
"""Clips that go through the network at a time."""

MOST_DIVERSE = 1.5
"""How far the dial goes; at 1 images are as various as was learnt."""

AUDIO_SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .au .caf .w64".split())
"""What a folder is searched for."""


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

        Image j of input i depends on (seed, i, j) alone, whatever the batch.

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
        waveforms = [audio.load(clip, sample_rate) for clip in clips]
        images = self.draw(waveforms, n, seed=seed, diversity=diversity)
        return images[0] if single else images

    @torch.inference_mode()
    def draw(
        self,
        waveforms: Sequence[NDArray[np.float32]],
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Images uint8[B, n, H, W] (or [..., 3]) of prepared clips; input 0 counts as `first`."""
        parts = [
            self.sample(
                self.spectrogram(waveforms[i : i + BATCH]), n,
                seed=seed, first=first + i, diversity=diversity,
            )
            for i in range(0, len(waveforms), BATCH)
        ]  # fmt: skip
        return np.concatenate(parts)

    @torch.inference_mode()
    def sample(
        self,
        spectrogram: Tensor,
        n: int,
        *,
        seed: int = 0,
        first: int = 0,
        diversity: float = 1.0,
    ) -> NDArray[np.uint8]:
        """Images uint8[B, n, H, W] (or [..., 3]) of spectrograms float32[B, 1, bands, columns]."""
        noises = noise(seed, first, len(spectrogram), n, self.generator.noise_size)
        return to_uint8(self.generator.sample(spectrogram, noises, diversity))

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

    @torch.inference_mode()
    def embed(
        self, source: Audio | Sequence[Audio], *, sample_rate: int | None = None
    ) -> NDArray[np.float32]:
        """Place a clip in the latent space: float32[D]; float32[B, D] for a list of clips."""
        clips, single = _as_list(source)
        waveforms = [audio.load(clip, sample_rate) for clip in clips]
        vectors = self.embed_spectrogram(self.spectrogram(waveforms))
        return vectors[0] if single else vectors

    @torch.inference_mode()
    def embed_spectrogram(self, spectrogram: Tensor) -> NDArray[np.float32]:
        """float32[B, 1, bands, columns] -> float32[B, D]."""
        return self.generator.embed(spectrogram).float().numpy()

    @torch.inference_mode()
    def spectrogram(self, waveforms: Sequence[NDArray[np.float32]]) -> Tensor:
        """What the network sees of prepared clips: float32[B, 1, bands, columns] in 0..1."""
        pictures: Tensor = self.log_mel(*pad(waveforms))
        return pictures.unsqueeze(1)


def load(model: str | os.PathLike[str], *, evaluations: int | None = None) -> Model:
    """The trained generator in a run or artefact folder, or of a bundled name.

    Raises:
        ArtefactError: nothing of that name, or damaged.
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


def find_audio(arguments: Iterable[str]) -> list[str]:
    """Files for a list of files, globs and folders (searched recursively), in order.

    Raises:
        UserError: a glob or a folder with no audio file.
    """
    found: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            files = [p for p in path.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES]
        elif any(c in argument for c in "*?[") and not path.exists():
            anchor = Path(path.anchor)
            files = list(anchor.glob(str(path.relative_to(anchor))))
        else:
            files = [path]
        if not files:
            raise UserError(f"{argument}: no audio file there")
        found += sorted(str(file) for file in files)
    return found


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """[..., C, H, W] in 0..1 -> uint8[..., H, W], or [..., H, W, 3] in colour."""
    grey = (images.float().clamp(0, 1) * 255).round().to(torch.uint8)
    if images.shape[-3] == 1:
        return grey.squeeze(-3).numpy()
    return grey.movedim(-3, -1).numpy()


def _as_list(source: Audio | Sequence[Audio]) -> tuple[Sequence[Audio], bool]:
    single = isinstance(source, str | os.PathLike | bytes | np.ndarray)
    return ([source] if single else list(source)), single  # type: ignore[list-item, arg-type]
