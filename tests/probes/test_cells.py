"""gain and signal of networks of cells: against theory, torch's layers, and a cell's own step in a plain loop."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from longreach.nn import Recurrent, cells
from longreach.nn.cell import entries, rebuilt
from longreach.probes import fused
from longreach.probes.cells import as_reals, kind_of
from longreach.watching import Watch

T, B, INPUTS, HIDDEN = 23, 5, 3, 4
KINDS = {
    "elman": (cells.Elman, {}),
    "lstm": (cells.LSTM, {}),
    "leaky": (cells.Leaky, {"a": 0.3}),
    "orthogonal": (cells.Orthogonal, {}),
    "indrnn": (cells.IndRNN, {"activation": "tanh"}),
    "lru": (cells.LRU, {}),
    "mingru": (cells.MinGRU, {}),
    "cornn": (cells.CoRNN, {}),
    "skip": (cells.Skip, {"inner": cells.LSTM, "lag": 5}),
    "dilated": (cells.Dilated, {"inner": cells.GRU, "lag": 4}),
    "layernorm": (cells.LayerNorm, {"inner": cells.GRU}),
}


@pytest.fixture
def _known_direction(monkeypatch):
    """v is drawn at random; here it is a row of ones, so that the twin can use the same."""
    monkeypatch.setattr(fused, "sphere", lambda like, _: tuple(torch.ones_like(part) for part in like))


def watched(module, forward):
    """Curves per (layer, direction) of one forward and backward pass of `forward()`, a loss."""
    with Watch(module) as watch:
        loss = forward()
        loss.backward()
        watch.step(loss)
    assert not watch.store.notes()
    return {(key.index, key.direction): curves[0] for key, curves in watch.store.curves().items()}


def build(kind, **more):
    cell, options = KINDS[kind]
    return Recurrent(cell, INPUTS, HIDDEN, **options, **more).double()


def norms_of(cell, inputs, lags, seed_of):
    """ln of the norm of Jᵀ seed per row by lag, over the norm at lag 0, by the cell's step alone."""
    with torch.no_grad():
        rows = cell.project(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        states = [cell.start(inputs.shape[1], like=inputs)]
        for row in rows:
            states.append(cell(row, states[-1]))
    seed = seed_of(states[-1])
    found = []
    for lag in lags:
        leaves = tuple(part.detach().clone().requires_grad_() for part in as_reals(states[-1 - lag]))
        parts = [
            torch.view_as_complex(leaf) if like.is_complex() else leaf
            for leaf, like in zip(leaves, entries(states[0]), strict=True)
        ]
        state = rebuilt(states[0], tuple(parts))
        for row in rows[len(rows) - lag :]:
            state = cell(row, state)
        sent = torch.autograd.grad(as_reals(state), leaves, seed, allow_unused=True)
        sent = [torch.zeros_like(leaf) if s is None else s for s, leaf in zip(sent, leaves, strict=True)]
        found.append(torch.cat([s.flatten(1) for s in sent], 1).norm(dim=1))
    return [(norm / found[0]).log().quantile(0.5).item() for norm in found]


def ones(state):
    return tuple(torch.ones_like(part) for part in as_reals(state))


@pytest.mark.usefixtures("_known_direction")
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_agrees_with_a_plain_loop_over_its_step(kind):
    module, x = build(kind), torch.randn(T, B, INPUTS).double()
    curve = watched(module, lambda: module(x)[0][-1].sin().sum())[0, "forward"]
    (cell,) = module.cells
    output = module(x)[0]
    error = torch.autograd.grad(output[-1].sin().sum(), output)[0][-1]

    def arrived(state):
        leaves = tuple(part.detach().clone().requires_grad_() for part in entries(state))
        shown = cell.output(rebuilt(state, leaves))
        found = torch.autograd.grad(shown, leaves, error, allow_unused=True)
        return as_reals(tuple(torch.zeros_like(s) if f is None else f for f, s in zip(found, leaves, strict=True)))

    assert curve.lags[-1] == T - 1
    assert curve.log_gain == pytest.approx(norms_of(cell, x, curve.lags, ones), abs=1e-6)
    assert curve.log_signal == pytest.approx(norms_of(cell, x, curve.lags, arrived), abs=1e-6)


@pytest.mark.usefixtures("_known_direction")
@pytest.mark.parametrize("cell", ["Elman", "GRU", "LSTM"])
def test_stacks_in_two_directions_read_as_torchs_layers(cell):
    shape = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    torchs = {"Elman": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}[cell](INPUTS, HIDDEN, **shape).double()
    ours = Recurrent(getattr(cells, cell), INPUTS, HIDDEN, **shape).double()
    with torch.no_grad():
        for place, one in enumerate(ours.cells):
            for name, weight in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), range(4), strict=True):
                getattr(one, name).copy_(getattr(torchs, torchs._all_weights[place][weight]))
    x = torch.randn(B, T, INPUTS).double()
    weight = torch.randn(B, T, 2 * HIDDEN).double()

    def loss(module):
        output, ended = module(x)
        return (output * weight).sum() + sum(part[2].sin().sum() for part in entries(ended))

    one, other = watched(torchs, lambda: loss(torchs)), watched(ours, lambda: loss(ours))
    assert one.keys() == other.keys()
    for key, curve in one.items():
        assert other[key].log_gain == pytest.approx(curve.log_gain, abs=1e-6)
        assert other[key].log_signal == pytest.approx(curve.log_signal, abs=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_an_lru_carries_its_rate_to_the_power_of_the_lag(training):
    module = Recurrent(cells.LRU, 1, 6, r_min=0.7, r_max=0.7001).double().train(training)
    with torch.no_grad():
        module.cells[0].nu.fill_(math.log(-math.log(0.7)))
    curve = watched(module, lambda: module(torch.randn(300, 2, 1).double())[0][-1].sum())[0, "forward"]
    assert curve.log_gain == pytest.approx([lag * math.log(0.7) for lag in curve.lags], abs=1e-6)


def test_a_mingru_carries_the_product_of_what_its_gates_keep():
    module, x = Recurrent(cells.MinGRU, 2, 1).double(), torch.randn(60, 1, 2).double()
    curve = watched(module, lambda: module(x)[0][-1].sum())[0, "forward"]
    z = torch.sigmoid(module.cells[0].project(x[:, 0])[:, 0])
    kept = (1 - z).log().detach().flip(0).cumsum(0)
    assert curve.log_gain[1:] == pytest.approx([kept[lag - 1].item() for lag in curve.lags[1:]], abs=1e-9)


@pytest.mark.parametrize("reads", ["output", "state"])
def test_a_loss_on_the_last_state_is_one_on_the_last_output(reads):
    torch.manual_seed(1)
    module, x = build("mingru", num_layers=2), torch.randn(T, B, INPUTS).double()
    found = watched(module, lambda: (module(x)[0][-1] if reads == "output" else module(x)[1][-1]).sin().sum())
    torch.manual_seed(1)
    module, _ = build("mingru", num_layers=2), None
    other = watched(module, lambda: module(x)[0][-1].sin().sum())
    for key, curve in found.items():
        assert curve.log_signal == pytest.approx(other[key].log_signal, abs=1e-9)


def test_packed_and_unbatched_sequences_and_a_start_of_ones_own():
    module = build("lru").train()
    lengths, x = torch.tensor([7, 23, 12, 9, 17]), torch.randn(T, B, INPUTS).double()

    def packed():
        return pad_packed_sequence(module(pack_padded_sequence(x, lengths, enforce_sorted=False))[0])[0].mean()

    curve = watched(module, packed)[0, "forward"]
    alone = watched(module, lambda: module(x[:, 1])[0][-1].sum())[0, "forward"]
    start = module(torch.randn(3, INPUTS).double())[1].detach()
    begun = watched(module, lambda: module(x[:, 1], start)[0][-1].sum())[0, "forward"]
    assert curve.lags == alone.lags == begun.lags
    bound = module.cells[0].factors().abs().detach().max().log().item()
    for found in (curve, alone, begun):  # linear: whatever goes in, no direction is kept better than by the largest |λ|
        assert all(gain <= lag * bound + 1e-9 for lag, gain in zip(found.lags, found.log_gain, strict=True))


def test_what_only_counts_the_steps_is_no_memory():
    """Batch normalisation keeps the age of a sequence in its state; it would be carried for ever, if it were one."""
    module = Recurrent(cells.BatchNorm, INPUTS, 1, inner=cells.Elman, max_length=T).double().eval()
    x = torch.randn(T, 1, INPUTS).double()
    curve = watched(module, lambda: module(x)[0][-1].sum())[0, "forward"]
    h = module(x)[0][:, 0, 0].detach()
    cell = module.cells[0]
    factor = cell.inner.weight_hh[0, 0] * cell.norm_h.weight[0] / math.sqrt(1 + 1e-5)
    kept = ((1 - h**2) * factor).abs().log().flip(0).cumsum(0)
    assert curve.log_gain[1:] == pytest.approx([kept[lag - 1].item() for lag in curve.lags[1:]], abs=1e-6)


def test_a_cell_that_draws_is_measured_as_it_trains():
    held = Recurrent(cells.Zoneout, INPUTS, HIDDEN, inner=cells.Elman, rate=1.0).double()
    curve = watched(
        held, lambda: held(torch.randn(T, B, INPUTS).double())[0].sum() + held.cells[0].inner.weight_hh.sum()
    )
    assert set(curve[0, "forward"].log_gain) == {0.0}

    x = torch.zeros(200, 3, 1).double()
    masked = Recurrent(cells.Variational, 1, 16, inner=partial(cells.Elman, bias=False), p_state=0.5).double()
    with torch.no_grad():  # each unit is carried by itself: kept whole and doubled for ever, or gone at once
        masked.cells[0].inner.weight_hh.copy_(torch.eye(16) * 0.5)
    gain = watched(masked, lambda: masked(x)[0][-1].sum() + masked.cells[0].inner.weight_ih.sum())[
        0, "forward"
    ].log_gain
    assert gain[1:] == pytest.approx([gain[1]] * (len(gain) - 1), abs=1e-9)
    assert -1.0 < gain[1] < 0.0


@pytest.mark.parametrize("kind", [*KINDS, "zoneout", "variational", "batchnorm"])
def test_watching_changes_no_bit_of_a_training(kind):
    others = {
        "zoneout": (cells.Zoneout, {"inner": cells.LSTM}),
        "variational": (cells.Variational, {"inner": cells.GRU}),
        "batchnorm": (cells.BatchNorm, {"inner": cells.LSTM, "max_length": 9}),
    }
    cell, options = {**KINDS, **others}[kind]

    def run(watching):
        torch.manual_seed(3)
        module = Recurrent(cell, INPUTS, HIDDEN, **options)
        optimizer, losses = torch.optim.Adam(module.parameters(), 1e-2), []
        with Watch(module, optimizer, budget=1.0) if watching else torch.enable_grad() as watch:
            for _ in range(3):
                optimizer.zero_grad()
                loss = module(torch.randn(9, 3, INPUTS))[0].square().mean()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        if watching:
            assert watch.store.curves()
            assert not watch.store.notes()
        return losses, [own.detach().clone() for own in module.state_dict().values()], torch.rand(1)

    (one, weights, number), (other, same, again) = run(False), run(True)
    assert one == other
    assert torch.equal(number, again)
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (cells.MinGRU(2, 3), "MinGRU"),
        (cells.Orthogonal(2, 3), "Orthogonal"),
        (cells.Skip(2, 3, inner=partial(cells.Zoneout, inner=cells.LSTM), lag=2), "Skip Zoneout LSTM"),
    ],
)
def test_kinds_in_words(cell, kind):
    assert kind_of(cell) == kind
