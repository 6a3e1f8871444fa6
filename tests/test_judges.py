"""The judges: pinned, of the size they claim, and read by labels that training never sees."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from synesthete import config, judges
from synesthete.data.mnist import Mnist
from synesthete.data.sources import Origin
from synesthete.errors import UserError
from synesthete.judges import ARCHITECTURES, PINNED, LeNet5, Recipe, load_judge, read


def tiny_mnist(size: int = 60_000) -> Mnist:
    """Stand-in: digit d is a bright row d."""
    labels = (np.arange(size) % 10).astype(np.uint8)
    images = np.zeros((size, 28, 28), np.uint8)
    images[np.arange(size), 2 + 2 * labels] = 255
    origin = Origin("stand-in", "synthesised", "", "", verified=False)
    return Mnist(images, labels, images[:100], labels[:100], origin)


def test_lenet5_is_the_classic_network() -> None:
    judge = LeNet5()
    assert sum(p.numel() for p in judge.parameters()) == 61_706
    assert judge.features(torch.rand(3, 1, 28, 28)).shape == (3, 84)
    assert judge(torch.rand(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_bundled_weights_are_the_pinned_ones(name: str) -> None:
    data = (resources.files("synesthete") / "weights" / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() == PINNED[name]
    assert len(data) < 1_000_000
    assert not load_judge(name).training


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PINNED, "lenet5", "0" * 64)
    with pytest.raises(UserError, match="reinstall"):
        load_judge("lenet5")


def test_a_judge_trains_on_the_first_50_000_images_only(tmp_path: Path) -> None:
    """The last 10,000, poisoned with wrong labels here, change nothing."""
    clean, poisoned = tiny_mnist(), tiny_mnist()
    poisoned.train_labels[50_000:] = 0
    poisoned.train_images[50_000:] = 255
    digests = []
    for name, mnist in (("clean", clean), ("poisoned", poisoned)):
        table = config.read("lenet5")
        accuracy, digest = judges.train(
            table, {"steps": "150", "batch_size": "32"}, mnist, tmp_path / name, seed=0
        )
        digests.append(digest)
        assert accuracy > 0.9
    assert digests[0] == digests[1]
    weights = (tmp_path / "clean" / "lenet5.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == digests[0]


def test_reading_gives_features_and_probabilities() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1_003, 28, 28), dtype=np.uint8)
    features, probabilities = read(load_judge("lenet5"), images)
    assert features.shape == (1_003, 84)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    alone = read(load_judge("lenet5"), images[1_001:1_002])[0]
    np.testing.assert_allclose(alone[0], features[1_001], atol=1e-4)


def test_moving_an_image_by_nothing_leaves_it_and_by_a_pixel_moves_it() -> None:
    image = torch.zeros(500, 1, 28, 28)
    image[:, :, 14, 14] = 1
    rng = torch.Generator().manual_seed(0)
    torch.testing.assert_close(judges._move(image, Recipe(), rng), image, atol=1e-5, rtol=0)
    moved = judges._move(image, Recipe(shift=2.0), rng)
    rows = (moved.sum(3) * torch.arange(28)).sum(2) / moved.sum((2, 3))
    assert rows.min() >= 12 - 1e-3
    assert rows.max() <= 16 + 1e-3
    assert rows.max() - rows.min() > 3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("lenet5", 0.992), ("judge2", 0.994)])
def test_the_judges_read_mnist(name: str, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the 10,000 real test images."""
    monkeypatch.delenv("SYNESTHETE_CACHE")
    from synesthete.data import mnist

    found = mnist.load()
    accuracy = (read(load_judge(name), found.test_images)[1].argmax(1) == found.test_labels).mean()
    assert accuracy >= least
