"""Cross-modal retrieval: unit vectors, a logit of their distance, both losses by hand."""

import math

import pytest
import torch

from synesthete.data.batches import Batch, generator
from synesthete.families.retrieval import Config, Model, logistic_loss
from synesthete.family import Shapes
from synesthete.losses import contrastive_loss

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [-0.5, 1.0, 3.0]])
AUDIO_OF = torch.tensor([0, 0, 1])
WEIGHT = torch.tensor([1.0, 2.0, 0.5])
EDGES = {(0, 0), (0, 1), (1, 2)}


def test_its_parameters_can_be_counted_by_hand() -> None:
    """As the correspondence family's encoders, and a head of two numbers."""
    deeper = 9 * (32 * 64 + 64 * 128 + 128 * 128) + 2 * (32 + 64 + 128 + 128)
    encoders = 25 * 32 + 9 * 32 + 2 * deeper + 2 * (9 * 128 * 128 + 128)
    total = sum(p.numel() for p in Model(Config(), Shapes()).parameters())
    assert total == encoders + 2 == 776_898


def test_embeddings_have_norm_1() -> None:
    model = Model(Config(), Shapes()).eval()
    audio = model.embed_audio(torch.rand(5, 1, 48, 48))
    image = model.embed_image(torch.rand(6, 1, 28, 28))
    for embedding in (audio, image):
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(len(embedding)))


def test_a_logit_falls_with_the_distance() -> None:
    """logit = bias - scale * |a - i|, the scale positive whatever its parameter is."""
    model = Model(Config(), Shapes())
    model.head.bias.data.fill_(1.5)
    model.head.log_scale.data.fill_(-2.0)
    audio, image = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [-0.6, 0.8]])
    distances = [[0.0, math.dist((1, 0), (-0.6, 0.8))], [2**0.5, math.dist((0, 1), (-0.6, 0.8))]]
    expected = 1.5 - math.exp(-2.0) * torch.tensor(distances)
    torch.testing.assert_close(model.match(audio, image), expected)


def test_the_logistic_loss_weighs_edges_and_other_pairs_alike() -> None:
    sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
    for row in range(2):
        for image in range(3):
            edge, weight = (row, image) in EDGES, float(WEIGHT[image])
            logit = float(LOGITS[row, image])
            probability = 1 / (1 + math.exp(-logit))
            sums[edge][0] -= weight * math.log(probability if edge else 1 - probability)
            sums[edge][1] += weight
    expected = sum(total / weight for total, weight in sums.values()) / 2
    assert float(logistic_loss(LOGITS, AUDIO_OF, WEIGHT)) == pytest.approx(expected)


def test_the_contrastive_loss_lets_a_recording_s_images_not_compete() -> None:
    expected = 0.0
    for image, row in enumerate(AUDIO_OF.tolist()):
        edge = math.exp(float(LOGITS[row, image]))
        audios = sum(math.exp(float(LOGITS[other, image])) for other in range(2))
        rivals = [i for i in range(3) if i == image or (row, i) not in EDGES]
        images = sum(math.exp(float(LOGITS[row, i])) for i in rivals)
        both = -math.log(edge / audios) - math.log(edge / images)
        expected += float(WEIGHT[image]) * both / 2 / 3
    assert float(contrastive_loss(LOGITS, AUDIO_OF, WEIGHT)) == pytest.approx(expected)


def test_its_loss_is_the_logistic_one_plus_the_weighted_contrastive_one() -> None:
    audio, image = torch.rand(2, 1, 48, 48), torch.rand(3, 1, 28, 28)
    batch = Batch(audio, image, AUDIO_OF, WEIGHT, audio)
    plain, both = (Model(Config(contrastive=share), Shapes()).eval() for share in (0.0, 0.3))
    losses = both.losses(batch, "all", generator(0))
    logits = both.score(batch.audio, batch.image)
    logistic, contrastive = (
        loss(logits, AUDIO_OF, WEIGHT) for loss in (logistic_loss, contrastive_loss)
    )
    torch.testing.assert_close(losses["loss"], logistic + 0.3 * contrastive)
    plain.load_state_dict(both.state_dict())
    torch.testing.assert_close(plain.losses(batch, "all", generator(0))["loss"], logistic)


def test_the_gradient_is_finite_where_vectors_meet() -> None:
    """A distance of 0 has no slope of its own; training must not stumble over it."""
    model = Model(Config(), Shapes())
    vector = torch.tensor([[0.6, 0.8]], requires_grad=True)
    logit = model.match(vector, vector.detach().clone())
    logit.sum().backward()  # type: ignore[no-untyped-call]
    assert vector.grad is not None
    assert vector.grad.isfinite().all()
