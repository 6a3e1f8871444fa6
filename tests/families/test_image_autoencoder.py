"""The autoencoder of images: its size, its loss, and codes that noise is a fair try at."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from synesthete import config, family
from synesthete.config import ConfigError
from synesthete.data.batches import generator
from synesthete.families.image_autoencoder import Config, Model
from synesthete.family import Shapes
from tiny import batch_of


def test_the_preset_has_331_505_parameters() -> None:
    preset = config.from_table(config.read("image-autoencoder"))
    model = family.from_preset(preset, Shapes())
    encoder = 9 * (16 + 16 * 32 + 32 * 64 + 64 * 64) + 2 * (16 + 32 + 64 + 64)
    head = (9 * 64 + 1) * 64
    decoder = 64 * 64 * 49 + 2 * 64 + 16 * 64 * 32 + 2 * 32 + 16 * 32 + 1
    assert encoder + head + decoder == 331_505
    assert sum(p.numel() for p in model.parameters()) == 331_505


def test_its_loss_is_the_weighted_cross_entropy_summed_over_pixels() -> None:
    model, batch = Model(Config(), Shapes()).eval(), batch_of([0] * 3)
    redrawn = model.reconstruct(batch.image)
    each = F.binary_cross_entropy(redrawn, batch.image, reduction="none").sum((1, 2, 3))
    loss = model.losses(batch, "all", generator(0))["loss"]
    torch.testing.assert_close(loss, (batch.weight * each).mean())


def test_a_gaussian_decoder_has_half_the_squared_error() -> None:
    model, batch = Model(Config(reconstruction="gaussian"), Shapes()).eval(), batch_of([0] * 3)
    each = (model.reconstruct(batch.image) - batch.image).square().sum((1, 2, 3)) / 2
    loss = model.losses(batch, "all", generator(0))["loss"]
    torch.testing.assert_close(loss, (batch.weight * each).mean())


def test_each_entry_of_the_code_has_mean_0_and_variance_1() -> None:
    """Over a batch in training; afterwards, with what training saw, over the data."""
    model = Model(Config(), Shapes()).train()
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _ in range(100):
            code = model.code(images)
        later = model.eval().code(images)
    for found in (code, later):
        torch.testing.assert_close(found.mean(0), torch.zeros(64), atol=0.05, rtol=0)
        torch.testing.assert_close(found.var(0), torch.ones(64), atol=0.1, rtol=0)


def test_drawing_decodes_noise_as_a_code() -> None:
    model, images = Model(Config(), Shapes()).eval(), batch_of([0] * 4).image
    torch.testing.assert_close(model.draw(model.code(images)), model.reconstruct(images))


def test_images_that_the_decoder_cannot_draw_are_refused() -> None:
    with pytest.raises(ConfigError, match="30x28: wanted multiples of 4"):
        Model(Config(), Shapes(image=(1, 30, 28)))
