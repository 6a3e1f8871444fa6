"""The judges that read generated images: the only code that trains on labels."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete import config
from synesthete.data.batches import generator, reader_key
from synesthete.data.mnist import Mnist
from synesthete.errors import UserError
from synesthete.family import Family, Losses
from synesthete.files import whole_file
from synesthete.nets import ImageEncoder, Residual, Shape
from synesthete.pixels import planes
from synesthete.train import train as fit

TRAIN_IMAGES = 50_000
"""Judges see the first 50,000 MNIST train images; the last 10,000 serve the floors."""

PINNED = {
    "lenet5": "6931e83501688f3e00746e3b19c434b6ea4f14c9e86709dff14530c7d187a720",
    "judge2": "eec64957d457834bd203c6a48b0e1adb4ad7d6b5770ddff34bc1f2bdc5e5cd10",
}
"""SHA-256 of the weights that come with the package."""


OWN = config.TrainingConfig(
    steps=300, batch_size=64, learning_rate=2e-3, schedule="cosine", ema=0.98
)
"""How a judge of a user's own labels is trained."""


@dataclass(frozen=True)
class Recipe:
    """How a judge is trained: the `[judge]` table of its preset."""

    rotation: float = 0.0
    """Largest rotation, in degrees."""
    scale: float = 0.0
    """Largest relative change of size."""
    shift: float = 0.0
    """Largest shift along each axis, in pixels."""
    smoothing: float = 0.0
    """Label smoothing."""


@dataclass(frozen=True)
class LabelledBatch:
    """Images float32[B, C, H, W] in 0..1 and their labels int64[B]."""

    image: Tensor
    label: Tensor

    def to(self, device: torch.device) -> "LabelledBatch":
        """The same batch on `device`."""
        return LabelledBatch(self.image.to(device), self.label.to(device))


class Judge(Family):
    """A classifier of images; `features` is the space that distances of digits are taken in."""

    phases: ClassVar[Mapping[str, tuple[str, ...]]] = {"all": ("body", "head")}
    body: nn.Module
    head: nn.Module
    smoothing = 0.0

    def features(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] in 0..1 -> float32[B, F], the layer before the logits."""
        features: Tensor = self.body(image)
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Logits float32[B, K]."""
        logits: Tensor = self.head(self.features(image))
        return logits

    def losses(self, batch: LabelledBatch, phase: str, rng: torch.Generator) -> Losses:  # type: ignore[override]
        """Cross-entropy against the labels."""
        logits = self(batch.image)
        loss = F.cross_entropy(logits, batch.label, label_smoothing=self.smoothing)
        accuracy = (logits.argmax(1) == batch.label).float().mean()
        return {"loss": loss, "accuracy": accuracy}


