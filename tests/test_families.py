"""What every family must do, found by itself in the folder of families."""

import dataclasses
import importlib
import inspect
import itertools
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric

from synesthete import config, families, family, train
from synesthete.config import TrainingConfig
from synesthete.data import batches, toy
from synesthete.data.alignment import Alignment
from synesthete.data.augment import AugmentationConfig
from synesthete.data.batches import Batch
from synesthete.data.labels import Labels
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.family import Family, Generator, Shapes, noise

FAMILIES = family.names()
PRESETS = [name for name in config.names() if "family" in config.read(name)]
GENERATORS = [
    name
    for name in FAMILIES
    if issubclass(importlib.import_module(f"{families.__name__}.{name}").Model, Generator)
]


def built(name: str, shapes: Shapes | None = None) -> Family:
    torch.manual_seed(0)
    return family.build(name, {}, shapes or Shapes())


def generator(name: str) -> Generator:
    model = built(name).eval()
    assert isinstance(model, Generator)
    return model


def first_batch(toy_world: tuple[Alignment, Labels], size: int = 16) -> Batch:
    source = batches.samples(toy_world[0].subset("train"), SpectrogramConfig(), "pairs")
    return next(batches.batches(source, size, AugmentationConfig(), seed=0))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_one_file_with_a_frozen_config_and_a_model(name: str) -> None:
    module = importlib.import_module(f"{families.__name__}.{name}")
    assert inspect.getdoc(module)
    assert module.Config.__dataclass_params__.frozen
    family.check_phases(built(name))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_its_model_and_comes_back_from_its_own_dictionary(name: str) -> None:
    preset = config.from_table(config.read(name))
    assert isinstance(family.from_preset(preset, Shapes()), Family)
    assert config.from_table(preset.to_dict()) == preset


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_preset(name: str) -> None:
    assert name in {config.read(preset)["family"] for preset in PRESETS}


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_are_named_finite_scalars_and_a_function_of_their_generator(
    name: str, toy_world: tuple[Alignment, Labels]
) -> None:
    model, batch = built(name).eval(), first_batch(toy_world)
    for phase in model.phases:
        once, again = (model.losses(batch, phase, batches.generator(1, 2)) for _ in range(2))
        assert "loss" in once
        for key, value in once.items():
            assert value.shape == ()
            assert value.isfinite()
            assert torch.equal(value, again[key])


@pytest.mark.parametrize("name", FAMILIES)
def test_a_phase_gives_gradients_to_each_of_its_own_parameters(
    name: str, toy_world: tuple[Alignment, Labels]
) -> None:
    model, batch = built(name).train(), first_batch(toy_world)
    for phase, attributes in model.phases.items():
        model.zero_grad()
        model.losses(batch, phase, batches.generator(0))["loss"].backward()  # type: ignore[no-untyped-call]
        for attribute in attributes:
            for key, parameter in getattr(model, attribute).named_parameters():
                assert parameter.grad is not None, f"{attribute}.{key}"
                assert parameter.grad.isfinite().all(), f"{attribute}.{key}"


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 48), (3, 64, 64), (1, 100, 100)])
def test_images_have_the_data_s_shape_and_range(name: str, image: tuple[int, int, int]) -> None:
    model = built(name, Shapes(image=image)).eval()
    assert isinstance(model, Generator)
    drawn = model.sample(torch.rand(3, 1, 48, 48), noise(0, 0, 3, 2, model.noise_size))
    assert drawn.shape == (3, 2, *image)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize("name", GENERATORS)
