"""The deck's VAE-GAN: its published size, the shapes of its layers, its losses by hand."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete import config, family, train
from synesthete.config import ConfigError
from synesthete.data import batches
from synesthete.data.batches import Batch
from synesthete.families.vae_gan import Model
from synesthete.family import Shapes
from synesthete.losses import generator_loss
from tiny import batch_of

PUBLISHED = 7_909_382


def built(**keys: object) -> Model:
    torch.manual_seed(0)
    model = family.build("vae_gan", keys, Shapes())
    assert isinstance(model, Model)
    return model


def test_it_has_the_published_number_of_parameters() -> None:
    model = built()
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert sum(m.weight.numel() for m in convolutions) == 7_902_208


def test_the_published_number_forces_a_bias_and_batch_norm_on_both_outputs() -> None:
    """Whatever the hidden layers have, all channel counts but the two outputs' are multiples of
    64; so of the 7,174 parameters beside the kernels, 6 are the outputs'."""
    each = range(4)  # nothing, bias, batch norm (two a channel), both
    fitting = [
        (*hidden, heads, *outputs)
        for hidden in itertools.product(each, repeat=3)  # encoder, decoder, discriminator
        for heads in each
        for outputs in itertools.product(each, repeat=2)
        if 896 * sum(hidden) + 128 * heads + sum(outputs) == PUBLISHED - 7_902_208
    ]
    assert {found[-2:] for found in fitting} == {(3, 3)}
    assert {found[3] for found in fitting} == {0}
    assert (2, 3, 3, 0, 3, 3) in fitting
    assert len(fitting) == 3


def test_layers_have_the_shapes_of_the_deck() -> None:
    model, sizes = built(), []
    for part in (model.encoder, model.decoder, model.discriminator.layers):
        for layer in part:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape[1:])))
    code = model.encode(torch.rand(2, 1, 48, 48))
    images = model.decode(code, torch.randn(2, 64))
    logits = model.discriminator(images)
    assert sizes == [
        (128, 23, 23), (256, 10, 10), (512, 4, 4),
        (512, 3, 3), (256, 7, 7), (128, 14, 14), (1, 28, 28),
        (128, 13, 13), (256, 5, 5), (512, 1, 1), (1, 1, 1),
    ]  # fmt: skip
    assert code.shape == (2, 128)
    assert logits.shape == (2,)
    assert not any(isinstance(m, nn.Linear) for m in model.modules())


def test_the_loss_is_the_deck_s_sum_of_terms_computed_by_hand() -> None:
    model = built(alpha=0.3, beta=0.7, reconstruction="bernoulli")
    batch = batch_of([0, 1, 2])
    code, logits = torch.randn(3, 128), torch.randn(3, 1, 28, 28)
    parts = model.objective(code, logits, torch.tensor(2.0), batch)
    posterior = torch.distributions.Normal(code[:, :64], (code[:, 64:] / 2).exp())
    unit = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(posterior, unit).mean(1)
    bits = torch.sigmoid(logits)
    crossed = -(batch.image * bits.log() + (1 - batch.image) * (1 - bits).log()).sum((1, 2, 3))
    torch.testing.assert_close(parts["kl"], (batch.weight * kl).mean())
    torch.testing.assert_close(parts["reconstruction"], (batch.weight * crossed).mean())
    torch.testing.assert_close(parts["loss"], 2 + 0.3 * parts["reconstruction"] + 0.7 * parts["kl"])


def test_the_players_losses_are_those_of_the_game() -> None:
    model, batch = built(alpha=0.0, beta=0.0).eval(), batch_of([0, 1])
    fake = model.decode(*_code_and_noise(model, batch))
    d_real, d_fake = (torch.sigmoid(model.discriminator(x)) for x in (batch.image, fake))
    critic = model.losses(batch, "discriminator", batches.generator(5))["loss"]
    torch.testing.assert_close(critic, -(d_real.log().mean() + (1 - d_fake).log().mean()))
    for saturating, value in ((False, -d_fake.log().mean()), (True, (1 - d_fake).log().mean())):
        player = built(alpha=0.0, beta=0.0, saturating=saturating).eval()
        found = player.losses(batch, "generator", batches.generator(5))
        torch.testing.assert_close(found["loss"], value)


@pytest.mark.parametrize("amount", [0.0, 0.3])
def test_the_discriminator_sees_everything_through_the_instance_noise(amount: float) -> None:
    model, batch = built(instance_noise=amount).eval(), batch_of([0, 1])
    drawn = model.decode(*_code_and_noise(model, batch))
    seen: list[Tensor] = []
    model.discriminator.layers.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    for phase in model.phases:
        model.losses(batch, phase, batches.generator(5))
    for image, clean in zip(seen, (batch.image, drawn, drawn), strict=True):
        added = image - clean
        assert added.std().item() == pytest.approx(amount, rel=0.05)
        assert added.mean().abs() <= 0.05 * amount


def test_verdicts_are_normalised_over_real_and_drawn_together() -> None:
    critic = built().discriminator.train()
    real, drawn = torch.rand(6, 1, 28, 28), torch.rand(6, 1, 28, 28) / 9
    logits = torch.cat(critic.tell(real, drawn))
    torch.testing.assert_close(logits.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits.var(unbiased=False), torch.tensor(1.0), atol=1e-3, rtol=0)
    assert abs(logits[:6].mean() - logits[6:].mean()) > 0.1


