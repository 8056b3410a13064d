"""The orbit of every layer against torch's own outputs, the unrolled twin and finite differences, in float64."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.unrolled import unroll
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

import longreach.nn as ours
from longreach.errors import ArgumentError
from longreach.nn import Cell, Recurrent, cells
from longreach.nn.cell import entries
from longreach.spectrum.orbit import _stepped, orbits

pytestmark = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # torch's own forward mode

T, B, INPUTS, HIDDEN = 6, 3, 2, 4
LAYERS = {
    "rnn": partial(nn.RNN),
    "rnn relu": partial(nn.RNN, nonlinearity="relu"),
    "gru stacked, bidirectional": partial(nn.GRU, num_layers=2, bidirectional=True),
    "gru without bias": partial(nn.GRU, bias=False),
    "lstm stacked": partial(nn.LSTM, num_layers=2),
    "lstm bidirectional, projected": partial(nn.LSTM, num_layers=2, bidirectional=True, proj_size=3),
    "our lstm": partial(ours.LSTM, bidirectional=True),
    "our rnn elu": partial(ours.RNN, nonlinearity="elu"),
    "our rnn prelu": partial(ours.RNN, nonlinearity="prelu", bias=False),
}
CELLS = {
    "elman": partial(cells.Elman),
    "orthogonal": partial(cells.Orthogonal),
    "lstm": partial(cells.LSTM),
    "peephole": partial(cells.Peephole),
    "cornn": partial(cells.CoRNN),
    "lem": partial(cells.LEM),
    "lru, complex": partial(cells.LRU),
    "mingru": partial(cells.MinGRU),
    "skip": partial(cells.Skip, inner=cells.LSTM, lag=3),
    "dilated": partial(cells.Dilated, inner=cells.GRU, lag=2),
    "zoneout": partial(cells.Zoneout, inner=cells.LSTM, rate=(0.1, 0.5)),
    "variational": partial(cells.Variational, inner=cells.GRU),
    "layer norm": partial(cells.LayerNorm, inner=cells.LSTM),
}


def drawn(module):
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.6)
    return module


@pytest.mark.parametrize("kind", LAYERS)
def test_states_and_jacobians_are_those_of_the_layer_written_out(kind):
    module = drawn(LAYERS[kind](INPUTS, HIDDEN))
    x = torch.randn(T, B, INPUTS).double()
    places, _ = unroll(module, x)
    found = list(orbits(module, x))
    assert len(found) == len(places)
    for orbit, place in zip(found, places, strict=True):
        states = torch.stack([torch.cat(state, -1) for state in place.states]).detach()
        torch.testing.assert_close(orbit.states[1:], states, rtol=0, atol=1e-14)
        widths = [part.shape[1] for part in place.states[0]]
        for t in range(T):

            def step(row, t=t, place=place, widths=widths):
                return torch.cat(place.step(place.inputs[t].detach(), row.split(widths, -1)), -1).sum(0)

            expected = torch.autograd.functional.jacobian(step, orbit.states[t]).movedim(1, 0)
            torch.testing.assert_close(orbit.jacobian(t), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
def test_every_cell_goes_the_layers_way_and_has_the_jacobian_of_finite_differences(kind):
    build = CELLS[kind]
    module = Recurrent(build.func, INPUTS, HIDDEN, 2, bidirectional=True, **build.keywords).double()
    x, small = torch.randn(T, B, INPUTS).double(), 1e-5
    *_, orbit = orbits(module, x)
    _, ended = module.eval()(x)
    last = torch.cat([_real(entry[-1].detach()) for entry in entries(ended)], dim=1)
    torch.testing.assert_close(orbit.states[-1], last, rtol=0, atol=1e-13)
    v = torch.randn(B, orbit.states.shape[2], 1).double()
    around = [replace(orbit, states=orbit.states + sign * small * v[..., 0]) for sign in (1, -1)]
    after = [_stepped(o.cell, o.advance, o.inputs[2], o.states[2]) for o in around]
    expected = (after[0] - after[1]) / (2 * small)
    torch.testing.assert_close(orbit.push(2, v)[..., 0], expected.detach(), rtol=0, atol=1e-8)


def _real(entry):
    return (torch.view_as_real(entry) if entry.is_complex() else entry).flatten(1)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_cell_is_a_layer_of_one(kind):
    layer, cell = drawn(getattr(nn, kind)(INPUTS, HIDDEN)), getattr(nn, f"{kind}Cell")(INPUTS, HIDDEN).double()
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})
    x = torch.randn(T, B, INPUTS).double()
    assert torch.equal(next(orbits(layer, x)).states, next(orbits(cell, x)).states)


def test_layouts_and_a_state_to_start_from():
    lstm = drawn(nn.LSTM(INPUTS, HIDDEN, 2, bidirectional=True, batch_first=True))
    x, hx = torch.randn(B, T, INPUTS).double(), tuple(torch.randn(4, B, HIDDEN).double() for _ in "hc")
    *_, orbit = orbits(lstm, x, hx)
    _, (h, c) = lstm(x, hx)
    torch.testing.assert_close(orbit.states[-1], torch.cat((h[-1], c[-1]), 1).detach(), rtol=0, atol=1e-14)
    *_, single = orbits(lstm, x[1], tuple(part[:, 1] for part in hx))
    torch.testing.assert_close(single.states[:, 0], orbit.states[:, 1], rtol=0, atol=1e-14)
    cell = nn.GRUCell(INPUTS, HIDDEN)
    (orbit,) = orbits(cell, torch.zeros(2, INPUTS), torch.ones(HIDDEN))
    assert torch.equal(orbit.states[0], torch.ones(1, HIDDEN).double())


def test_a_residual_stack():
    module = Recurrent(cells.GRU, HIDDEN, HIDDEN, 3, residual=True).double()
    x = torch.randn(T, B, HIDDEN).double()
    *_, orbit = orbits(module, x)
    torch.testing.assert_close(orbit.states[-1], module(x)[1][-1].detach(), rtol=0, atol=1e-14)


def test_a_weight_that_is_computed_of_others():
    rnn = parametrizations.orthogonal(nn.RNN(INPUTS, HIDDEN), "weight_hh_l0").double()
    x = torch.randn(T, B, INPUTS).double()
    torch.testing.assert_close(next(orbits(rnn, x)).states[-1], rnn(x)[1][0].detach(), rtol=0, atol=1e-14)


def test_nothing_is_changed_and_no_global_number_is_drawn():
    module = Recurrent(cells.Orthogonal, INPUTS, HIDDEN, dropout=0.5).train()
    lstm = nn.LSTM(INPUTS, HIDDEN)
    before, kept = torch.get_rng_state(), {name: value.clone() for name, value in module.state_dict().items()}
    for one in (module, lstm):
        list(orbits(one, torch.zeros(T, INPUTS)))
    assert torch.equal(before, torch.get_rng_state())
    assert module.training
    assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in module.parameters())


class Doubling(Cell):
    def forward(self, x, state):
        return 2 * state + x


@pytest.mark.parametrize(
    ("module", "inputs", "state", "message"),
    [
        (
            nn.Linear(2, 2),
            torch.zeros(3, 2),
            None,
            "expected an RNN, GRU, LSTM or cell.*got Linear; pass the recurrent",
        ),
        (nn.GRU(2, 3), torch.zeros(3, 5), None, r"and 2 features, got \(3, 5\)"),
        (nn.GRU(2, 3), torch.zeros(2), None, r"\(time, row, feature\) or \(time, feature\)"),
        (nn.GRU(2, 3, batch_first=True), torch.zeros(0, 4, 2), None, r"\(row, time, feature\)"),
        (nn.GRU(2, 3), torch.zeros(3, 2, dtype=torch.int64), None, "real numbers.*int64"),
        (nn.GRU(2, 3), pack_sequence([torch.zeros(3, 2)]), None, "got a PackedSequence; all sequences have the same"),
        (nn.GRU(2, 3), torch.zeros(3, 1, 2), torch.zeros(1, 3), r"state: expected \[\(1, 1, 3\)\], got \[\(1, 3\)\]"),
        (nn.LSTM(2, 3), torch.zeros(3, 2), torch.zeros(1, 3), r"expected \[\(1, 3\), \(1, 3\)\], got"),
        (Doubling(1), torch.ones(1100, 1), None, "beyond it in layer 0 after step 1023"),
        (nn.RNN(2, 3), torch.full((3, 2), torch.nan), None, "after step 0"),
        (Recurrent(cells.BatchNorm, 2, 3, inner=cells.LSTM, max_length=3), torch.zeros(3, 2), None, "got BatchNorm"),
    ],
)
def test_what_does_not_fit(module, inputs, state, message):
    with pytest.raises(ArgumentError, match=message):
        list(orbits(module, inputs, state))
