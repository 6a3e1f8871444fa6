"""The deck's VAE: its exact shapes, its loss, and the gradient of grouped targets."""

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F  # noqa: N812

from synesthete.config import ConfigError
from synesthete.data.batches import Batch, generator
from synesthete.families.vae import Config, Model
from synesthete.family import Shapes
from tiny import batch_of


def test_it_has_the_deck_s_20_950_529_parameters() -> None:
    assert sum(p.numel() for p in Model(Config(), Shapes()).parameters()) == 20_950_529


def test_its_layers_have_the_deck_s_shapes() -> None:
    model = Model(Config(), Shapes())
    shapes: list[tuple[int, ...]] = []
    for layer in [*model.encoder, *model.decoder]:
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    model.render(torch.rand(2, 1, 48, 48), torch.randn(2, 64))
    encoder = [(64, 23, 23), (128, 10, 10), (1024,), (512,)]
    decoder = [(512,), (1024,), (7 * 7 * 128,), (64, 14, 14), (1, 28, 28)]
    assert shapes == encoder + decoder
    assert model.mean.weight.shape == model.spread.weight.shape == (64, 512)


def test_its_loss_is_the_negative_evidence_lower_bound() -> None:
    """Against torch.distributions: reconstruction summed over pixels, KL over the latent."""
    model = Model(Config(beta=0.7, initialisation="torch"), Shapes())
    batch = batch_of([0, 1, 2, 0, 1, 2], [1.0] * 6)
    losses = model.losses(batch, "all", generator(0, 1))
    mean, log_variance = model.posterior(batch.audio)
    q = Normal(mean[batch.audio_of], (log_variance[batch.audio_of] / 2).exp())
    noise = torch.randn(6, 64, generator=generator(0, 1))
    probability = model.decode(model.encode(batch.audio)[batch.audio_of], noise)
    expected = F.binary_cross_entropy(probability, batch.image, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(losses["reconstruction"], expected.mean())
    binary = batch.image.round()
    log_likelihood = Bernoulli(probs=probability).log_prob(binary)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(
        -log_likelihood.sum((1, 2, 3)),
        F.binary_cross_entropy(probability, binary, reduction="none").sum((1, 2, 3)),
    )
    kl = kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1).mean()
    torch.testing.assert_close(losses["kl"], kl)
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 0.7 * losses["kl"])


def test_a_gaussian_decoder_has_half_the_squared_error() -> None:
    model = Model(Config(reconstruction="gaussian"), Shapes())
    batch = batch_of(range(4), [1.0] * 4)
    losses = model.losses(batch, "all", generator(3))
    noise = torch.randn(4, 64, generator=generator(3))
    error = model.render(batch.audio, noise) - batch.image
    torch.testing.assert_close(losses["reconstruction"], error.square().sum((1, 2, 3)).mean() / 2)


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_reduction_mean_averages_over_pixels_beside_the_kl_divergence_s_sum(kind: str) -> None:
    batch = batch_of(range(4), [1.0] * 4)
    code, logits = torch.randn(4, 128), torch.randn(4, 1, 28, 28)
    mean, spread = code[:, :64], (code[:, 64:] / 2).exp()
    drawn, image = torch.sigmoid(logits), batch.image
    density = {
        "bernoulli": -(image * drawn.log() + (1 - image) * (1 - drawn).log()),
        "gaussian": (drawn - image).square() / 2,
    }[kind]
    kl = (mean.square() + spread.square() - 1 - 2 * spread.log()).sum() / (2 * 4)
    found = {}
    for reduction, value in (("sum", density.sum() / 4), ("mean", density.mean())):
        model = Model(Config(beta=0.5, reconstruction=kind, reduction=reduction), Shapes())
        found[reduction] = model.objective(code, logits, batch)
        torch.testing.assert_close(found[reduction]["reconstruction"], value)
        torch.testing.assert_close(found[reduction]["kl"], kl)
        torch.testing.assert_close(found[reduction]["loss"], value + 0.5 * kl)
    assert found["sum"]["loss"] > 2 * found["mean"]["loss"]


