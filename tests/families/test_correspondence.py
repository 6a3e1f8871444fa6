"""Audio-visual correspondence: its size, its loss by hand, its head on every pair."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from synesthete.data.batches import generator
from synesthete.families.correspondence import Config, Model
from synesthete.family import Shapes
from tiny import batch_of

SMALL = Config(embedding=5, hidden=7, width=8)


def test_its_parameters_can_be_counted_by_hand() -> None:
    """Convolutions 1-32-64-128-128 (5x5 or 3x3 first) with their norms, 1,152 -> 128, the head."""
    deeper = 9 * (32 * 64 + 64 * 128 + 128 * 128) + 2 * (32 + 64 + 128 + 128)
    audio, image = 25 * 32 + deeper, 9 * 32 + deeper
    embedding, head = 9 * 128 * 128 + 128, 256 * 128 + 128 + 128 + 1
    total = sum(p.numel() for p in Model(Config(), Shapes()).parameters())
    assert total == audio + image + 2 * embedding + head == 809_921


@torch.inference_mode()
def test_its_loss_is_the_cross_entropy_of_edges_and_of_permuted_pairs_off_them() -> None:
    """Pair after pair, in plain Python; the permutation is the one its generator gives."""
    torch.manual_seed(0)
    model = Model(SMALL, Shapes()).eval()
    batch = batch_of([0, 0, 1, 2, 1, 0], [1.0, 0.5, 2.0, 1.0, 1.0, 0.5])
    losses = model.losses(batch, "all", generator(3))
    heard, seen = model.embed_audio(batch.audio), model.embed_image(batch.image)
    order = torch.randperm(6, generator=generator(3)).tolist()
    sums = {1: [0.0, 0.0], 0: [0.0, 0.0]}
    for image, other in enumerate(order):
        row, weight = int(batch.audio_of[image]), float(batch.weight[image])
        for wanted, shown in ((1, image), (0, other)):
            if wanted == 0 and int(batch.audio_of[other]) == row:
                continue  # an edge is no negative
            logit = model.head(torch.cat([heard[row], seen[shown]]))[0]
            target = torch.tensor(float(wanted))
            sums[wanted][0] += weight * float(F.binary_cross_entropy_with_logits(logit, target))
            sums[wanted][1] += weight
    matching, mismatched = sums[1][0] / sums[1][1], sums[0][0] / sums[0][1]
    assert 0 < sums[0][1] < sums[1][1]
    assert float(losses["matching"]) == pytest.approx(matching, rel=1e-5)
    assert float(losses["mismatched"]) == pytest.approx(mismatched, rel=1e-5)
    assert float(losses["loss"]) == pytest.approx((matching + mismatched) / 2, rel=1e-5)


def test_the_negatives_are_drawn_anew_with_another_generator() -> None:
    model, batch = Model(SMALL, Shapes()).eval(), batch_of(list(range(6)))
    first, second = (model.losses(batch, "all", generator(seed)) for seed in (0, 1))
    assert torch.equal(first["matching"], second["matching"])
    assert not torch.equal(first["mismatched"], second["mismatched"])


def test_a_batch_of_one_recording_has_no_negatives_and_still_a_loss() -> None:
    losses = Model(SMALL, Shapes()).eval().losses(batch_of([0, 0, 0]), "all", generator(0))
    assert losses["mismatched"] == 0
    assert losses["loss"].isfinite()


def test_matching_all_pairs_is_the_head_on_each() -> None:
    torch.manual_seed(0)
    model = Model(SMALL, Shapes()).eval()
    audio, image = torch.randn(3, 5), torch.randn(4, 5)
    each = [[model.head(torch.cat([a, i])).squeeze() for i in image] for a in audio]
    expected = torch.stack([torch.stack(row) for row in each])
    torch.testing.assert_close(model.match(audio, image), expected)
