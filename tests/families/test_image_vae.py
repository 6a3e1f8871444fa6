"""The VAE of images: its size, and its loss against torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F  # noqa: N812

from synesthete import config, family
from synesthete.data.batches import generator
from synesthete.families.image_vae import Config, Model
from synesthete.family import Shapes
from tiny import batch_of


def test_the_preset_has_231_153_parameters() -> None:
    preset = config.from_table(config.read("image-vae"))
    model = family.from_preset(preset, Shapes())
    encoder = 9 * (16 + 16 * 32 + 32 * 64 + 64 * 64) + 2 * (16 + 32 + 64 + 64)
    heads = 2 * (9 * 64 + 1) * 32
    decoder = 32 * 64 * 49 + 2 * 64 + 16 * 64 * 32 + 2 * 32 + 16 * 32 + 1
    assert encoder + heads + decoder == 231_153
    assert sum(p.numel() for p in model.parameters()) == 231_153


def test_its_loss_is_the_negative_evidence_lower_bound() -> None:
    """Reconstruction at z = μ + σ·noise summed over pixels, KL over the latent."""
    model, batch = Model(Config(beta=0.7), Shapes()).eval(), batch_of([0] * 6)
    losses = model.losses(batch, "all", generator(0, 1))
    mean, log_variance = model.posterior(batch.image)
    q = Normal(mean, (log_variance / 2).exp())
    z = q.loc + q.scale * torch.randn(6, model.noise_size, generator=generator(0, 1))
    each = F.binary_cross_entropy(model.draw(z), batch.image, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(losses["reconstruction"], (batch.weight * each).mean())
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1)
    torch.testing.assert_close(losses["kl"], (batch.weight * kl).mean())
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 0.7 * losses["kl"])


def test_it_redraws_from_the_posterior_s_mean() -> None:
    model, images = Model(Config(), Shapes()).eval(), batch_of([0] * 4).image
    mean, log_variance = model.posterior(images)
    torch.testing.assert_close(model.reconstruct(images), model.draw(mean))
    assert not torch.equal(mean, log_variance)
    assert torch.equal(model.reconstruct(images), model.reconstruct(images))
