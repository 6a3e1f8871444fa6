"""The GAN of images: its size, the game's losses by hand, and who moves when."""

from collections.abc import Iterator

import pytest
import torch
from lightning_fabric import Fabric

from synesthete import config, family, losses, train
from synesthete.config import TrainingConfig
from synesthete.data.batches import Batch, generator
from synesthete.families.image_gan import Config, Model
from synesthete.family import Shapes
from tiny import batch_of


def built(**keys: bool) -> Model:
    torch.manual_seed(0)
    return Model(Config(**keys), Shapes())


def test_the_preset_has_270_754_parameters() -> None:
    preset = config.from_table(config.read("image-gan"))
    model = family.from_preset(preset, Shapes())
    drawing = 64 * 64 * 49 + 2 * 64 + 16 * 64 * 32 + 2 * 32 + 16 * 32 + 1
    judging = 16 * 32 + 32 + 16 * 32 * 64 + 2 * 64 + 64 * 49 + 1
    assert drawing + judging == 270_754
    assert sum(p.numel() for p in model.parameters()) == 270_754


def test_the_losses_at_logits_whose_odds_are_known() -> None:
    """Logits of 0 and log 3 are probabilities of 1/2 and 3/4."""
    half, more = torch.zeros(2, 1), torch.full((2, 1), 3.0).log()
    log = torch.tensor([0.5, 0.75, 0.25]).log()
    torch.testing.assert_close(losses.discriminator_loss(more, half), -log[1] - log[0])
    torch.testing.assert_close(losses.discriminator_loss(half, more), -log[0] - log[2])
    torch.testing.assert_close(losses.generator_loss(more), -log[1])
    torch.testing.assert_close(losses.generator_loss(more, saturating=True), log[2])


@pytest.mark.parametrize("saturating", [False, True])
def test_each_player_s_loss_is_its_side_of_the_game(saturating: bool) -> None:
    """V(D, G) of Goodfellow et al. 2014, eq. 1, on the same noise for both."""
    model, batch = built(saturating=saturating).eval(), batch_of([0] * 4)
    with torch.no_grad():
        fake = model.draw(torch.randn(4, 64, generator=generator(2)))
        d_real, d_fake = (model.discriminator(x).sigmoid() for x in (batch.image, fake))
        told = model.losses(batch, "discriminator", generator(2))
        drawing = model.losses(batch, "generator", generator(2))["loss"]
    torch.testing.assert_close(told["loss"], -d_real.log().mean() - (1 - d_fake).log().mean())
    torch.testing.assert_close(told["real"], d_real.mean())
    torch.testing.assert_close(told["drawn"], d_fake.mean())
    wanted = (1 - d_fake).log().mean() if saturating else -d_fake.log().mean()
    torch.testing.assert_close(drawing, wanted)


def test_the_saturating_gradient_vanishes_while_the_discriminator_wins() -> None:
    logits = torch.full((1,), -10.0, requires_grad=True)
    (alive,) = torch.autograd.grad(losses.generator_loss(logits), logits)
    (vanished,) = torch.autograd.grad(losses.generator_loss(logits, saturating=True), logits)
    assert alive < -0.999  # both pull the logit up
    assert -1e-4 < vanished < 0


def test_a_step_of_either_player_leaves_the_other_s_weights_alone() -> None:
    for phase, moving in (("discriminator", "discriminator"), ("generator", "generator")):
        model, batch = built(), batch_of([0] * 4)
        training, fabric = TrainingConfig(steps=1, batch_size=4), Fabric(accelerator="cpu")
        state = train.prepare(model, training, fabric)
        state.optimizers = {phase: state.optimizers[phase]}
        before = {name: p.detach().clone() for name, p in model.named_parameters()}

        def stream(_: int, __: int, batch: Batch = batch) -> Iterator[Batch]:
            return iter([batch])

        assert len(list(train.fit(state, stream, training, fabric, seed=0))) == 1
        moved = {n.split(".")[0] for n, p in model.named_parameters() if (p != before[n]).any()}
        assert moved == {moving}


def test_it_cannot_redraw_an_image() -> None:
    assert built().reconstruct(torch.rand(2, 1, 28, 28)) is None
