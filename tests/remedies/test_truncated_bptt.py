"""Truncated backpropagation through time, against a naive loop that goes back through k2 steps for every block."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

import longreach.nn as ours
from longreach import remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.truncated_bptt import truncated_bptt

B, INPUTS, HIDDEN = 3, 2, 4
LAYERS = {
    "rnn": lambda: nn.RNN(INPUTS, HIDDEN),
    "gru": lambda: nn.GRU(INPUTS, HIDDEN, num_layers=2),
    "lstm": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=2, bias=False),
    "lstm projected": lambda: nn.LSTM(INPUTS, HIDDEN, proj_size=3),
    "ours": lambda: ours.LSTM(INPUTS, HIDDEN, num_layers=2),
    "ours of another activation": lambda: ours.RNN(INPUTS, HIDDEN, nonlinearity="prelu"),
}
# steps, k1, k2: shorter than k2, just as long, one more, blocks that do not come out even, k1 = k2, 1
CUTS = [(7, 2, 9), (9, 2, 9), (10, 2, 9), (23, 4, 10), (24, 3, 12), (20, 5, 5), (6, 1, 1), (13, 1, 4)]


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def entries(state):
    return state if isinstance(state, tuple) else (state,)


def gradients(layer, *more):
    found = [own.grad for own in [*layer.parameters(), *more]]
    for own in [*layer.parameters(), *more]:
        own.grad = None
    return found


def weighed(output, state, weights):
    """A loss that looks at every output, and at the state after the last."""
    return (output * weights).sum() + sum(entry.square().sum() for entry in entries(state))


def naive(layer, x, weights, *, k1, k2, new=0):
    """For each block of k1 steps, ending at e: run steps e - k2 to e from the state there, and send its loss back.

    Of the steps before `new` only the state is wanted. A short first window is given to every block within it.
    """
    outputs = []
    for begin in range(new, len(x), k1):
        end = min(begin + k1, len(x))
        place, start = max(end - k2, 0), None
        if place:
            with torch.no_grad():
                _, start = layer(x[:place])
        output, state = layer(x[place:end], start)
        loss = (output[begin - end :] * weights[begin - new : end - new]).sum()
        if end == len(x):
            loss = loss + sum(entry.square().sum() for entry in entries(state))
        loss.backward()
        outputs.append(output[begin - end :].detach())
    return torch.cat(outputs), state


@pytest.mark.parametrize(("steps", "k1", "k2"), CUTS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_call_has_the_gradient_of_the_naive_loop(kind, steps, k1, k2):
    layer = LAYERS[kind]().double()
    x = numbers(steps, B, INPUTS).requires_grad_()
    weights = numbers(steps, B, layer.proj_size or HIDDEN)
    theirs, ended = naive(layer, x, weights, k1=k1, k2=k2)
    expected = gradients(layer, x)

    output, state = truncated_bptt(layer, k1=k1, k2=k2)(x)
    weighed(output, state, weights).backward()

    assert_close(output, theirs)
    assert_close(state, ended)
    for found, wanted in zip(gradients(layer, x), expected, strict=True):
        assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("k1", "k2"), [(5, 20), (5, 13), (2, 9), (8, 8), (4, 40), (1, 3)])
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_a_stream_has_the_gradient_of_the_naive_loop(kind, k1, k2):
    """Calls of five steps: each goes back through what earlier calls were given."""
    layer = LAYERS[kind]().double()
    twin = copy.deepcopy(layer)
    truncated_bptt(layer, k1=k1, k2=k2)
    x, state = numbers(40, B, INPUTS), None
    weights = numbers(40, B, HIDDEN)
    for begin in range(0, 40, 5):
        here = slice(begin, begin + 5)
        output, state = layer(x[here], state)
        weighed(output, state, weights[here]).backward()
        theirs, ended = naive(twin, x[: begin + 5], weights[here], k1=min(k1, 5), k2=k2, new=begin)
        assert_close(output, theirs)
        assert_close(state, ended)
        for found, wanted in zip(gradients(layer), gradients(twin), strict=True):
            assert_close(found, wanted, rtol=1e-9, atol=1e-12)
        state = state.detach() if kind != "lstm" else tuple(entry.detach() for entry in state)


def test_an_input_beyond_the_script_s_window_is_heard():
    """Five steps a call: what step 0 does to step 17 comes into the gradient, with the defaults."""
    layer = nn.RNN(1, 1, bias=False).double()
    state = None
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 0.5)
    truncated_bptt(layer)
    found = []
    for begin in range(0, 20, 5):
        x = torch.zeros(5, 1, 1, dtype=torch.float64)
        x[0] = float(begin == 0)
        output, state = layer(x, state)
        layer.zero_grad()
        output[-1].sum().backward()
        state = state.detach()
        found.append(layer.weight_ih_l0.grad.item())
    assert all(gradient > 0 for gradient in found)  # by the input of step 0 alone: all others are zero


def test_steps_beyond_k2_are_not_heard():
    layer = truncated_bptt(nn.GRU(1, 3).double(), k1=2, k2=6)
    x = numbers(20, 1, 1).requires_grad_()
    layer(x)[0][-1].sum().backward()
    assert (x.grad[:14] == 0).all()
    assert (x.grad[14:] != 0).all()


@pytest.mark.parametrize("batch_first", [True, False])
def test_layouts(batch_first):
    layer = nn.LSTM(INPUTS, HIDDEN, batch_first=batch_first).double()
    x, lone = numbers(B, 20, INPUTS), numbers(20, INPUTS)
    start = (numbers(1, B, HIDDEN), numbers(1, B, HIDDEN))
    x = x if batch_first else x.transpose(0, 1)
    expected = layer(x, start), layer(lone), layer(lone, tuple(entry[:, 0] for entry in start))
    truncated_bptt(layer, k1=2, k2=7)
    found = layer(x, start), layer(lone), layer(lone, tuple(entry[:, 0] for entry in start))
    assert_close(found, expected)


def test_a_state_with_a_graph_keeps_it():
    """Nothing of a stream: the gradient goes into the call before by itself."""
    layer = truncated_bptt(nn.GRU(INPUTS, HIDDEN), k1=2, k2=8)
    first = torch.randn(4, B, INPUTS).requires_grad_()
    _, state = layer(first)
    layer(torch.randn(3, B, INPUTS), state)[0].sum().backward()
    assert (first.grad != 0).all()


def test_a_state_that_the_script_changed_starts_a_new_stream():
    layer = truncated_bptt(nn.RNN(INPUTS, HIDDEN).double(), k1=4, k2=16)
    _, state = layer(numbers(4, B, INPUTS))
    state = state.detach()
    state[:, 1] = 0  # in place: the same memory
    x = numbers(4, B, INPUTS)
    output, _ = layer(x, state)
    assert_close(output, remedies.undo(layer)(x, state)[0], rtol=0, atol=0)


def test_evaluation_is_left_alone_and_does_not_disturb_a_stream():
    layer = nn.GRU(INPUTS, HIDDEN).double()
    alone = copy.deepcopy(layer)
    both = [truncated_bptt(alone, k1=3, k2=9), truncated_bptt(layer, k1=3, k2=9)]
    x, state = numbers(12, B, INPUTS), [None, None]
    for begin in range(0, 12, 3):
        for place, net in enumerate(both):
            output, h = net(x[begin : begin + 3], state[place])
            output.sum().backward()
            state[place] = h.detach()
        with torch.no_grad():
            assert_close(layer(x)[0], type(layer).forward(layer, x)[0], rtol=0, atol=0)
    assert gradients(layer)[0].equal(gradients(alone)[0])


def test_twice_is_once_undo_and_copies():
    layer = nn.GRU(INPUTS, HIDDEN)
    names = dict(layer.named_parameters())
    assert truncated_bptt(truncated_bptt(layer), k1=2, k2=6) is layer
    assert remedies.applied(layer) == ("truncated-bptt",)
    assert (layer.forward.k1, layer.forward.k2) == (2, 6)
    x = torch.randn(30, B, INPUTS)
    expected = layer(x)[0]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.forward._layer is twin
        assert twin(x)[0].equal(expected)
    remedies.undo(layer)
    assert "forward" not in vars(layer)
    assert dict(layer.named_parameters()) == names


def test_stacked_layers_with_dropout_are_named_as_what_does_not_fit():
    for layer in (nn.GRU(2, 3, num_layers=2, dropout=0.1), nn.LSTM(2, 3, bidirectional=True), nn.GRUCell(2, 3)):
        with pytest.raises(NotApplicable, match=r"truncated-bptt: expected a torch RNN, GRU or LSTM of one direction"):
            truncated_bptt(layer)
    packed = pack_sequence([torch.randn(9, 2), torch.randn(4, 2)])
    layer = truncated_bptt(nn.GRU(2, 3), k2=8)
    with pytest.raises(NotApplicable, match="expected a tensor without resets, got packed sequences of up to 9 steps"):
        layer(packed)
    assert_close(truncated_bptt(layer, k2=9)(packed)[0].data, remedies.undo(layer)(packed)[0].data)


def test_bad_numbers_of_steps():
    with pytest.raises(ArgumentError, match="k1: expected no more steps than k2, got k1=4 and k2=2"):
        truncated_bptt(nn.GRU(2, 3), k1=4, k2=2)
    with pytest.raises(ArgumentError, match="k2: expected a number of steps, 1 or more, got 0"):
        truncated_bptt(nn.GRU(2, 3), k2=0)
