"""The mean flow: its loss by hand, average velocities against closed forms, what it heeds."""

import math

import pytest
import torch
from torch import Tensor, nn

from synesthete import family
from synesthete.config import ConfigError
from synesthete.data.batches import generator
from synesthete.families.flow import TIMES, Block, Model, Question, _waves
from synesthete.family import Shapes
from tiny import batch_of


class Field(nn.Module):
    """The exact average velocity of dx/dt = rate x + push w; remembers what it was asked.

    w is the guidance, 0 where the code is not to be heeded.
    """

    def __init__(self, rate: float = 1e-4, push: float = 0.0) -> None:
        super().__init__()
        self.rate, self.push = rate, push
        self.asked: list[Question] = []

    def forward(self, x: Tensor, asked: Question) -> Tensor:
        self.asked.append(asked)
        length = (asked.end - asked.start).double().view(-1, 1, 1, 1)
        grown = torch.where(length == 0, self.rate, torch.expm1(self.rate * length) / length)
        push = (self.push * asked.known * asked.guidance.exp()).view(-1, 1, 1, 1)
        return (grown * (x + push / self.rate)).to(x)


def built(**keys: object) -> Model:
    torch.manual_seed(0)
    model = family.build("flow", keys, Shapes())
    assert isinstance(model, Model)
    return model.eval()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_average_velocities_reach_the_same_image_in_any_number_of_steps(steps: int) -> None:
    """dx/dt = -x for a time of 1 leaves 1/e of the noise, at an evaluation a step."""
    model, field = built(evaluations=steps, guidance=1.0), Field(rate=-1.0)
    model.velocity = field  # type: ignore[assignment]
    noise = 2 * torch.rand(2, 784) - 1
    images = model.decode(torch.zeros(2, 64), noise, diversity=0.5)
    torch.testing.assert_close(images, ((noise * 0.5 / math.e).view(2, 1, 28, 28) + 1) / 2)
    assert [float(asked.start[0]) for asked in field.asked] == pytest.approx(
        [step / steps for step in range(steps)]
    )
    assert float(field.asked[-1].end[0]) == 1


def test_it_draws_under_its_guidance() -> None:
    for guidance in (1.0, 2.5):
        model = built(guidance=guidance)
        model.velocity = Field(push=0.3)  # type: ignore[assignment]
        images = model.decode(torch.zeros(1, 64), torch.zeros(1, 784))
        wanted = torch.full((1, 1, 28, 28), (guidance * 0.3 + 1) / 2)
        torch.testing.assert_close(images, wanted, atol=1e-3, rtol=0)


def test_at_first_the_error_is_that_of_a_straight_line_s_velocity() -> None:
    """Without any velocity: the mean square of image - noise; the loss is near its root."""
    model, batch = built(plain_steps=1), batch_of([0, 1, 0])
    model.velocity = Field()  # type: ignore[assignment]
    found = model.losses(batch, "flow", generator(4))
    noise = torch.randn(3, 1, 28, 28, generator=generator(4))
    error = (2 * batch.image - 1 - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(found["error"], error.mean(), rtol=1e-3, atol=0)
    loss = batch.weight * error / (error + 0.01).sqrt()
    torch.testing.assert_close(found["loss"], loss.mean(), rtol=1e-3, atol=0)


def test_only_after_its_plain_steps_it_is_asked_about_stretches_and_guidance() -> None:
    model, batch = built(plain_steps=2).train(), batch_of([0, 1] * 8)
    field = model.velocity = Field()  # type: ignore[assignment]
    asked = []
    for _ in range(3):
        model.losses(batch, "flow", generator(4))
        asked.append(field.asked[-1])
    for plain in asked[:2]:
        assert torch.equal(plain.start, plain.end)
        assert not plain.guidance.any()
    assert int((asked[2].end > asked[2].start).sum()) == 8
    assert (asked[2].end >= asked[2].start).all()
    assert 0 < int((asked[2].guidance > 0).sum()) < 16
    assert float(asked[2].guidance.max()) < math.log(3)
    model.eval().losses(batch, "flow", generator(4))
    assert int(model.learnt) == 3


def test_the_exact_average_velocity_is_what_it_teaches() -> None:
    """At the fixed point the target is the answer: MeanFlow's identity, guidance included."""
    model = built()
    field = Field(rate=-0.8, push=0.3)
    model.velocity = field  # type: ignore[assignment]
    torch.manual_seed(2)
    x, code = torch.randn(6, 1, 28, 28), torch.zeros(6, 64)
    start = torch.tensor([0.1, 0.5, 0.2, 0.7, 0.3, 0.3])
    end = torch.tensor([0.9, 0.6, 0.2, 0.7, 0.8, 0.5])
    known = torch.tensor([True, True, True, True, False, False])
    guidance = torch.tensor([0.0, 0.7, 0.4, 0.0, 0.0, 0.0])
    asked = Question(start, end, code, known, guidance)
    plain = Question(start, start, code, known, torch.zeros(6))
    target = field(x, plain) + model._beyond(x, asked, end > start)
    torch.testing.assert_close(target, field(x, asked), atol=2e-3, rtol=0)


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


def test_the_flow_is_taught_by_the_codes_of_recordings_as_they_are() -> None:
    """What is varied, and may be another word's picture then, teaches the encoder alone."""
    model, batch = built().train(), batch_of([0, 1, 0])
    model.velocity = field = Field()  # type: ignore[assignment]
    model.losses(batch, "flow", generator(4))
    wanted = model.eval().encode(batch.plain)[batch.audio_of]
    torch.testing.assert_close(field.asked[-1].code, wanted)
    assert not torch.allclose(wanted, model.encode(batch.audio)[batch.audio_of])


def test_an_unknown_code_changes_nothing_and_all_else_does() -> None:
    velocity = built().velocity
    for block in velocity.modules():
        if isinstance(block, Block):
            nn.init.normal_(block.film.weight)
            nn.init.normal_(block.second.weight)
    x, known = torch.randn(2, 1, 28, 28), torch.tensor([True, False])
    start, end, guidance = torch.tensor([0.3, 0.5]), torch.tensor([0.4, 0.9]), torch.zeros(2)
    asked = Question(start, end, torch.randn(2, 64), known, guidance)

    def moved(**other: Tensor) -> Tensor:
        apart: Tensor = velocity(x, asked) - velocity(x, asked._replace(**other))
        return apart.abs().amax((1, 2, 3))

    with torch.inference_mode():
        code = moved(code=torch.randn(2, 64))
        assert code[0] > 1e-3
        assert code[1] == 0
        for other in ({"start": start - 0.2}, {"end": end + 0.1}, {"guidance": guidance + 0.5}):
            assert moved(**other).min() > 1e-3


def test_times_are_told_apart_by_waves() -> None:
    waves = _waves(torch.linspace(0, 1, 65))
    assert waves.shape == (65, TIMES)
    assert waves.abs().max() <= 1
    distance = torch.cdist(waves, waves) + 9 * torch.eye(65)
    assert distance.min() > 0.05


def test_its_velocity_has_698_852_parameters() -> None:
    assert sum(p.numel() for p in built().velocity.parameters()) == 698_852


def test_images_that_cannot_be_quartered_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiples of 4"):
        family.build("flow", {}, Shapes(image=(1, 30, 28)))