class LeNet5(Judge):
    """The deck's judge (slide "LeNet5"; LeCun et al. 1998): 61,706 parameters, 84 features.

    28x28 padded by 2 to 32x32; the slide's "Conv 1x1, 6, str=5" is 1 -> 6 channels, kernel 5.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(),
            nn.Linear(120, 84), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(84, 10)


class Judge2(Judge):
    """A second opinion of another kind: a normalised residual network with average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False), nn.GroupNorm(8, 32), nn.SiLU(),
            Residual(32, 64, stride=2),
            Residual(64, 96, stride=2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(96, 10)


class OwnJudge(Judge):
    """A classifier of any images and classes, for a user's own labels."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        encoder = ImageEncoder(shape, 16)
        self.body, self.head = encoder, nn.Linear(encoder.features, classes)


ARCHITECTURES: dict[str, type[Judge]] = {"lenet5": LeNet5, "judge2": Judge2}


def load_judge(name: str) -> Judge:
    """The judge that comes with the package, in eval mode.

    Raises:
        UserError: its weights are not the pinned ones.
    """
    data = (resources.files("synesthete") / "weights" / f"{name}.safetensors").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != PINNED[name]:
        raise UserError(
            f"the weights of judge '{name}' have SHA-256 {found}, wanted {PINNED[name]}: "
            "reinstall synesthete"
        )
    judge = ARCHITECTURES[name]()
    judge.load_state_dict(load(data))
    return judge.eval()


@torch.inference_mode()
def read(
    judge: Judge, images: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features float32[N, F] and class probabilities float32[N, K] of uint8[N, H, W] images.

    In colour they are uint8[N, H, W, 3].
    """
    features, probabilities = [], []
    for part in torch.from_numpy(np.ascontiguousarray(planes(images))).split(1_000):  # type: ignore[no-untyped-call]
        feature = judge.features(part.float() / 255)
        features.append(feature)
        probabilities.append(judge.head(feature).softmax(1))
    return torch.cat(features).numpy(), torch.cat(probabilities).numpy()


def train(
    table: Mapping[str, Any], overrides: Mapping[str, str], mnist: Mnist, out: Path, seed: int
) -> tuple[float, str]:
    """Train the judge of a preset's table in `out`, write `out/NAME.safetensors`.

    Returns:
        Its accuracy on the 10,000 MNIST test images, and the SHA-256 of its weights.
    """
    sections = {"judge": Recipe, "training": config.TrainingConfig}
    name, table = table["name"], config.override(table, overrides, sections)
    recipe = config.parse(Recipe, table["judge"], "[judge]")
    training = config.parse(config.TrainingConfig, table["training"], "[training]")
    torch.manual_seed(seed)
    judge = ARCHITECTURES[name]()
    judge.smoothing = recipe.smoothing
    images = mnist.train_images[:TRAIN_IMAGES, None]
    labels = mnist.train_labels[:TRAIN_IMAGES]

    def stream(start: int, reader: int) -> Iterator[LabelledBatch]:
        share = training.batch_size // training.readers
        key = reader_key(reader, training.readers)
        return _stream(images, labels, share, recipe, seed, start, key)

    trained = fit(judge, stream, training, out, seed=seed, description=name)
    assert isinstance(trained, Judge)
    weights = save({k: v.contiguous() for k, v in trained.state_dict().items()})
    with whole_file(out / f"{name}.safetensors") as draft:
        draft.write_bytes(weights)
    predicted = read(trained, mnist.test_images)[1].argmax(1)
    accuracy = float((predicted == mnist.test_labels).mean())
    return accuracy, hashlib.sha256(weights).hexdigest()


def learn(images: NDArray[np.uint8], classes: NDArray[np.int64], count: int, out: Path) -> Judge:
    """A judge of images uint8[N, C, H, W] of `count` classes, int64[N]: trained, or from `out`.

    Raises:
        Interrupted: asked to stop; the next call goes on.
    """
    torch.manual_seed(0)
    judge = OwnJudge((images.shape[1], images.shape[2], images.shape[3]), count)
    path = out / "judge.safetensors"
    if path.is_file():
        judge.load_state_dict(load(path.read_bytes()))
        return judge.eval()
    recipe = Recipe(scale=0.1, shift=images.shape[2] / 20)

    def stream(start: int, _: int) -> Iterator[LabelledBatch]:
        return _stream(images, classes, OWN.batch_size, recipe, 0, start)

    trained = fit(judge, stream, OWN, out, seed=0, description="a judge of these labels")
    assert isinstance(trained, Judge)
    with whole_file(path) as draft:
        draft.write_bytes(save({k: v.contiguous() for k, v in trained.state_dict().items()}))
    return trained


def _stream(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    size: int,
    recipe: Recipe,
    seed: int,
    start: int,
    key: tuple[int, ...] = (),
) -> Iterator[LabelledBatch]:
    """Batches drawn with replacement from (seed, step, *key), each image moved a little."""
    all_images, all_labels = torch.from_numpy(images), torch.from_numpy(labels).long()
    for step in range(start, 2**62):
        rng = generator(seed, step, *key)
        rows = torch.randint(len(all_images), (size,), generator=rng)
        image = all_images[rows].float() / 255
        yield LabelledBatch(_move(image, recipe, rng), all_labels[rows])


def _move(image: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Rotate, scale and shift each of [B, C, H, W] by its own random amounts."""
    count, height = len(image), image.shape[-1]
    angle, scale, across, down = torch.rand(4, count, generator=rng) * 2 - 1
    angle = torch.deg2rad(angle * recipe.rotation)
    scale = 1 + scale * recipe.scale
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * scale
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * scale, angle.sin() * scale
    theta[:, 0, 2] = across * recipe.shift * 2 / height
    theta[:, 1, 2] = down * recipe.shift * 2 / height
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)
