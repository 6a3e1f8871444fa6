"""A trained matcher as its users hold it: embeddings and scores, a block at a time."""

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synesthete import artefact, config, families
from synesthete.data.spectrogram import LogMel, pad
from synesthete.errors import UserError
from synesthete.family import Matcher

BATCH = 250
"""Items that go through an encoder at a time."""

PAIRS = 100_000
"""Pairs that are scored at a time: 51 MB in a head of 128 units."""

Floats = NDArray[np.float32]


class Model:
    """A trained matcher with its front end."""

    def __init__(self, held: artefact.Artefact) -> None:
        if not isinstance(held.model, Matcher):
            raise UserError(
                f"{held.name}: a {held.preset.family} does not match sounds with images; train one "
                f"of the presets that do: {', '.join(presets())}"
            )
        self.artefact = held
        self.matcher = held.model
        self.log_mel = LogMel(held.preset.spectrogram)
        self.rate = held.preset.spectrogram.rate

    @torch.inference_mode()
    def spectrogram(self, waveforms: Sequence[Floats]) -> Tensor:
        """What the network sees of prepared clips: float32[A, 1, bands, columns] in 0..1."""
        pictures: Tensor = self.log_mel(*pad(waveforms))
        return pictures.unsqueeze(1)

    @torch.inference_mode()
    def embed_audio(self, spectrogram: Tensor) -> Floats:
        """float32[A, 1, bands, columns] -> float32[A, E]."""
        return _in_blocks(self.matcher.embed_audio, spectrogram)

    @torch.inference_mode()
    def embed_image(self, images: NDArray[np.uint8]) -> Floats:
        """uint8[I, C, H, W] -> float32[I, E]."""
        return _in_blocks(
            lambda part: self.matcher.embed_image(part.float() / 255), torch.from_numpy(images)
        )

    @torch.inference_mode()
    def match(self, audio: Floats, image: Floats) -> Floats:
        """Embeddings [A, E] and [I, E] -> logits float32[A, I]."""
        heard, seen = torch.from_numpy(audio), torch.from_numpy(image)
        rows = max(1, PAIRS // max(1, len(seen)))
        return _in_blocks(lambda part: self.matcher.match(part, seen), heard, rows)


def load(model: str | os.PathLike[str]) -> Model:
    """The trained matcher in a run or artefact folder.

    Raises:
        UserError: nothing of that name, damaged, or a model that matches nothing.
    """
    return Model(artefact.read(os.fspath(model)))


def presets() -> list[str]:
    """The presets that train a matcher."""
    tables = {name: config.read(name) for name in config.names()}
    return [name for name, table in tables.items() if _matches(table.get("family"))]


def _matches(family: Any) -> bool:
    if family is None:
        return False
    module = importlib.import_module(f"{families.__name__}.{family}")
    return issubclass(module.Model, Matcher)


def nearness(ours: Floats, theirs: Floats) -> Floats:
    """Negative Euclidean distance of embeddings [N, E] to others [M, E]: float32[N, M]."""
    x, y = ours.astype(np.float64), theirs.astype(np.float64)
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.asarray(-np.sqrt(squares.clip(min=0)), np.float32)


def _in_blocks(function: Callable[[Tensor], Tensor], inputs: Tensor, rows: int = BATCH) -> Floats:
    """A function of [N, ...] taken `rows` at a time; the results together as float32[N, ...]."""
    return torch.cat([function(part).float() for part in torch.split(inputs, rows)]).numpy()
