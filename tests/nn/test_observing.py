"""observe(): the norm of ∂L/∂s_t of every state, against gradients retained in a layer written out step by step."""

import pytest
import torch
from tests.unrolled import unroll
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import longreach.nn as ours
from longreach.errors import ArgumentError

T, B, INPUTS, HIDDEN = 7, 3, 2, 4
LAYERS = {
    "rnn": ("RNN", {}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "lstm stacked, bidirectional": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "gru stacked": ("GRU", {"num_layers": 3}),
    "lstm projected": ("LSTM", {"proj_size": 2}),
}


def loss_of(output):
    return (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum()


@pytest.mark.parametrize("name", LAYERS)
def test_norms_are_those_of_retained_gradients(name):
    kind, options = LAYERS[name]
    layer = getattr(ours, kind)(INPUTS, HIDDEN, **options).double()
    x = torch.randn(T, B, INPUTS).double()
    with ours.observe(layer) as seen:
        loss = loss_of(layer(x)[0])
    loss.backward()

    places, output = unroll(layer, x)
    for place in places:
        for state in place.states:
            for entry in state:
                entry.retain_grad()
    loss_of(output).backward()
    for number, place in enumerate(places):
        reverse = layer.bidirectional and number % 2 == 1
        for entry, name in enumerate("hc"[: len(place.states[0])]):
            expected = torch.stack([state[entry].grad.norm(dim=1) for state in place.states])
            torch.testing.assert_close(
                seen[kind].rows[name][number], expected.flip(0) if reverse else expected, rtol=1e-10, atol=0
            )


def test_of_packed_sequences_in_the_callers_order():
    layer = ours.GRU(INPUTS, HIDDEN).double()
    x, lengths = torch.randn(T, B, INPUTS).double(), [2, 7, 4]
    with ours.observe() as seen:
        output, _ = layer(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))
    output.data.square().sum().backward()
    norms = seen["GRU 1"].rows["h"]
    assert norms.shape == (1, T, B)
    for b, length in enumerate(lengths):
        with ours.observe() as alone:
            output, _ = layer(x[:length, b])
        output.square().sum().backward()
        torch.testing.assert_close(norms[0, :length, b], alone["GRU 1"].rows["h"][0, :, 0])
        assert not norms[0, length:, b].any()


def test_steps_take_the_batch_together_and_do_not_underflow():
    layer = ours.RNN(INPUTS, HIDDEN)
    with ours.observe(layer) as seen:
        output, _ = layer(torch.randn(T, B, INPUTS))
    (output.sum() * 1e-30).backward()
    norms = seen["RNN"]
    assert norms.steps["h"].dtype == torch.float64
    torch.testing.assert_close(norms.steps["h"], norms.rows["h"].double().square().sum(2).sqrt())
    assert (norms.steps["h"] > 1e-32).all()


def test_gradients_are_what_they_would_have_been():
    layer = ours.LSTM(INPUTS, HIDDEN, 2, bidirectional=True, clip=0.1, cut=3)
    x, gradients = torch.randn(T, B, INPUTS), []
    for observed in (False, True):
        layer.zero_grad()
        if observed:
            with ours.observe() as seen:
                output, _ = layer(x)
            assert len(seen) == 1
        else:
            output, _ = layer(x)
        output.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.high = ours.GRU(INPUTS, HIDDEN), ours.RNN(HIDDEN, HIDDEN, 2)

    def forward(self, x):
        return self.high(self.low(x)[0])[0]


def test_layers_have_their_names_in_the_model():
    model, stranger, x = Two(), ours.RNN(INPUTS, HIDDEN), torch.randn(T, B, INPUTS)
    with ours.observe(model) as seen:
        loss = model(x).sum() + stranger(x)[0].sum() + model(x).sum()
    loss.backward()
    assert list(seen) == ["low", "high", "low (2)", "high (2)"]
    assert seen["high"].rows["h"].shape == (2, T, B)
    torch.testing.assert_close(seen["low"].rows, seen["low (2)"].rows)


def test_without_a_model_they_are_numbered():
    model, x = Two(), torch.randn(T, B, INPUTS)
    with ours.observe() as seen, ours.observe(model.low) as inner:
        model(x).sum().backward()
        model.low(x)
    assert list(seen) == ["GRU 1", "RNN 1", "GRU 1 (2)"]
    assert list(inner) == ["GRU", "GRU (2)"]
    torch.testing.assert_close(inner["GRU"].rows, seen["GRU 1"].rows)


def test_nothing_is_seen_outside_and_without_gradients():
    layer, x = ours.GRU(INPUTS, HIDDEN), torch.randn(T, B, INPUTS)
    with ours.observe() as seen, torch.no_grad():
        layer(x)
    layer(x)
    assert len(seen) == 0
    assert str(seen) == "no call of a longreach layer was observed"


def test_a_layer_that_the_loss_does_not_use_has_zeros():
    model, x = Two(), torch.randn(T, B, INPUTS)
    with ours.observe(model) as seen:
        model.low(x)[0].sum().backward()
        model.high(torch.randn(T, B, HIDDEN))
    with pytest.raises(ArgumentError) as error:
        seen["high"]
    assert str(error.value) == (
        "seen: expected a backward pass before it is read, got none; call loss.backward() first"
    )
    with pytest.raises(KeyError, match="expected one of low, high"):
        seen["middle"]


def test_recomputed_segments_are_seen_once():
    layer, x = ours.LSTM(INPUTS, HIDDEN, bidirectional=True), torch.randn(T, B, INPUTS)
    found = []
    for every in (0, 2):
        layer.checkpoint_every = every
        with ours.observe() as seen:
            layer(x)[0].square().sum().backward()
        found.append(seen["LSTM 1"].rows)
    torch.testing.assert_close(*found)


def test_compiled_code_is_observed_where_it_may_be_left():
    layer, x = ours.GRU(INPUTS, HIDDEN), torch.randn(T, B, INPUTS)
    compiled = torch.compile(layer, backend="eager")
    compiled(x)  # compiled before anybody observes
    with ours.observe(layer) as seen:
        compiled(x)[0].square().sum().backward()
    with ours.observe(layer) as plainly:
        layer(x)[0].square().sum().backward()
    torch.testing.assert_close(seen["GRU"].rows, plainly["GRU"].rows)


def test_printed():
    layer = ours.LSTM(1, 1, 1, bidirectional=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    # with zero weights f = o = i = 1/2 and g = 0: c fades by halves, and nothing reaches h but the loss
    with ours.observe(layer) as seen:
        output, (_, c) = layer(torch.zeros(6, 1, 1).double())
    (output[-1, 0, 0] + 2.0**-3 * c[1, 0, 0]).backward()
    assert str(seen).splitlines() == [
        "‖∂L/∂s_t‖, from the first step on the left to the last on the right, logarithmic",
        "LSTM h 0                  0.0e+00      █ 1.0e+00",
        "LSTM c 0                  1.6e-02 ▁▂▄▅▇█ 5.0e-01",
        "LSTM h 1                  0.0e+00        0.0e+00",
        "LSTM c 1                  1.2e-01 █▇▅▄▂▁ 3.9e-03",
    ]
