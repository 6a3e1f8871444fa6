"""Layers of our own, against PyTorch's; the deck's decoders at other sizes."""

import pytest
import torch
from torch import nn

from synesthete.deck import DeckDecoder, DeckGanDecoder, ProductUpconv
from synesthete.nets import doublings


@pytest.mark.parametrize(("kernel", "side"), [(3, 1), (3, 3), ((3, 5), 4), (2, 7)])
def test_the_product_upconv_is_the_transposed_convolution(
    kernel: int | tuple[int, int], side: int
) -> None:
    torch.manual_seed(0)
    theirs = nn.ConvTranspose2d(6, 4, kernel, stride=2)
    ours = ProductUpconv(6, 4, kernel, stride=2)
    ours.load_state_dict(theirs.state_dict())
    picture = torch.randn(5, 6, side, side)
    results = []
    for layer in (theirs, ours):
        x = picture.clone().requires_grad_()
        out = layer(x)
        weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
        gradients = torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])
        results.append((out, *gradients))
    for reference, found in zip(*results, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [28, 32, 40, 64, 76, 100, 128])
def test_decoders_come_out_at_any_size_from_maps_as_small_as_the_deck_s(side: int) -> None:
    shape = (3, side, side)
    assert 5 <= -(-side // 2 ** doublings(shape)) <= 9
    for decoder in (DeckDecoder(16, shape), DeckGanDecoder(16, shape)):
        assert decoder.eval()(torch.randn(2, 16)).shape == (2, *shape)
        assert sum(p.numel() for p in decoder.parameters()) < 12_000_000
