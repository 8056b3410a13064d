"""What Recurrent does around any cell that the conformance table does not see: options, errors, memory, autocast."""

import jaxtyping
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

from longreach.errors import ArgumentError
from longreach.nn.cell import entries
from longreach.nn.cells import GRU, LRU, LSTM, Elman, LayerNorm, Skip, Zoneout
from longreach.nn.cells.lstm import Memory
from longreach.nn.observing import observe
from longreach.nn.recurrent import Recurrent


def sequence(steps=7, batch=3, features=4, dtype=torch.float64):
    return torch.randn(steps, batch, features, dtype=dtype)


def test_layers_and_directions_are_those_of_torch():
    ours = Recurrent(LSTM, 4, 5, 2, bidirectional=True, dropout=0.4, dtype=torch.float64)
    theirs = nn.LSTM(4, 5, 2, bidirectional=True, dropout=0.4, dtype=torch.float64)
    places = [f"l{layer}{side}" for layer in range(2) for side in ("", "_reverse")]
    for cell, place in zip(ours.cells, places, strict=True):
        cell.load_state_dict({name: getattr(theirs, f"{name}_{place}") for name in cell.state_dict()})
    x, start = sequence(), Memory(*(torch.randn(4, 3, 5, dtype=torch.float64) for _ in range(2)))
    for mode in (True, False):  # in training too: the same seed drops the same entries
        torch.manual_seed(1)
        got, state = ours.train(mode)(x, start)
        torch.manual_seed(1)
        expected, expected_state = theirs.train(mode)(x, tuple(start))
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(tuple(state), expected_state)
        assert isinstance(state, Memory)


def test_residual_adds_a_layers_input_from_the_second_on():
    network = Recurrent(Elman, 4, 4, 3, residual=True, dtype=torch.float64)
    x = sequence()
    expected = x
    for number, cell in enumerate(network.cells):
        layer = Recurrent(Elman, 4, 4, dtype=torch.float64)
        layer.cells[0] = cell
        y, _ = layer(expected)
        expected = expected + y if number else y
    torch.testing.assert_close(network(x)[0], expected)


def test_resets_in_every_layout():
    network = Recurrent(GRU, 4, 5, batch_first=True, dtype=torch.float64)
    x = sequence().transpose(0, 1)
    flags = torch.zeros(3, 7, dtype=torch.bool)
    flags[:, 4] = True
    output, _ = network(x, resets=flags)
    torch.testing.assert_close(output[:, 4:], network(x[:, 4:])[0])
    torch.testing.assert_close(network(x[0], resets=flags[0])[0], output[0])
    lengths = (6, 7, 5)
    packed = pack_sequence([row[:n] for row, n in zip(x, lengths, strict=True)], enforce_sorted=False)
    packed_flags = pack_sequence([row[:n] for row, n in zip(flags, lengths, strict=True)], enforce_sorted=False)
    got, _ = network(packed, resets=packed_flags)
    rows = pack_sequence([row[:n] for row, n in zip(output, lengths, strict=True)], enforce_sorted=False)
    torch.testing.assert_close(got.data, rows.data)