def test_the_decoder_is_pushed_as_a_whole_however_well_drawings_are_told_apart() -> None:
    """Its verdicts come by running averages: a batch's own would cancel the common push."""
    critic = built().discriminator.train()
    for _ in range(50):
        critic.tell(torch.rand(8, 1, 28, 28), torch.zeros(8, 1, 28, 28))
    drawn = torch.rand(8, 1, 28, 28) / 9
    running = critic.output.running_mean
    assert running is not None
    before = running.clone()
    hidden = critic.layers(drawn).detach().requires_grad_()
    critic.layers.forward = lambda _: hidden  # type: ignore[method-assign]
    (push,) = torch.autograd.grad(generator_loss(critic(drawn)), hidden)
    assert torch.equal(running, before)
    assert (push < 0).all()
    norm = torch.nn.functional.batch_norm(hidden, None, None, training=True)
    (cancelled,) = torch.autograd.grad(generator_loss(norm.flatten()), hidden)
    torch.testing.assert_close(cancelled.sum(), torch.tensor(0.0), atol=1e-5, rtol=0)


def _code_and_noise(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    code = model.encode(batch.audio)[batch.audio_of]
    return code, torch.randn((len(code), 64), generator=batches.generator(5))


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "squared"])
def test_a_recording_s_images_all_teach_each_of_its_drawings(kind: str) -> None:
    """The gradient is that of every edge between the batch's drawings and images of a recording."""
    model, batch = built(reconstruction=kind, compare="images"), batch_of([0, 1, 0, 0, 1])
    ones = replace(batch, weight=torch.ones(5))
    logits = torch.randn(5, 1, 28, 28, requires_grad=True)
    loss = model.objective(torch.zeros(5, 128), logits, torch.tensor(0.0), ones)["reconstruction"]
    (ours,) = torch.autograd.grad(loss, logits)
    mine = torch.zeros(())
    for i in range(5):
        partners = [j for j in range(5) if batch.audio_of[j] == batch.audio_of[i]]
        for j in partners:
            mine = mine + _density(kind, logits[i], batch.image[j]) / (5 * len(partners))
    (theirs,) = torch.autograd.grad(mine, logits)
    torch.testing.assert_close(ours, theirs)


def test_the_mean_of_a_recording_s_drawings_is_compared_with_the_mean_of_its_images() -> None:
    model, batch = built(alpha=1.0, beta=0.0), batch_of([0, 1, 0, 0, 1])
    ones = replace(batch, weight=torch.ones(5))
    logits = torch.randn(5, 1, 28, 28)
    code, none = torch.zeros(5, 128), torch.tensor(0.0)
    found = model.objective(code, logits, none, ones)["reconstruction"]
    drawn = torch.sigmoid(logits)
    by_hand = torch.zeros(())
    for rows in ([0, 2, 3], [1, 4]):
        apart = drawn[rows].mean(0) - batch.image[rows].mean(0)
        by_hand = by_hand + len(rows) * apart.square().sum()
    torch.testing.assert_close(found, by_hand / 5)


def test_only_comparing_each_drawing_punishes_a_recording_s_drawings_for_differing() -> None:
    batch = batch_of([0, 0, 1, 1])
    alike = torch.full((4, 1, 28, 28), 0.5)
    differing = alike + 0.3 * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    code, none = torch.zeros(4, 128), torch.tensor(0.0)
    ones = replace(batch, weight=torch.ones(4))

    def loss(compare: str, drawn: Tensor) -> Tensor:
        model = built(compare=compare)
        return model.objective(code, torch.logit(drawn), none, ones)["reconstruction"]

    torch.testing.assert_close(loss("means", differing), loss("means", alike))
    punished = loss("images", differing) - loss("images", alike)
    torch.testing.assert_close(punished, torch.tensor(28 * 28 * 0.3**2), rtol=1e-4, atol=0)
    with pytest.raises(ConfigError, match="means, images"):
        built(compare="medians")


def _density(kind: str, logits: Tensor, image: Tensor) -> Tensor:
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(logits, image, reduction="sum")
    return (torch.sigmoid(logits) - image).square().sum() / (2 if kind == "gaussian" else 1)


def test_each_player_s_step_leaves_the_other_alone() -> None:
    model, batch = built(), batch_of([0, 0, 1, 1])
    training = config.TrainingConfig(steps=1, batch_size=4)
    fabric = Fabric(accelerator="cpu", devices=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = train.prepare(model, training, fabric)
    moved: dict[str, set[str]] = {}

    def remember(phase: str) -> None:
        names = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        moved[phase] = {n.partition(".")[0] for n in names}

    for phase, optimizer in state.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, phase=phase: remember(phase))

    def stream(_: int, __: int) -> Iterator[Batch]:
        return iter([batch])

    list(train.fit(state, stream, training, fabric, seed=0))
    assert moved["discriminator"] == {"discriminator"}
    assert moved["generator"] == {"discriminator", "encoder", "mean", "spread", "decoder"}
    assert all(p.requires_grad for p in model.parameters())


def test_shapes_that_the_architecture_cannot_take_are_refused() -> None:
    with pytest.raises(ConfigError, match="20 or more"):
        family.build("vae_gan", {}, Shapes(image=(1, 16, 28)))
    with pytest.raises(ConfigError, match="22 or more"):
        family.build("vae_gan", {}, Shapes(audio=(1, 20, 48)))
