"""The rectified flow: its loss by hand, its sampler against closed forms, what it conditions on."""

import math

import pytest
import torch
from torch import Tensor, nn

from synesthete import family
from synesthete.config import ConfigError
from synesthete.data.batches import generator
from synesthete.families.flow import TIMES, Block, Model, _waves
from synesthete.family import Shapes
from tiny import batch_of


class Field(nn.Module):
    """A velocity that is known: `slope` x + `push`; remembers when it was asked."""

    def __init__(self, slope: float = 0.0, push: float = 0.0) -> None:
        super().__init__()
        self.slope, self.push = slope, push
        self.asked: list[float] = []

    def forward(self, x: Tensor, t: Tensor, code: Tensor, known: Tensor) -> Tensor:
        self.asked.append(float(t[0]))
        return self.slope * x + self.push * (1 if bool(known.all()) else 0)


def built(**keys: object) -> Model:
    torch.manual_seed(0)
    model = family.build("flow", keys, Shapes())
    assert isinstance(model, Model)
    return model.eval()


def test_a_constant_velocity_is_followed_exactly() -> None:
    model = built(steps=3)
    model.velocity = Field(push=0.5)  # type: ignore[assignment]
    noise = torch.rand(2, 784) - 0.8
    images = model.decode(torch.zeros(2, 64), noise)
    wanted = ((noise + 0.5).view(2, 1, 28, 28) + 1) / 2
    torch.testing.assert_close(images, wanted.clamp(0, 1))


@pytest.mark.parametrize("steps", [4, 8, 16])
def test_the_sampler_is_heun_s(steps: int) -> None:
    """dx/dt = -x: each step multiplies by 1 - h + h²/2, the last, an Euler step, by 1 - h."""
    model = built(steps=steps)
    field = Field(slope=-1.0)
    model.velocity = field  # type: ignore[assignment]
    images = model.decode(torch.zeros(1, 64), torch.full((1, 784), 0.9))
    h = 1 / steps
    x = 0.9 * (1 - h + h * h / 2) ** (steps - 1) * (1 - h)
    torch.testing.assert_close(images, torch.full((1, 1, 28, 28), (x + 1) / 2))
    assert len(field.asked) == 2 * steps - 1
    assert max(field.asked) < 1
    assert abs(x - 0.9 * math.exp(-1)) < 0.9 / steps


def test_guidance_goes_beyond_the_unconditional_velocity() -> None:
    noise = torch.zeros(1, 784)
    for guidance, reached in ((1.0, 0.3), (0.0, 0.0), (2.5, 0.75)):
        model = built(guidance=guidance)
        model.velocity = Field(push=0.3)  # type: ignore[assignment]
        images = model.decode(torch.zeros(1, 64), noise)
        torch.testing.assert_close(images, torch.full((1, 1, 28, 28), (reached + 1) / 2))


def test_the_flow_s_loss_is_the_squared_error_of_a_straight_line_s_velocity() -> None:
    """Without any velocity: the mean square of image - noise, each image by its weight."""
    model, batch = built(), batch_of([0, 1, 0])
    model.velocity = Field()  # type: ignore[assignment]
    found = model.losses(batch, "flow", generator(4))["loss"]
    noise = torch.randn(3, 1, 28, 28, generator=generator(4))
    error = (2 * batch.image - 1 - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(found, (batch.weight * error).mean())


def test_the_archetype_s_loss_is_the_cross_entropy_of_the_recording_s_mean_image() -> None:
    model, batch = built(), batch_of([0, 1, 0])
    found = model.losses(batch, "archetype", generator(4))["loss"]
    drawn = torch.sigmoid(model.decoder(model.head(model.encoder(batch.audio))))[batch.audio_of]
    mean = (batch.image[0] + batch.image[2]) / 2
    target = torch.stack([mean, batch.image[1], mean])
    crossed = -(target * drawn.log() + (1 - target) * (1 - drawn).log()).sum((1, 2, 3))
    torch.testing.assert_close(found, (batch.weight * crossed).mean())


def test_the_flow_teaches_the_encoder_nothing() -> None:
    model, batch = built().train(), batch_of([0, 1, 0])
    model.losses(batch, "flow", generator(4))["loss"].backward()  # type: ignore[no-untyped-call]
    for part in (model.encoder, model.head, model.decoder):
        assert all(p.grad is None for p in part.parameters())


def test_an_unknown_code_changes_nothing_and_a_known_one_does() -> None:
    velocity = built().velocity
    for block in velocity.modules():
        if isinstance(block, Block):
            nn.init.normal_(block.film.weight)
            nn.init.normal_(block.second.weight)
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([0.3, 0.7])
    one, other = torch.randn(2, 64), torch.randn(2, 64)
    known = torch.tensor([True, False])
    with torch.inference_mode():
        here = velocity(x, t, one, known)
        elsewhere = (here - velocity(x, t, other, known)).abs().amax((1, 2, 3))
        later = (here - velocity(x, t + 0.2, one, known)).abs().amax((1, 2, 3))
    assert elsewhere[0] > 1e-3
    assert elsewhere[1] == 0
    assert later.min() > 1e-3


def test_times_are_told_apart_by_waves() -> None:
    waves = _waves(torch.linspace(0, 1, 65))
    assert waves.shape == (65, TIMES)
    assert waves.abs().max() <= 1
    distance = torch.cdist(waves, waves) + 9 * torch.eye(65)
    assert distance.min() > 0.05


def test_images_that_cannot_be_quartered_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 4"):
        family.build("flow", {}, Shapes(image=(1, 30, 28)))
