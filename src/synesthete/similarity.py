"""How alike a matcher's two encoders see the world, layer by layer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synesthete.family import Matcher
from synesthete.metrics import linear_cka

BATCH = 250
"""Items that go through an encoder at a time."""

ACTIVATIONS = (nn.ReLU, nn.SiLU)
"""What ends a block."""

Layers = list[tuple[str, NDArray[np.float32]]]


@torch.inference_mode()
def layers(encoder: nn.Sequential, inputs: Tensor) -> Layers:
    """What an encoder makes of inputs [N, ...]: each block's name and output float32[N, D].

    A block ends with its non-linearity; its maps are averaged over the picture, so that D is the
    number of channels. The last is the embedding, as it is.
    """
    parts = [_outputs(encoder, part) for part in torch.split(inputs, BATCH)]
    stacked = [torch.cat(outputs).float().numpy() for outputs in zip(*parts, strict=True)]
    names = [f"block {number}" for number in range(1, len(stacked))] + ["embedding"]
    return list(zip(names, stacked, strict=True))


def cka_matrix(model: Matcher, audio: Tensor, image: Tensor) -> NDArray[np.float64]:
    """Linear CKA of every audio layer with every image layer: float64[audio layers, image layers].

    Row n of spectrograms [N, 1, bands, columns] belongs to row n of images [N, C, H, W] in 0..1.
    """
    heard, seen = layers(model.audio_encoder, audio), layers(model.image_encoder, image)
    return np.array([[linear_cka(ours, theirs) for _, theirs in seen] for _, ours in heard])


def _outputs(encoder: nn.Sequential, x: Tensor) -> list[Tensor]:
    outputs = []
    for layer in encoder:
        x = layer(x)
        if isinstance(layer, ACTIVATIONS):
            outputs.append(x.mean((2, 3)) if x.ndim == 4 else x)
    return [*outputs, x]
