"""A run of a smooth model with four readers, in as many processes as torchrun starts."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from synesthete import torchrun
from synesthete.config import TrainingConfig
from synesthete.data.batches import generator
from synesthete.family import Family
from synesthete.train import train

SETTINGS = TrainingConfig(20, batch_size=16, readers=4, ema=0.5, checkpoint_every=8)


class Share:
    """Random inputs and targets, of (step, reader)."""

    def __init__(self, step: int, reader: int) -> None:
        self.x, self.y = torch.randn(2, 4, 8, generator=generator(1, step, reader)).unbind()

    def to(self, device: torch.device) -> "Share":
        return self


class Plain(Family):
    """Two layers, group norm and dropout between them; a second phase of its own."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"one": ("layers",), "two": ("other",)}

    def __init__(self) -> None:
        super().__init__()
        layers = nn.Linear(8, 16), nn.GroupNorm(4, 16), nn.SiLU(), nn.Dropout(0.2)
        self.layers = nn.Sequential(*layers, nn.Linear(16, 8))
        self.other = nn.Linear(8, 8)

    def losses(self, batch: Share, phase: str, rng: torch.Generator) -> dict[str, Tensor]:  # type: ignore[override]
        drawn = self.layers(batch.x + 0.1 * torch.randn(batch.x.shape, generator=rng))
        drawn = self.other(drawn) if phase == "two" else drawn
        error = (drawn - batch.y).square().mean()
        return {"loss": error + error.sqrt(), "error": error}


def batches(start: int, reader: int) -> Iterator[Share]:
    for step in range(start, 2**62):
        yield Share(step, reader)


def main(out: Path) -> Family:
    torch.manual_seed(0)
    return train(Plain(), batches, SETTINGS, out, seed=0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    save_file(main(folder).state_dict(), folder / f"process-{torchrun.rank()}.safetensors")
