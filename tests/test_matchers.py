"""What every matcher must do, found by itself in the folder of families."""

import importlib
from functools import partial

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from synesthete import config, families, family, matching, train
from synesthete.artefact import Artefact
from synesthete.config import Preset, TrainingConfig
from synesthete.data import batches, mix, toy
from synesthete.data.alignment import Alignment
from synesthete.data.augment import AugmentationConfig
from synesthete.data.labels import Labels
from synesthete.data.spectrogram import SpectrogramConfig
from synesthete.errors import UserError
from synesthete.family import Matcher, Shapes

MATCHERS = [
    name
    for name in family.names()
    if issubclass(importlib.import_module(f"{families.__name__}.{name}").Model, Matcher)
]
FRONT_END = SpectrogramConfig(bands=24, columns=24)
STEPS, BATCH = 150, 16


def untrained(name: str, image: tuple[int, int, int] = (1, 28, 28)) -> Matcher:
    torch.manual_seed(0)
    model = family.build(name, {}, Shapes(image=image)).eval()
    assert isinstance(model, Matcher)
    return model


def learn(name: str, alignment: Alignment) -> Matcher:
    """Train on the train side, in seconds."""
    source = batches.samples(alignment.subset("train"), FRONT_END, "pairs")
    torch.manual_seed(0)
    model = family.build(name, {}, Shapes(audio=(1, 24, 24)))
    training, fabric = TrainingConfig(steps=STEPS, batch_size=BATCH), Fabric(accelerator="cpu")
    state = train.prepare(model, training, fabric)
    stream = partial(batches.batches, source, BATCH, AugmentationConfig(), 0)
    assert len(list(train.fit(state, stream, training, fabric, seed=0))) == STEPS
    result = state.result.eval()
    assert isinstance(result, Matcher)
    return result


@torch.inference_mode()
def logits(model: Matcher, side: Alignment) -> NDArray[np.float32]:
    """Logits [A, I] of one side of an alignment."""
    images = torch.from_numpy(side.images).float() / 255
    return model.score(batches.spectrograms(side, FRONT_END), images).numpy()


def preferred(scores: NDArray[np.float32], matching: NDArray[np.bool_]) -> float:
    """How often an image that matches is scored above one that does not: mean over recordings."""
    return float(
        np.mean([
            (row[fits][:, None] > row[~fits]).mean()
            for row, fits in zip(scores, matching, strict=True) if fits.any() and not fits.all()
        ])
    )  # fmt: skip


def test_there_are_matchers_of_both_kinds() -> None:
    assert {"correspondence", "retrieval"} <= {*MATCHERS}


@pytest.mark.parametrize("name", MATCHERS)
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 32, 48), (3, 128, 128)])
def test_every_pair_has_a_logit_and_it_is_the_match_of_the_embeddings(
    name: str, image: tuple[int, int, int]
) -> None:
    model = untrained(name, image)
    audio, pictures = torch.rand(3, 1, 48, 48), torch.rand(5, *image)
    with torch.inference_mode():
        heard, seen = model.embed_audio(audio), model.embed_image(pictures)
        assert heard.shape == (3, seen.shape[1])
        scores = model.score(audio, pictures)
        torch.testing.assert_close(scores, model.match(heard, seen))
        one = model.score(audio[1:2], pictures[4:])
    assert scores.shape == (3, 5)
    torch.testing.assert_close(scores[1, 4], one[0, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MATCHERS)
def test_an_embedding_does_not_depend_on_its_batch_and_changes_nothing(name: str) -> None:
    model = untrained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    audio, image = torch.rand(5, 1, 48, 48), torch.rand(5, 1, 28, 28)
    with torch.inference_mode():
        for embed, inputs in ((model.embed_audio, audio), (model.embed_image, image)):
            alone = torch.cat([embed(inputs[row : row + 1]) for row in range(5)])
            torch.testing.assert_close(embed(inputs), alone, atol=1e-5, rtol=0)
            assert (alone[0] - alone[1]).abs().max() > 1e-4
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", MATCHERS)
def test_its_losses_read_no_generator_but_their_own(
    name: str, toy_world: tuple[Alignment, Labels]
) -> None:
    source = batches.samples(toy_world[0].subset("train"), SpectrogramConfig(), "pairs")
    batch = next(batches.batches(source, 16, AugmentationConfig(), seed=0))
    model, state = untrained(name), torch.get_rng_state()
    first = model.losses(batch, "all", batches.generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = model.losses(batch, "all", batches.generator(1))
    assert {k: float(v.detach()) for k, v in first.items()} == {
        k: float(v.detach()) for k, v in second.items()
    }


@pytest.mark.parametrize("name", MATCHERS)
def test_it_tells_which_shapes_go_with_tones_it_never_heard(name: str) -> None:
    alignment, labels = toy.build(classes=2)
    test = alignment.subset("test")
    heard, seen = labels.of(test)
    scores = logits(learn(name, alignment), test)
    fits = heard[:, None] == seen
    assert preferred(scores, fits) >= 0.9
    right = ((scores > 0) == fits).mean()  # as many pairs match as do not: two classes
    assert right >= 0.9, f"{right:.0%} on the right side of 0"


@pytest.mark.parametrize("name", MATCHERS)
def test_from_shuffled_pairs_there_is_nothing_to_learn(name: str) -> None:
    alignment = mix.shuffled(toy.build(classes=2)[0])
    test = alignment.subset("test")
    edges = np.zeros((len(test.audio_ids), len(test.image_ids)), np.bool_)
    edges[test.edges[:, 0], test.edges[:, 1]] = True
    assert 0.35 <= preferred(logits(learn(name, alignment), test), edges) <= 0.65


def held(name: str) -> Artefact:
    preset = Preset(name, name, TrainingConfig(steps=1))
    return Artefact(untrained(name), preset, Shapes(), {"seed": 0}, {}, f"runs/{name}")


@pytest.mark.parametrize("name", MATCHERS)
def test_blocks_change_neither_embeddings_nor_scores(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = matching.Model(held(name))
    pictures = np.random.default_rng(0).integers(0, 256, (7, 1, 28, 28)).astype(np.uint8)
    audio = torch.rand(5, 1, 48, 48)
    whole = model.match(model.embed_audio(audio), model.embed_image(pictures))
    assert whole.shape == (5, 7)
    monkeypatch.setattr(matching, "PAIRS", 15)  # two recordings at a time
    blocks = model.match(model.embed_audio(audio), model.embed_image(pictures))
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    with torch.inference_mode():
        scores = model.matcher.score(audio, torch.from_numpy(pictures) / 255)
    np.testing.assert_allclose(whole, scores.numpy(), atol=1e-5)


def test_a_model_that_matches_nothing_is_refused_with_the_presets_that_do() -> None:
    preset = config.from_table(config.read("archetype"))
    model = family.from_preset(preset, Shapes()).eval()
    with pytest.raises(UserError, match=r"runs/x: .*autoencoder does not match.*avc, ave"):
        matching.Model(Artefact(model, preset, Shapes(), {}, {}, "runs/x"))
    assert {"avc", "ave"} <= {*matching.presets()}
    assert "archetype" not in matching.presets()


def test_nearness_is_the_negative_euclidean_distance() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (rng.normal(size=(n, 6)).astype(np.float32) for n in (4, 5))
    expected = [[-np.linalg.norm(x - y) for y in theirs] for x in ours]
    np.testing.assert_allclose(matching.nearness(ours, theirs), expected, rtol=1e-5)
