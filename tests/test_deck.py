"""Layers of our own, against PyTorch's."""

import pytest
import torch
from torch import nn

from synesthete.deck import ProductUpconv


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
