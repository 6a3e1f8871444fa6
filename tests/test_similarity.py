"""Layers of two encoders and how alike they are, against activations taken by hooks."""

import numpy as np
import pytest
import torch
from torch import nn

from synesthete import family, metrics, similarity
from synesthete.family import Matcher, Shapes


@pytest.fixture(scope="module", params=["correspondence", "retrieval"])
def matcher(request: pytest.FixtureRequest) -> Matcher:
    torch.manual_seed(0)
    model = family.build(request.param, {"width": 8, "embedding": 6}, Shapes()).eval()
    assert isinstance(model, Matcher)
    return model


def test_layers_are_the_pooled_outputs_of_each_block_and_the_embedding(matcher: Matcher) -> None:
    image, seen = torch.rand(9, 1, 28, 28), []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
        for layer in matcher.image_encoder
        if isinstance(layer, nn.ReLU)
    ]
    with torch.inference_mode():
        embedding = matcher.embed_image(image)
    for hook in hooks:
        hook.remove()
    found = similarity.layers(matcher.image_encoder, image)
    assert [name for name, _ in found] == [*(f"block {n}" for n in range(1, 5)), "embedding"]
    assert [values.shape for _, values in found] == [(9, d) for d in (8, 16, 32, 32, 6)]
    for (_, values), maps in zip(found, seen, strict=False):
        expected = maps.flatten(2).mean(2).numpy()
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert values.min() >= 0
    np.testing.assert_allclose(found[-1][1], embedding.numpy(), atol=1e-6)


def test_layers_in_batches_are_layers_at_once(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = torch.rand(7, 1, 48, 48)
    whole = similarity.layers(matcher.audio_encoder, audio)
    monkeypatch.setattr(similarity, "BATCH", 3)
    for (_, once), (_, parts) in zip(
        whole, similarity.layers(matcher.audio_encoder, audio), strict=True
    ):
        np.testing.assert_allclose(parts, once, atol=1e-5)


def test_the_matrix_holds_the_cka_of_every_audio_layer_with_every_image_layer(
    matcher: Matcher,
) -> None:
    audio, image = torch.rand(40, 1, 48, 48), torch.rand(40, 1, 28, 28)
    found = similarity.cka_matrix(matcher, audio, image)
    assert found.shape == (5, 5)
    assert ((found >= 0) & (found <= 1)).all()
    heard = similarity.layers(matcher.audio_encoder, audio)
    seen = similarity.layers(matcher.image_encoder, image)
    assert found[1, 3] == pytest.approx(metrics.linear_cka(heard[1][1], seen[3][1]))
    assert found[1, 3] != pytest.approx(found[3, 1])


def test_an_encoder_is_like_itself() -> None:
    """Both encoders one network, both inputs one picture: 1 on the diagonal."""
    torch.manual_seed(0)
    model = family.build("correspondence", {"width": 8}, Shapes(audio=(1, 28, 28))).eval()
    assert isinstance(model, Matcher)
    model.audio_encoder = model.image_encoder
    pictures = torch.rand(30, 1, 28, 28)
    found = similarity.cka_matrix(model, pictures, pictures)
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-5)
    assert found[0, 4] < 0.999
