"""The deterministic autoencoder: its loss, and that noise plays no part."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.data.batches import Batch, generator
from synesthete.families.autoencoder import Config, Model
from synesthete.family import Shapes


def test_its_loss_is_the_weighted_cross_entropy_summed_over_pixels() -> None:
    model = Model(Config(), Shapes()).eval()
    audio, image = torch.rand(2, 1, 48, 48), torch.rand(3, 1, 28, 28)
    weight = torch.tensor([0.5, 1.0, 1.5])
    batch = Batch(audio, image, torch.tensor([0, 1, 1]), weight)
    drawn = model.render(audio, torch.zeros(2, 0))[[0, 1, 1]]
    each = F.binary_cross_entropy(drawn, image, reduction="none").sum((1, 2, 3))
    loss = model.losses(batch, "all", generator(0))["loss"]
    torch.testing.assert_close(loss, (weight * each).mean())


def test_a_recording_has_one_image() -> None:
    model = Model(Config(), Shapes()).eval()
    images = model.sample(torch.rand(2, 1, 48, 48), torch.zeros(2, 3, 0))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_a_misspelt_density_is_refused() -> None:
    batch = Batch(
        torch.rand(1, 1, 48, 48), torch.rand(1, 1, 28, 28), torch.zeros(1).long(), torch.ones(1)
    )
    model = Model(Config(reconstruction="bernouli"), Shapes()).eval()
    with pytest.raises(ConfigError, match="there are: bernoulli, gaussian"):
        model.losses(batch, "all", generator(0))


def test_it_stays_small() -> None:
    """What makes the demo a minute's work: the count that the README gives."""
    assert sum(p.numel() for p in Model(Config(), Shapes()).parameters()) < 1_500_000
