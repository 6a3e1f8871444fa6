"""What every family of images alone must do, found by itself in the folder of families."""

import dataclasses
import importlib
from functools import cache, partial

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from synesthete import config, families, family, train
from synesthete.data import batches, toy
from synesthete.data.alignment import Alignment
from synesthete.data.augment import AugmentationConfig
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.family import ImageModel, Shapes, noise

PRESETS = {
    table["family"]: name
    for name in config.names()
    if "family" in (table := config.read(name))
    and issubclass(
        importlib.import_module(f"{families.__name__}.{table['family']}").Model, ImageModel
    )
}
"""Family -> the preset whose learning rate it learns the toy world with."""

SMALL = Shapes(image=(1, 16, 16))
"""Of the toy world here."""

STEPS = 200


def built(name: str, shapes: Shapes | None = None) -> ImageModel:
    torch.manual_seed(0)
    model = family.build(name, {}, shapes or Shapes()).eval()
    assert isinstance(model, ImageModel)
    return model


@cache
def world() -> Alignment:
    """Bars and columns."""
    return toy.build(classes=2, size=16)[0]


def held_out() -> Tensor:
    """The images [I, 1, 16, 16] in 0..1 that no training sees."""
    return torch.from_numpy(world().subset("test").images).float() / 255


@cache
def trained(name: str) -> ImageModel:
    """The family's default model after a few seconds with the toy world's train images."""
    front_end = SpectrogramConfig(bands=24, columns=24)
    source = batches.samples(world().subset("train"), front_end, "pairs")
    preset = config.from_table(config.read(PRESETS[name]))
    training = dataclasses.replace(preset.training, steps=STEPS, batch_size=16, ema=0.0)
    model, fabric = built(name, SMALL), Fabric(accelerator="cpu")
    state = train.prepare(model, training, fabric)
    stream = partial(batches.batches, source, 16, AugmentationConfig(), 0)
    assert len(list(train.fit(state, stream, training, fabric, seed=0))) == STEPS
    result = state.result.eval()
    assert isinstance(result, ImageModel)
    return result


def distance_to(real: Tensor, images: Tensor) -> Tensor:
    """Pixel distance [N] of each of [N, C, H, W] to the nearest real image."""
    return torch.cdist(images.flatten(1), real.flatten(1)).min(1).values


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 48)])
def test_images_have_the_data_s_shape_and_range(name: str, image: tuple[int, int, int]) -> None:
    model = built(name, Shapes(image=image))
    redrawn = model.reconstruct(torch.rand(5, *image))
    for images in (model.draw(noise(0, 0, 5, 1, model.noise_size)[:, 0]), redrawn):
        if images is not None:
            assert images.shape == (5, *image)
            assert images.min() >= 0
            assert images.max() <= 1


@pytest.mark.parametrize("name", PRESETS)
def test_drawing_is_pure(name: str) -> None:
    """The same noise gives the same images, whatever else was drawn, and nothing is changed."""
    model = built(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    z, shown = noise(0, 0, 3, 1, model.noise_size)[:, 0], torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        first, redrawn = model.draw(z), model.reconstruct(shown)
        torch.manual_seed(1234)
        state = torch.get_rng_state()
        assert torch.equal(model.draw(z), first)
        again = model.reconstruct(shown)
    assert (redrawn is None and again is None) or torch.equal(redrawn, again)  # type: ignore[arg-type]
    assert torch.equal(state, torch.get_rng_state())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", PRESETS)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    model = trained(name)
    z, shown = noise(0, 0, 5, 1, model.noise_size)[:, 0], held_out()[:5]
    with torch.inference_mode():
        together, redrawn = model.draw(z), model.reconstruct(shown)
        alone = torch.cat([model.draw(z[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
        if redrawn is not None:
            one = model.reconstruct(shown[:1])
            torch.testing.assert_close(redrawn[:1], one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_images_it_never_saw_keep_their_class_when_redrawn(name: str) -> None:
    images = held_out()
    with torch.inference_mode():
        redrawn = trained(name).reconstruct(images)
    if redrawn is not None:
        kept = toy.read(redrawn.numpy(), classes=2) == toy.read(images.numpy(), classes=2)
        assert kept.mean() >= 0.9, f"{kept.mean():.0%} of {len(kept)}"


@pytest.mark.parametrize("name", PRESETS)
def test_it_draws_shapes_of_both_classes(name: str) -> None:
    """Nearly all drawings are nearer to a shape it never saw than an empty image is.

    A blend of both would be so too, but all such are read as one class.
    """
    real, z = held_out(), noise(0, 0, 100, 1, trained(name).noise_size)[:, 0]
    with torch.inference_mode():
        drawn, unlearnt = trained(name).draw(z), built(name, SMALL).draw(z)
    empty = distance_to(real, torch.zeros(1, *SMALL.image))
    assert not (distance_to(real, unlearnt) < empty).any()
    readable = (distance_to(real, drawn) < empty).numpy()
    assert readable.mean() >= 0.8, f"{readable.mean():.0%}"
    shares = np.bincount(toy.read(drawn.numpy()[readable], classes=2), minlength=2) / readable.sum()
    assert shares.min() >= 0.2, shares
