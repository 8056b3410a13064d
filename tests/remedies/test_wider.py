"""A recurrence computed in a wider type than its surroundings."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

import longreach.nn as ours
from longreach import remedies
from longreach.errors import NotApplicable
from longreach.remedies.wider import wider


def adder(dtype):
    """hₜ = hₜ₋₁ + xₜ, for what is above zero."""
    layer = nn.RNN(1, 1, nonlinearity="relu", bias=False)
    for own in layer.parameters():
        nn.init.ones_(own)
    return layer.to(dtype)


@pytest.mark.parametrize(("dtype", "small"), [(torch.bfloat16, 2.0**-9), (torch.float32, 2.0**-25)])
def test_small_numbers_are_added_that_the_type_itself_loses(dtype, small):
    """1, and then as many times a small number as make up another 1, or a 32nd of it."""
    steps = 512
    x = torch.full((steps + 1, 1, 1), small, dtype=dtype)
    x[0] = 1
    layer = adder(dtype)
    assert layer(x)[0][-1].item() == 1.0
    output, state = wider(layer)(x)
    assert output[-1].item() == state.item() == torch.tensor(1 + steps * small).to(dtype).item() > 1.0
    assert output.dtype == state.dtype == dtype


def test_under_autocast_on_the_cpu():
    x = torch.full((513, 1, 1), 2.0**-9)
    x[0] = 1
    layer = adder(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x)[0][-1].item() == 1.0
        output, _ = wider(layer)(x)
    assert output[-1].item() == 2.0
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(3, 4, num_layers=2, bidirectional=True),
        nn.GRU(3, 4, batch_first=True, bias=False),
        ours.LSTM(3, 4),
        ours.Recurrent(ours.cells.MinGRU, 3, 4),
    ],
)
def test_values_and_gradients_are_those_of_a_double_twin_rounded_once(layer):
    twin = copy.deepcopy(layer).double()
    x = torch.randn(7, 2, 3)
    output, state = wider(layer)(x)
    theirs, ended = twin(x.double())
    assert_close(output, theirs.float(), rtol=0, atol=0)
    assert_close(state, ended.float() if isinstance(ended, torch.Tensor) else tuple(part.float() for part in ended))
    again, _ = layer(x, state)
    assert again.dtype == torch.float32
    output.sum().backward()
    theirs.sum().backward()
    for own, other in zip(layer.parameters(), twin.parameters(), strict=True):
        assert_close(own.grad, other.grad.float(), rtol=1e-6, atol=0)


def test_packed_sequences_training_copies_and_undo():
    layer = nn.LSTM(3, 4)
    names = dict(layer.named_parameters())
    packed = pack_sequence([torch.randn(5, 3), torch.randn(2, 3)])
    before = layer(packed)[0].data
    wider(wider(layer))
    assert remedies.applied(layer) == ("wider",)
    assert_close(layer(packed)[0].data, before)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(packed)[0].data.sum().backward()
    optimizer.step()
    assert copy.deepcopy(layer)(packed)[0].data.equal(layer(packed)[0].data)
    assert not layer(packed)[0].data.equal(before)
    remedies.undo(layer)
    assert "forward" not in vars(layer)
    assert all(own is names[name] and own.dtype == torch.float32 for name, own in layer.named_parameters())
    layer(packed)


def test_with_truncated_bptt_in_any_order_and_twice():
    x = torch.randn(40, 2, 3)
    for first, second in ((wider, remedies.truncated_bptt), (remedies.truncated_bptt, wider)):
        layer = nn.GRU(3, 4)
        before = layer(x)[0]
        for verb in (first, second, first, second):
            verb(layer)
        assert len(remedies.applied(layer)) == 2
        assert_close(layer(x)[0], before)
        remedies.undo(layer)
        assert "forward" not in vars(layer)
        assert layer(x)[0].equal(before)


def test_where_there_is_nothing_to_widen():
    with pytest.raises(NotApplicable, match="wider: expected a recurrent layer over sequences of a type below float64"):
        wider(nn.GRUCell(2, 3))
    with pytest.raises(NotApplicable, match="got GRU with all of them in float64"):
        wider(nn.GRU(2, 3).double())
