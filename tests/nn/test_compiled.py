"""Layers inside of compiled and exported programs."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import longreach.nn as ours
from longreach.nn import layers

# torch tells so of its own layer, whenever it has float32 to compute
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, INPUTS, HIDDEN = 6, 3, 4, 5
PLAIN = {
    "rnn": ours.RNN(INPUTS, HIDDEN),
    "gru stacked, bidirectional": ours.GRU(INPUTS, HIDDEN, 2, bidirectional=True, batch_first=True),
    "lstm": ours.LSTM(INPUTS, HIDDEN),
    "lstm with options": ours.LSTM(INPUTS, HIDDEN, cut=2, clip=0.1),
    "lstm projected": ours.LSTM(INPUTS, HIDDEN, proj_size=2),
    "gru recomputed": ours.GRU(INPUTS, HIDDEN, checkpoint_every=2),
    "rnn prelu": ours.RNN(INPUTS, HIDDEN, nonlinearity="prelu"),
}


def dense():
    return torch.randn(T, B, INPUTS)


def packed(**options):
    return pack_sequence([torch.randn(length, INPUTS) for length in (6, 3, 2)], **options)


def results(layer, given, **call):
    """Output and gradients of a layer, or of what it has been compiled to."""
    output, _ = layer(given, **call)
    output = output.data if isinstance(output, PackedSequence) else output
    if not torch.is_grad_enabled():
        return [output]
    return [output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]


@pytest.mark.parametrize("gradients", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_layer_is_one_graph(name, gradients):
    torch.compiler.reset()
    layer, x = PLAIN[name], dense()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(results(compiled, x), results(layer, x))


@pytest.mark.parametrize("given", [packed, lambda: packed(enforce_sorted=False)], ids=["sorted", "sorted by packing"])
def test_packed_input_is_one_graph(given):
    torch.compiler.reset()
    layer, x = PLAIN["gru stacked, bidirectional"], given()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(results(compiled, x), results(layer, x))


@pytest.mark.parametrize("is_packed", [False, True])
def test_resets_are_one_graph(is_packed):
    torch.compiler.reset()
    layer, x, resets = PLAIN["lstm"], dense(), torch.rand(T, B) < 0.3
    if is_packed:
        x, resets = pack_sequence([x[:, 0], x[:2, 1]]), pack_sequence([resets[:, 0], resets[:2, 1]])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(results(compiled, x, resets=resets), results(layer, x, resets=resets))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own use of it
def test_by_inductor():
    torch.compiler.reset()
    layer, x = PLAIN["lstm with options"], dense()
    torch.testing.assert_close(results(torch.compile(layer, fullgraph=True), x), results(layer, x))


def test_another_length_is_another_run_of_the_same_graph():
    torch.compiler.reset()
    layer, graphs = PLAIN["lstm"], []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(layer, fullgraph=True, backend=counting, dynamic=True)
    for steps in (6, 9, 4):
        x = torch.randn(steps, B, INPUTS)
        torch.testing.assert_close(results(compiled, x), results(layer, x))
    assert len(graphs) == 1


EXPORTED = {"rnn": "rnn_tanh", "gru stacked, bidirectional": "gru", "lstm": "lstm", "lstm with options": "lstm"}


@pytest.mark.parametrize("name", PLAIN)
def test_an_exported_program_needs_no_longreach(name):
    layer, x = PLAIN[name], dense()
    program = torch.export.export(layer, (x,))
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("longreach" in operator for operator in operators)
    if name in EXPORTED:  # as one operator, which ONNX has as well
        assert f"aten.{EXPORTED[name]}.input" in operators
    torch.testing.assert_close(program.module()(x), layer(x))


def test_exported_resets_need_no_longreach():
    layer, x, resets = PLAIN["gru stacked, bidirectional"], dense(), torch.rand(T, B) < 0.3
    program = torch.export.export(layer, (x,), {"resets": resets})
    assert "longreach" not in str(program.graph)
    torch.testing.assert_close(program.module()(x, resets=resets), layer(x, resets=resets))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # torch's checks of its input, of sizes
@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_a_traced_program_needs_no_longreach():
    layer, x = PLAIN["lstm"].eval(), dense()
    traced = torch.jit.trace(layer, (x,))
    assert "longreach::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), layer(x))


def test_where_the_scans_are_not_built_torchs_operators_are_used(monkeypatch):
    expected = {name: layer(dense()) for name, layer in PLAIN.items() if name in EXPORTED}

    def refused(*_, **__):
        raise AssertionError

    monkeypatch.setattr(layers.native, "built", lambda: False)
    monkeypatch.setattr(layers, "apply_stack", refused)
    for name in ("rnn", "lstm", "gru stacked, bidirectional"):
        assert PLAIN[name](dense())[0].shape == expected[name][0].shape
    with pytest.raises(AssertionError):
        PLAIN["lstm with options"](dense())
