"""The deterministic autoencoder: its loss, and that noise plays no part."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from synesthete import config, family
from synesthete.config import ConfigError
from synesthete.data.batches import Batch, generator
from synesthete.deck import DeckDecoder, DeckEncoder
from synesthete.families.autoencoder import Config, Model
from synesthete.family import Generator, Shapes
from synesthete.nets import ConvEncoder, DenseDecoder
from tiny import batch_of


def test_its_loss_is_the_weighted_cross_entropy_summed_over_pixels() -> None:
    model = Model(Config(), Shapes()).eval()
    audio, image = torch.rand(2, 1, 48, 48), torch.rand(3, 1, 28, 28)
    weight = torch.tensor([0.5, 1.0, 1.5])
    batch = Batch(audio, image, torch.tensor([0, 1, 1]), weight, audio)
    drawn = model.render(audio, torch.zeros(2, 0))[[0, 1, 1]]
    each = F.binary_cross_entropy(drawn, image, reduction="none").sum((1, 2, 3))
    loss = model.losses(batch, "all", generator(0))["loss"]
    torch.testing.assert_close(loss, (weight * each).mean())


def test_the_contrastive_loss_is_of_cosines_and_teaches_the_audio_encoder() -> None:
    """Written out: each recording names its image among the batch's, and each image its own."""
    audio, image = torch.rand(3, 1, 48, 48), torch.rand(3, 1, 28, 28)
    batch = Batch(audio, image, torch.arange(3), torch.ones(3), audio)
    model = Model(Config(contrastive=0.3), Shapes()).eval()
    losses = model.losses(batch, "all", generator(0))
    code, seen = model.encode(audio), model.image_encoder(image)
    logits = F.cosine_similarity(code[:, None], seen[None], dim=2) / 0.1
    own = torch.arange(3)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(losses["contrastive"], expected)
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 0.3 * expected)
    (slope,) = torch.autograd.grad(losses["contrastive"], model.head.weight)
    assert slope.abs().sum() > 0


def test_a_recording_has_one_image() -> None:
    model = Model(Config(), Shapes()).eval()
    images = model.sample(torch.rand(2, 1, 48, 48), torch.zeros(2, 3, 0))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_a_misspelt_density_is_refused() -> None:
    batch = batch_of([0])
    model = Model(Config(reconstruction="bernouli"), Shapes()).eval()
    with pytest.raises(ConfigError, match="there are: bernoulli, gaussian"):
        model.losses(batch, "all", generator(0))


def test_it_stays_small() -> None:
    """What makes the demo a minute's work: the count that the README gives."""
    assert sum(p.numel() for p in Model(Config(), Shapes()).parameters()) < 1_500_000


def test_the_deck_s_body_is_its_vae_without_the_head_of_the_spread() -> None:
    """20,950,529 parameters less one head of 512 x 64 weights and 64 biases."""
    preset = config.from_table(config.read("autoencoder"))
    model = family.from_preset(preset, Shapes())
    assert isinstance(model, Generator)
    assert sum(p.numel() for p in model.parameters()) == 20_950_529 - 513 * 64
    assert isinstance(model.encoder, DeckEncoder)
    assert isinstance(model.decoder, DeckDecoder)
    assert model.render(torch.rand(2, 1, 48, 48), torch.zeros(2, 0)).shape == (2, 1, 28, 28)


def test_the_small_body_is_built_in_the_order_that_gives_published_weights() -> None:
    """Encoder, head, decoder: a seed gives the archetype the weights it always gave."""
    torch.manual_seed(3)
    parts = nn.ModuleDict({"encoder": ConvEncoder((1, 48, 48), 32)})
    parts["head"] = nn.Linear(9 * 128, 64)
    parts["decoder"] = DenseDecoder(64, (1, 28, 28))
    torch.manual_seed(3)
    found, wanted = Model(Config(), Shapes()).state_dict(), parts.state_dict()
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_misspelt_body_is_refused() -> None:
    with pytest.raises(ConfigError, match="no body 'dekc'; there are: small, residual, deck"):
        Model(Config(body="dekc"), Shapes())


def test_what_a_room_does_to_every_moment_alike_is_nothing_to_a_normalised_encoder() -> None:
    torch.manual_seed(0)
    model = Model(Config(normalise=True), Shapes()).eval()
    audio = torch.rand(3, 1, 48, 48)
    coloured = 0.4 * audio + torch.rand(3, 1, 48, 1)
    plain = Model(Config(), Shapes()).eval()

    def moved(model: Model) -> float:
        """How far the colouring moves the codes, of how far apart they lie."""
        before, after = model.encode(audio), model.encode(coloured)
        return ((after - before).abs().max() / before.std()).item()

    assert moved(model) < 0.02
    assert moved(plain) > 0.2
    silent = model.encode(torch.zeros(1, 1, 48, 48))
    assert torch.isfinite(silent).all()
