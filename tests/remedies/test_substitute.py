"""A layer that was swapped is called as before, gives what it gave before, and hands its state on unharmed."""

import copy
import gc
import pickle
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import longreach
from longreach import nn as ours
from longreach.errors import NotApplicable
from longreach.nn import Recurrent, cells
from longreach.nn.cell import entries, rebuilt
from longreach.remedies import undo
from longreach.remedies.substitute import Substitute, like, places, put_in_place

T, B, F, H = 7, 3, 2, 4
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
STEPS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
# what a state is made of: one tensor, two, a complex one, a queue of old ones
CELLS = {
    "gru": cells.GRU,
    "lstm": cells.LSTM,
    "lru": cells.LRU,
    "skip": partial(cells.Skip, inner=cells.LSTM, lag=3),
}
SHAPES = {
    "plain": {},
    "batch first": {"batch_first": True},
    "two layers, two directions": {"num_layers": 2, "bidirectional": True},
}


class Touch(torch.autograd.Function):
    """Does nothing; its node in the graph can be referred to weakly, those of torch's own functions cannot."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def swapped(kind, cell, **shape):
    layer = LAYERS[kind](F, H, dtype=torch.float64, **shape)
    put_in_place(layer, like(layer, CELLS[cell]), "swap")
    return layer


def shapes(value):
    return [tuple(part.shape) for part in entries(value)]


def shown(inner, state):
    """What each place shows of its last state, by the cells themselves."""
    found = []
    for place, cell in enumerate(inner.cells):
        found.append(cell.output(rebuilt(state, tuple(entry[place] for entry in entries(state)))))
    return torch.stack(found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_what_comes_back_has_the_layers_own_shapes_and_is_what_the_new_one_computes(kind, cell, shape):
    layer, twin = swapped(kind, cell, **SHAPES[shape]), LAYERS[kind](F, H, dtype=torch.float64, **SHAPES[shape])
    x = torch.randn(T, B, F, dtype=torch.float64)
    output, state = layer(x)
    wanted, theirs = twin(x)
    assert (output.shape, type(state)) == (wanted.shape, type(theirs))
    assert shapes(state) == shapes(theirs)
    truth, ended = layer.inner(x)
    assert torch.equal(output, truth)
    assert torch.equal(state[0] if kind == "lstm" else state, shown(layer.inner, ended))
    if shape == "plain":  # the state is that of the last step, at the place where the script looks for it
        assert torch.allclose((state[0] if kind == "lstm" else state)[-1], output[-1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_unbatched_and_packed_sequences(kind, cell):
    layer, x = swapped(kind, cell), torch.randn(T, B, F, dtype=torch.float64)
    whole, ended = layer(x)
    one, state = layer(x[:, 1])
    torch.testing.assert_close(one, whole[:, 1])
    for part, full in zip(entries(state), entries(ended), strict=True):
        torch.testing.assert_close(part, full[:, 1])
    lengths = torch.tensor([4, 7, 5])
    packed, state = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    rows, _ = pad_packed_sequence(packed)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(rows[:length, row], whole[:length, row])
        torch.testing.assert_close(entries(state)[0][0, row], whole[length - 1, row])


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


@pytest.mark.parametrize("back", [lambda state: state, detached], ids=["as it is", "detached"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_state_that_is_handed_back_goes_on_where_it_ended(kind, cell, back):
    layer, x = swapped(kind, cell, num_layers=2), torch.randn(T, B, F, dtype=torch.float64, requires_grad=True)
    truth = layer(x)[0]
    first, state = layer(x[:3])
    second, _ = layer(x[3:], back(state))
    torch.testing.assert_close(torch.cat([first, second]), truth)
    (gradient,) = torch.autograd.grad(second.sum(), x)
    assert bool(gradient[:3].any()) == (back is not detached)
    if back is not detached:
        torch.testing.assert_close(gradient, torch.autograd.grad(truth[3:].sum(), x)[0])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", STEPS)
def test_single_steps_are_those_of_a_whole_sequence(kind, cell):
    step = STEPS[kind](F, H, dtype=torch.float64)
    put_in_place(step, like(step, CELLS[cell]), "swap")
    whole = Recurrent(CELLS[cell], F, H, dtype=torch.float64)
    whole.cells[0].load_state_dict(step.inner.state_dict())
    x = torch.randn(T, B, F, dtype=torch.float64, requires_grad=True)
    truth = whole(x)[0]
    for back, rows in ((lambda state: state, x), (detached, x), (lambda state: state, x[:, 1])):
        state, found = None, []
        for row in rows:
            state = step(row, None if state is None else back(state))
            found.append(state[0] if kind == "lstm" else state)
        assert len(state) == 2 or kind != "lstm"
        torch.testing.assert_close(torch.stack(found), truth[:, 1] if rows is not x else truth)
        if back is not detached and rows is x:
            gradients = [torch.autograd.grad(y[-1].sum(), x, retain_graph=True)[0] for y in (torch.stack(found), truth)]
            torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("cell", CELLS)
def test_zeros_are_a_start(cell):
    layer, x = swapped("lstm", cell), torch.randn(T, B, F, dtype=torch.float64)
    zeros = torch.zeros(1, B, H, dtype=torch.float64)
    assert torch.equal(layer(x, (zeros, zeros))[0], layer(x)[0])


@pytest.mark.parametrize(("kind", "cell"), [("rnn", "lstm"), ("gru", "lru"), ("lstm", "skip")])
def test_a_state_that_nothing_leads_back_from_is_refused(kind, cell):
    layer, x = swapped(kind, cell), torch.randn(T, B, F, dtype=torch.float64)
    _, state = layer(x)
    learned = nn.Parameter(torch.zeros(1, B, H, dtype=torch.float64))
    for changed in (detached(state)[:1] if kind == "lstm" else state * 0.5, learned):
        parts = (changed[0] * 2, changed[0]) if kind == "lstm" and changed is not learned else changed
        with pytest.raises(NotApplicable, match="swap: expected the state that the layer itself gave, or zeros"):
            layer(x, (learned, learned) if kind == "lstm" and changed is learned else parts)


@pytest.mark.parametrize(("kind", "cell"), [("rnn", "gru"), ("lstm", "gru"), ("lstm", "lstm")])
def test_where_the_scripts_state_holds_all_any_state_will_do_and_may_be_learned(kind, cell):
    layer, x = swapped(kind, cell), torch.randn(T, B, F, dtype=torch.float64)
    start = nn.Parameter(torch.randn(1, B, H, dtype=torch.float64))
    state = (start, start * 0.5) if kind == "lstm" else start
    output, _ = layer(x, state)
    inner = cells.lstm.Memory(start, start * 0.5) if cell == "lstm" else start
    assert torch.equal(output, layer.inner(x, inner)[0])
    output.sum().backward()
    assert start.grad.any()


def test_a_validation_between_two_windows_does_not_break_a_stream_off():
    layer, x = swapped("rnn", "lstm"), torch.randn(T, B, F, dtype=torch.float64)
    truth = layer(x)[0]
    _, state = layer(x[:3])
    state = state.detach()
    layer.eval()(torch.randn(T, 9, F, dtype=torch.float64))
    torch.testing.assert_close(layer.train()(x[3:], state)[0], truth[3:])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_loss_on_the_last_state_reaches_all_that_it_was_made_of(kind, cell):
    layer, x = swapped(kind, cell), torch.randn(T, B, F, dtype=torch.float64, requires_grad=True)
    output, state = layer(x)
    gradients = [
        torch.autograd.grad(y.sin().sum(), x, retain_graph=True)[0] for y in (entries(state)[0][-1], output[-1])
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("kind", "cell"), [("rnn", "gru"), ("rnn", "lstm"), ("gru", "lru"), ("lstm", "skip")])
def test_no_graph_lives_longer_than_what_the_script_holds(kind, cell):
    layer = swapped(kind, cell)
    gc.disable()  # nothing may wait for the collector
    try:
        x = torch.randn(T, B, F, dtype=torch.float64, requires_grad=True)
        given = Touch.apply(x)
        node = weakref.ref(given.grad_fn)
        output, state = layer(given)
        held = weakref.ref(entries(state)[0])
        del output, given
        state = detached(state)
        assert node() is None
        assert held() is None
        layer(x, state)
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize(("kind", "cell"), [("rnn", "lstm"), ("lstm", "lru"), ("gru", "gru")])
def test_copies_compute_the_same_and_know_nothing_of_a_stream(kind, cell, copied):
    layer, x = LAYERS[kind](F, H), torch.randn(T, B, F)
    put_in_place(layer, like(layer, CELLS[cell]), "swap")
    output, _ = layer(x)
    other = copied(layer)
    assert torch.equal(other(x)[0], output)
    assert other._ended.keys() <= {True}
    third = LAYERS[kind](F, H)
    put_in_place(third, like(third, CELLS[cell]), "swap")
    third.load_state_dict(layer.state_dict())
    assert torch.equal(third(x)[0], output)


def test_training_and_evaluation_reach_what_is_inside():
    layer = nn.GRU(F, H).eval()
    put_in_place(layer, like(layer, partial(cells.Zoneout, inner=cells.GRU)), "swap")
    model = nn.Sequential(layer)
    assert not layer.inner.cells[0].training
    assert model.train()[0].inner.cells[0].training
    model.eval()
    x = torch.randn(T, B, F)
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("kind", LAYERS)
def test_undo_brings_back_class_names_and_bits(kind):
    layer, x = LAYERS[kind](F, H, num_layers=2), torch.randn(T, B, F)
    before, output = {name: own.clone() for name, own in layer.state_dict().items()}, layer(x)[0]
    calls = []
    put_in_place(layer, like(layer, cells.LRU), "swap")
    layer.register_forward_hook(lambda *_: calls.append(1))
    for own in layer.parameters():
        own.data.normal_()
    layer(x)
    assert undo(layer.eval()) is layer
    assert type(layer) is LAYERS[kind]
    assert not layer.training
    assert list(layer.state_dict()) == list(before)
    assert all(torch.equal(own, before[name]) for name, own in layer.state_dict().items())
    assert torch.equal(layer(x)[0], output)
    assert calls == [1, 1]
    assert not hasattr(layer, "called")


def test_a_network_of_cells_and_a_layer_of_ours_keep_their_options():
    for layer in (
        Recurrent(cells.Elman, F, H, 2, cut=3, clip=0.5, residual=True, batch_first=True),
        ours.RNN(F, H, 2, cut=3, clip=0.5, batch_first=True),
    ):
        put_in_place(layer, like(layer, cells.LSTM), "swap")
        assert (layer.inner.cut, layer.inner.clip, layer.inner.batch_first) == (3, 0.5, True)
        resets = torch.zeros(B, T, dtype=torch.bool)
        resets[:, 4] = True
        x = torch.randn(B, T, F)
        torch.testing.assert_close(layer(x, resets=resets)[0][:, 4:], layer(x[:, 4:])[0])
        _, state = layer(x[:, :3])
        assert isinstance(state, torch.Tensor)
        torch.testing.assert_close(layer(x[:, 3:], state)[0], layer(x)[0][:, 3:])


def test_one_swap_upon_another():
    layer, x = nn.RNN(F, H), torch.randn(T, B, F)
    put_in_place(layer, ours.LSTM(F, H), "one")
    inner = layer.inner
    put_in_place(inner, like(inner, partial(cells.Zoneout, inner=cells.LSTM)), "other")
    layer.eval()
    truth, (first, state) = layer(x)[0], layer(x[:3])
    torch.testing.assert_close(torch.cat([first, layer(x[3:], state.detach())[0]]), truth)
    undo(layer)
    assert type(layer) is nn.RNN


def test_places_are_those_that_can_be_taken():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.GRU(F, H), Recurrent(cells.LSTM, F, H), nn.LSTMCell(F, H)
            self.d, self.e = Recurrent(cells.LRU, F, H), cells.Elman(F, H)

    model = Model()
    assert places(model, "swap") == [model.a, model.c, model.b]
    assert places(model, "swap", "lstm") == [model.c, model.b]
    put_in_place(model.a, like(model.a, cells.GRU), "swap")
    assert places(model, "swap", "gru") == []
    with pytest.raises(NotApplicable, match="swap: expected an RNN of torch or longreach, its cell, or a model that"):
        places(nn.Linear(2, 2), "swap", "rnn")
    with pytest.raises(NotApplicable, match="expected an LSTM without a projection, got proj_size=2"):
        put_in_place(nn.LSTM(F, H, proj_size=2), Recurrent(cells.GRU, F, H), "swap")


def test_the_watch_sees_what_is_inside_and_calls_it_by_the_layers_name():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.step = nn.RNN(F, H), nn.GRUCell(F, H)

        def forward(self, x):
            h = None
            for row in x:
                h = self.step(row, h)
            return self.rnn(x)[0][-1] + h

    model = Model()
    put_in_place(model.rnn, like(model.rnn, cells.LRU), "swap")
    put_in_place(model.step, like(model.step, cells.LSTM), "swap")
    record = longreach.measure(model, (torch.randn(T, B, F), torch.zeros(B, H)), nn.functional.mse_loss)
    assert sorted((layer.module, layer.kind) for layer in record.layers) == [("rnn", "LRU"), ("step", "LSTM")]


def test_a_layer_called_step_by_step_is_measured_through_what_it_carries():
    layer = nn.RNN(F, H)
    put_in_place(layer, like(layer, cells.LSTM), "swap")
    assert isinstance(layer, Substitute)
    with torch.no_grad():  # f = 1, all else shut: c is carried whole, h is made of it and carries nothing
        for name, own in layer.inner.cells[0].named_parameters():
            own.zero_()
            if name == "bias_ih":
                own[H : 2 * H] = 50.0

    def loss(output, _):
        return output.square().sum()

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = layer

        def forward(self, x):
            h = None
            for row in x:
                output, h = self.rnn(row[None], h)
            return output + h

    (found,) = longreach.measure(Loop(), (torch.randn(30, B, F), None), loss).layers
    assert (found.kind, found.reach.lag) == ("Recurrent", 29)