def test_generation_is_pure(name: str) -> None:
    """The same arguments give the same images, whatever else was drawn, and nothing is changed."""
    model = generator(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    audio, z = torch.rand(2, 1, 48, 48), noise(0, 0, 2, 1, model.noise_size)[:, 0]
    with torch.inference_mode():
        first = model.render(audio, z)
        torch.manual_seed(1234)
        state = torch.get_rng_state()
        second = model.render(audio, z)
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", GENERATORS)
def test_at_no_diversity_the_noise_changes_nothing(name: str) -> None:
    model = generator(name)
    audio, z = torch.rand(2, 1, 48, 48), noise(0, 0, 2, 3, model.noise_size)
    with torch.inference_mode():
        images, learnt = model.sample(audio, z, 0.0), model.sample(audio, z)
        torch.testing.assert_close(learnt, model.sample(audio, z, 1.0))
    torch.testing.assert_close(images, images[:, :1].expand_as(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    model = generator(name)
    audio, z = torch.rand(5, 1, 48, 48), noise(0, 0, 5, 3, model.noise_size)
    with torch.inference_mode():
        together = model.sample(audio, z)
        alone = torch.cat([model.sample(audio[i : i + 1], z[i : i + 1]) for i in range(5)])
        rendered = model.render(audio, z[:, 1])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[:, 1], rendered, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_it_draws_the_shapes_of_tones_it_never_heard(name: str) -> None:
    """Learns a small toy world, on recordings and images held out of training."""
    alignment, labels = toy.build(classes=2)
    front_end = SpectrogramConfig(bands=24, columns=24)
    source = batches.samples(alignment.subset("train"), front_end, "grouped")
    torch.manual_seed(0)
    model = family.build(name, {}, Shapes(audio=(1, 24, 24)))
    training, fabric = TrainingConfig(steps=200, batch_size=16), Fabric(accelerator="cpu")
    state = train.prepare(model, training, fabric)
    stream = partial(batches.batches, source, 16, AugmentationConfig(), 0)
    assert len(list(train.fit(state, stream, training, fabric, seed=0))) == 200
    test = alignment.subset("test")
    audio = batches.spectrograms(test, front_end)
    result = state.result.eval()
    assert isinstance(result, Generator)
    with torch.inference_mode():
        images = result.sample(audio, noise(0, 0, len(audio), 1, result.noise_size))[:, 0]
    right = toy.read(images.numpy(), classes=2) == labels.of(test)[0]
    assert right.mean() >= 0.9, f"{right.mean():.0%} of {len(right)}"


def test_noise_is_keyed_by_seed_input_and_sample() -> None:
    whole = noise(3, 0, 6, 4, 5)
    assert torch.equal(whole[2:4], noise(3, 2, 2, 4, 5))
    assert torch.equal(whole[:, :2], noise(3, 0, 6, 2, 5))
    assert not torch.equal(whole, noise(4, 0, 6, 4, 5))
    flat = [tuple(row.tolist()) for row in whole.flatten(0, 1)]
    assert len(set(flat)) == len(flat)
    many = noise(0, 0, 200, 10, 10).numpy()
    assert abs(many.mean()) < 0.03
    assert abs(many.std() - 1) < 0.03


def test_a_parameter_without_one_phase_is_refused() -> None:
    model = built(FAMILIES[0])
    attributes = [a for phase in model.phases.values() for a in phase]
    for phases in ({"all": attributes[1:]}, {"all": attributes, "twice": attributes[:1]}):
        type(model).phases, kept = phases, type(model).phases  # type: ignore[assignment]
        try:
            with pytest.raises(TypeError, match="without one phase"):
                family.check_phases(model)
        finally:
            type(model).phases = kept


def test_presets_and_families_are_looked_up_and_never_branched_on() -> None:
    source = "".join(inspect.getsource(module) for module in (train, family, batches, config))
    for name, quote in itertools.product(FAMILIES, "'\""):
        assert f"{quote}{name}{quote}" not in source


def test_config_fields_are_documented() -> None:
    """Each field of each family's configuration says what it is."""
    for name in FAMILIES:
        kind = importlib.import_module(f"{families.__name__}.{name}").Config
        source = inspect.getsource(kind)
        for field in dataclasses.fields(kind):
            after = source.split(f"    {field.name}:")[1].split("\n", 1)[1]
            assert after.lstrip().startswith('"""'), f"{name}: {field.name}"