def test_a_misspelt_reduction_is_refused() -> None:
    model = Model(Config(reduction="average"), Shapes())
    with pytest.raises(ConfigError, match="no reduction 'average'; there are: sum, mean"):
        model.losses(batch_of([0, 1]), "all", generator(0))


def test_relu_heads_are_the_literal_reading() -> None:
    model = Model(Config(relu_heads=True), Shapes())
    mean, log_variance = model.posterior(torch.rand(8, 1, 48, 48))
    features = model.encoder(torch.rand(1, 1, 48, 48))
    assert mean.min() >= 0
    assert (mean == 0).any()
    assert sum(p.numel() for p in model.parameters()) == 20_950_529
    sigma = (log_variance / 2).exp()
    assert sigma.min() > 0
    assert torch.allclose(model.mean(features).relu(), model.mean(features).clamp_min(0))


def grouped_and_pairs_gradients(reconstruction: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of both objectives over a whole small graph, in double precision."""
    torch.manual_seed(0)
    small = Shapes(audio=(1, 24, 24), image=(1, 8, 8))  # the same layers, quicker in double
    model = Model(Config(reconstruction=reconstruction), small).double()
    rng = torch.Generator().manual_seed(1)
    audio = torch.rand(3, 1, 24, 24, generator=rng, dtype=torch.float64)
    images = torch.rand(9, 1, 8, 8, generator=rng, dtype=torch.float64)
    audio_of = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])  # 5, 3 and 1 partners
    counts = torch.bincount(audio_of)
    means = torch.stack([images[audio_of == row].mean(0) for row in range(3)])
    noise = torch.randn(3, 64, generator=rng, dtype=torch.float64)
    pairs = Batch(audio, images, audio_of, torch.ones(9, dtype=torch.float64), audio)
    weight = counts / counts.double().mean()
    grouped = Batch(audio, means, torch.arange(3), weight, audio)
    found = []
    for batch in (pairs, grouped):
        model.zero_grad()
        code = model.encode(batch.audio)[batch.audio_of]
        logits = model._logits(code, noise[batch.audio_of])
        model.objective(code, logits, batch)["loss"].backward()  # type: ignore[no-untyped-call]
        found.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    return found[0], found[1]


def test_grouped_and_pairwise_objectives_have_the_same_gradient() -> None:
    """The reconstruction loss is affine (or quadratic) in the target: DESIGN, the core idea.

    With the same noise for a recording in both, the gradient over all nine pairs equals the one
    over the three recordings' mean images, weighted by their partners, to float precision.
    """
    for reconstruction in ("bernoulli", "gaussian"):
        pairs, grouped = grouped_and_pairs_gradients(reconstruction)
        assert pairs.abs().max() > 1e-3
        torch.testing.assert_close(grouped, pairs, rtol=1e-9, atol=1e-12)


def test_he_s_weights_keep_the_variance_and_torch_s_shrink_it() -> None:
    """Var = 2 / fan in (He et al. 2015, eq. 10), against 1 / (3 fan in)."""
    torch.manual_seed(0)
    models = {name: Model(Config(initialisation=name), Shapes()) for name in ("he", "torch")}
    spread = {}
    for name, variance in (("he", 2 / 12_800), ("torch", 1 / (3 * 12_800))):
        widest = models[name].encoder[5]
        assert isinstance(widest, torch.nn.Linear)
        assert widest.weight.var().item() == pytest.approx(variance, rel=1e-2)
        spread[name] = models[name].embed(torch.rand(16, 1, 48, 48)).std(0).mean()
    assert spread["he"] > 20 * spread["torch"]
    layers = models["he"].modules()
    biases = [b for m in layers if (b := getattr(m, "bias", None)) is not None]
    assert len(biases) == 11
    assert not any(bias.any() for bias in biases)
    with pytest.raises(ConfigError, match="no initialisation 'glorot'; there are: he, torch"):
        Model(Config(initialisation="glorot"), Shapes())
