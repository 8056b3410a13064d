"""What recurrent layers with a norm put into them have in common, whichever norm it is."""

import torch
from torch import nn

from longreach.remedies import undo

PLACE = {"dtype": torch.float64}


def check_recurrent(kind, verb, naive, batch):
    """Values and gradients are those of the loop, twice is once, and undo is exact."""
    layer, x = getattr(nn, kind)(3, 5, **PLACE), torch.randn(6, batch, 3, **PLACE, requires_grad=True)
    expected, original, before = naive(layer, x), layer(x)[0], list(layer.state_dict())
    verb(verb(layer))
    output, mix = layer(x)[0], torch.randn(6, batch, 5, **PLACE)
    torch.testing.assert_close(output, expected)
    own, truth = (torch.autograd.grad((mix * out).sum(), x)[0] for out in (output, expected))
    torch.testing.assert_close(own, truth)
    undo(layer)
    assert type(layer) is getattr(nn, kind)
    assert list(layer.state_dict()) == before
    assert torch.equal(layer(x)[0], original)