def saved_bytes(network, x):
    """Of the storage that autograd keeps for the backward pass, each counted once."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(kept.values())


@pytest.mark.parametrize("cell", [Elman, GRU, LSTM])
def test_recomputation_saves_memory(cell):
    x = sequence(steps=400, batch=8, features=2, dtype=torch.float32)
    network = Recurrent(cell, 2, 32)
    for step in (False, True):
        if step:
            vars(network.cells[0])["fuses"] = lambda **_: False
        network.checkpoint_every = 0
        whole = saved_bytes(network, x)
        network.checkpoint_every = 20
        assert saved_bytes(network, x) < whole / 3, whole / saved_bytes(network, x)


def test_what_is_drawn_for_a_step_is_drawn_again():
    x, found = sequence(), []
    network = Recurrent(Zoneout, 4, 5, inner=LSTM, rate=0.5, dtype=torch.float64)
    for every in (0, 3):
        network.checkpoint_every = every
        torch.manual_seed(3)
        network(x)[0].sum().backward()
        found.append([p.grad.clone() for p in network.parameters()])
        network.zero_grad()
    torch.testing.assert_close(*found)


def test_observe_names_the_entries_of_a_state():
    network = Recurrent(LSTM, 4, 5, 2, dtype=torch.float64)
    with observe(network) as seen:
        output, _ = network(sequence())
    output.sum().backward()
    assert {name: tuple(rows.shape) for name, rows in seen["Recurrent"].rows.items()} == {
        "h": (2, 7, 3),
        "c": (2, 7, 3),
    }


def test_recomputed_states_have_the_same_norms():
    x, found = sequence(), []
    for every in (0, 3):
        torch.manual_seed(5)
        network = Recurrent(LayerNorm, 4, 5, 2, inner=GRU, clip=0.1, checkpoint_every=every, dtype=torch.float64)
        with observe(network) as seen:
            output, _ = network(x)
        output.square().sum().backward()
        found.append(seen["Recurrent"].rows["h"])
    torch.testing.assert_close(*found)


def test_observe_tells_of_the_latest_state_of_a_cell_with_delays():
    network = Recurrent(Skip, 4, 5, inner=Elman, lag=3, dtype=torch.float64)
    with observe(network) as seen:
        output, _ = network(sequence())
    output[-1].sum().backward()
    norms = seen["Recurrent"].steps["h"][0]
    assert list(seen["Recurrent"].rows) == ["h"]
    assert (norms > 0).all()


class Counted(nn.Module):
    """A parametrization that counts how often it is asked."""

    calls = 0

    def forward(self, weight):
        self.calls += 1
        return weight * 1.0


@pytest.mark.parametrize(("every", "times"), [(0, 1), (2, 4)])
def test_a_parametrized_weight_is_computed_once_in_a_pass_or_a_segment(every, times):
    network = Recurrent(LayerNorm, 4, 5, inner=GRU, checkpoint_every=every, dtype=torch.float64)
    nn.utils.parametrize.register_parametrization(network.cells[0].inner, "weight_hh", Counted())
    counted = network.cells[0].inner.parametrizations.weight_hh[0]
    counted.calls = 0
    output, _ = network(sequence())
    assert counted.calls == times
    output.sum().backward()
    assert network.cells[0].inner.parametrizations.weight_hh.original.grad.abs().sum() > 0


def test_torchs_parametrizations_act_on_any_cell():
    network = Recurrent(GRU, 4, 6, dtype=torch.float64)
    cell, x = network.cells[0], sequence()
    parametrizations.weight_norm(cell, "weight_hh")
    before, _ = network(x)
    with torch.no_grad():
        cell.parametrizations.weight_hh.original0.mul_(2)
    plain = Recurrent(GRU, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        for name, weight in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), cell.weights(), strict=True):
            getattr(plain.cells[0], name).copy_(weight)
    after, _ = network(x)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, plain(x)[0])


@pytest.mark.parametrize("cell", [Elman, LSTM, lambda *sizes, **options: LayerNorm(*sizes, inner=GRU, **options), LRU])
def test_autocast_computes_in_the_type_of_the_weights_and_rounds_once(cell):
    network, x = Recurrent(cell, 4, 5, 2), sequence(dtype=torch.bfloat16)
    expected, state = network(x.float())
    for given in (x, x.float()):
        with torch.autocast("cpu", torch.bfloat16):
            got, got_state = network(given)
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got, expected.bfloat16())
        for one, other in zip(entries(got_state), entries(state), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # dynamo's own doing
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True, "num_layers": 2, "checkpoint_every": 2}, {"cut": 2, "clip": 0.1, "residual": True}],
    ids=["plain", "recomputing", "truncated and clipped"],
)
def test_a_network_that_is_compiled_and_trained(options, monkeypatch):
    """Three steps of the optimiser, as without torch.compile."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what checks annotations cannot be traced
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        network = Recurrent(CountingCell, 4, 5, dtype=torch.float64, **options)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        call = torch.compile(network, fullgraph=True, backend="aot_eager") if compiled else network
        for _ in range(3):
            resets = torch.rand(4, 3) < 0.3
            loss = call(sequence(4), resets=resets)[0].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[:3] == pytest.approx(losses[3:], rel=1e-12)


class CountingCell(Elman):
    """A user's cell, whose state also counts the steps."""

    def fuses(self, **_):
        return False

    def start(self, batch, *, like):
        return like.new_zeros(batch, self.hidden_size), like.new_zeros(batch, 1)

    def forward(self, x, state):
        h, age = state
        return super().forward(x, h) / (1 + age), age + 1


def test_repr_is_the_call():
    network = Recurrent(Elman, 4, 5, 2, cut=10, clip=1.5, residual=True)
    assert repr(network).startswith("Recurrent(\n  4, 5, num_layers=2, cut=10, clip=1.5, residual=True\n")
    assert repr(LSTM(3, 4, forget_bias=1.0, bias=True)) == "LSTM(3, 4, forget_bias=1.0)"
    assert repr(Skip(3, 4, inner=GRU, lag=2)) == "Skip(\n  lag=2\n  (inner): GRU(3, 4)\n)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size: expected a whole number above 0, got 0"),
        ({"num_layers": 0}, "num_layers: expected a whole number above 0, got 0"),
        ({"dropout": 1.5}, "dropout: expected a share between 0 and 1, got 1.5"),
        ({"cut": -1}, "cut: expected a number of steps, 0 for none, got -1"),
        ({"checkpoint_every": 2.5}, "checkpoint_every: expected a number of steps, 0 for none, got 2.5"),
        ({"clip": 0.0}, "clip: expected a norm above 0, got 0.0; inf clips nothing"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ArgumentError) as error:
        Recurrent(Elman, **{"input_size": 3, "hidden_size": 4, **options})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 3, 5), "input: expected (time, batch, 4), (time, 4) or a PackedSequence of 4 features, got (7, 3, 5)"),
        ((4,), "input: expected (time, batch, 4), (time, 4) or a PackedSequence of 4 features, got (4,)"),
    ],
)
def test_bad_input(shape, message):
    with pytest.raises(ArgumentError) as error:
        Recurrent(Elman, 4, 5)(torch.zeros(shape))
    assert str(error.value) == message


def test_bad_state():
    network = Recurrent(LSTM, 4, 5, batch_first=True)
    x = torch.zeros(3, 7, 4)
    with pytest.raises(
        ArgumentError, match=r"state: expected shapes \[\(1, 3, 5\), \(1, 3, 5\)\], .* got \[\(1, 3, 5\)\]"
    ):
        network(x, torch.zeros(1, 3, 5))
    with pytest.raises(ArgumentError, match=r"got \[\(1, 2, 5\), \(1, 2, 5\)\]; pass what an earlier call returned"):
        network(x, (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)))
    with pytest.raises(ArgumentError, match="input: expected \\(batch, time, 4\\)"):
        network(torch.zeros(3, 7, 5))
