"""RNN, GRU and LSTM against torch's: a table of layers, and what both have to do alike."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import longreach.nn as ours
from longreach.errors import ArgumentError

# torch tells so of its own layer, whenever it has float32 to compute
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

T, B, INPUTS, HIDDEN = 6, 4, 3, 5
LENGTHS = torch.tensor([2, 6, 6, 3])
LAYERS = {
    "rnn": ("RNN", {}),
    "rnn relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "gru without bias": ("GRU", {"bias": False}),
    "rnn stacked": ("RNN", {"num_layers": 3}),
    "lstm bidirectional": ("LSTM", {"bidirectional": True}),
    "gru stacked, bidirectional": ("GRU", {"num_layers": 2, "bidirectional": True}),
    "lstm stacked, bidirectional, projected": ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    "lstm projected": ("LSTM", {"proj_size": 2}),
    "lstm with dropout": ("LSTM", {"num_layers": 3, "dropout": 0.4}),
    "rnn with dropout, bidirectional": ("RNN", {"num_layers": 2, "dropout": 0.4, "bidirectional": True}),
}
LAYOUTS = ("time first", "batch first", "one sequence", "packed", "packed, sorted")


def pair(name, seed=0, **more):
    """Torch's layer and ours, built from the same seed."""
    kind, options = LAYERS[name]
    built = []
    for home in (nn, ours):
        torch.manual_seed(seed)
        built.append(getattr(home, kind)(INPUTS, HIDDEN, **options, **more))
    return built


def laid_out(x, layout):
    """Time-major numbers in a layout."""
    if layout == "batch first":
        return x.transpose(0, 1)
    if layout == "one sequence":
        return x[:, 0]
    if layout == "packed":
        return pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    if layout == "packed, sorted":
        return pack_padded_sequence(x, LENGTHS.sort(descending=True).values)
    return x


def start(layer, layout):
    """A state to start from, which wants its gradient."""
    places = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or HIDDEN, HIDDEN] if isinstance(layer, (nn.LSTM, ours.LSTM)) else [HIDDEN]
    batch = () if layout == "one sequence" else (B,)
    entries = tuple(torch.randn(places, *batch, width).double().requires_grad_() for width in widths)
    return entries if len(entries) > 1 else entries[0]


def tensors_of(result):
    output, state = result
    output = output.data if isinstance(output, PackedSequence) else output
    return [output, *(state if isinstance(state, tuple) else [state])]


def values_and_gradients(layer, x, hx, layout, **call):
    """What a layer gives, and the gradients of some loss of all of it."""
    leaves = [x, *layer.parameters(), *(hx if isinstance(hx, tuple) else [] if hx is None else [hx])]
    torch.manual_seed(7)  # of the dropout
    found = tensors_of(layer(laid_out(x, layout), hx, **call))
    weights = torch.Generator().manual_seed(3)
    loss = sum((torch.randn(part.shape, generator=weights) * part).sum() for part in found)
    return found, torch.autograd.grad(loss, leaves, allow_unused=True)


@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_torchs(name, layout, given):
    theirs, mine = (layer.double() for layer in pair(name, batch_first=layout == "batch first"))
    x, hx = torch.randn(T, B, INPUTS).double().requires_grad_(), start(theirs, layout) if given else None
    expected, found = (values_and_gradients(layer, x, hx, layout) for layer in (theirs, mine))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_seed_gives_the_same_layer(name):
    theirs, mine = pair(name)
    assert repr(theirs) == repr(mine).replace(", nonlinearity='relu'", "")
    assert theirs.state_dict().keys() == mine.state_dict().keys()
    torch.testing.assert_close(dict(mine.state_dict()), dict(theirs.state_dict()), rtol=0, atol=0)
    state = torch.get_rng_state()
    pair(name)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", LAYERS)
def test_weights_go_both_ways(name):
    theirs, mine = pair(name)
    other, another = pair(name, seed=1)
    another.load_state_dict(theirs.state_dict())
    other.load_state_dict(mine.state_dict())
    x = torch.randn(T, B, INPUTS)
    torch.testing.assert_close(another.eval()(x), theirs.eval()(x))
    torch.testing.assert_close(other.eval()(x), mine.eval()(x))


@pytest.mark.parametrize("name", LAYERS)
def test_conversion_copies(name):
    theirs, _ = pair(name)
    theirs.register_forward_hook(lambda layer, given, result: calls.append(type(layer)))
    calls = []
    mine = getattr(ours, LAYERS[name][0]).from_torch(theirs.eval(), cut=3)
    back = mine.to_torch()
    x = torch.randn(T, B, INPUTS)
    torch.testing.assert_close(mine(x), theirs(x))
    torch.testing.assert_close(back(x), theirs(x), rtol=0, atol=0)
    assert calls == [type(mine), type(theirs), type(back), type(theirs)]
    assert (type(back), mine.cut, mine.training) == (type(theirs), 3, False)
    assert repr(back) == repr(theirs)
    with torch.no_grad():
        mine.weight_hh_l0.zero_()
    assert theirs.weight_hh_l0.any()
    assert back.weight_hh_l0.any()


def test_the_layout_in_memory_is_torchs():
    for name in ("gru", "lstm"):
        for batch_first in (False, True):
            theirs, mine = pair(name, batch_first=batch_first)
            x = torch.randn(T, B, INPUTS)
            assert theirs(x)[0].stride() == mine(x)[0].stride()


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_copies_and_pickles(name):
    _, mine = pair(name)
    mine.set_options(cut=2, clip=0.5)
    x = torch.randn(T, B, INPUTS)
    for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert repr(twin) == repr(mine)
        assert repr(twin).endswith("cut=2, clip=0.5)")
        torch.testing.assert_close(twin(x), mine(x), rtol=0, atol=0)
        with torch.no_grad():
            twin.weight_ih_l0.zero_()
        assert mine.weight_ih_l0.any()


def test_strided_input():
    theirs, mine = (layer.double() for layer in pair("lstm"))
    x = torch.randn(INPUTS, B, 2 * T).double().permute(2, 1, 0)[::2].requires_grad_()
    torch.testing.assert_close(
        values_and_gradients(mine, x, None, "time first"), values_and_gradients(theirs, x, None, "time first")
    )


@pytest.mark.parametrize("name", LAYERS)
def test_no_steps_give_the_state_back(name):
    _, mine = pair(name)
    mine, hx = mine.double(), start(mine, "time first")
    if mine.proj_size:
        mine.set_options(cut=1)  # torch's own operator refuses
    output, state = mine(torch.randn(0, B, INPUTS).double(), hx)
    assert output.shape == (0, B, (2 if mine.bidirectional else 1) * (mine.proj_size or HIDDEN))
    torch.testing.assert_close(state, hx)


@pytest.mark.parametrize("name", LAYERS)
def test_no_sequences(name):
    for layer in pair(name):
        output, state = layer(torch.randn(T, 0, INPUTS))
        assert output.shape[:2] == (T, 0)
        assert (state[0] if isinstance(state, tuple) else state).shape[1] == 0


def test_nan_flows_through():
    for name in ("rnn", "gru", "lstm"):
        _, mine = pair(name)
        x = torch.randn(T, B, INPUTS)
        x[2, 1] = torch.nan
        output, _ = mine(x)
        assert torch.equal(output.isnan().any(2), (torch.arange(T) >= 2)[:, None] & (torch.arange(B) == 1))


def given(*shape, state=None, dtype=None):
    return lambda layer: layer(torch.randn(shape, dtype=dtype), state and tuple(torch.zeros(entry) for entry in state))


MISTAKES = {
    "rank of the input": given(2, T, B, INPUTS),
    "width of the input": given(T, B, INPUTS + 1),
    "width of one sequence": given(T, INPUTS + 1),
    "type of the input": given(T, B, INPUTS, dtype=torch.float64),
    "batch of the state": given(T, B, INPUTS, state=[(1, B + 1, HIDDEN), (1, B + 1, HIDDEN)]),
    "width of h": given(T, B, INPUTS, state=[(1, B, HIDDEN - 1), (1, B, HIDDEN)]),
    "layers of c": given(T, B, INPUTS, state=[(1, B, HIDDEN), (2, B, HIDDEN)]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_as_torch_tells_them(mistake):
    theirs, mine = pair("lstm")
    with pytest.raises((RuntimeError, ValueError)) as expected:
        MISTAKES[mistake](theirs)
    with pytest.raises(expected.type) as found:
        MISTAKES[mistake](mine)
    assert str(found.value) == str(expected.value)


def test_mistakes_that_torch_tells_badly():
    lstm, gru = ours.LSTM(INPUTS, HIDDEN), ours.GRU(INPUTS, HIDDEN)
    x = torch.randn(T, B, INPUTS)
    with pytest.raises(ArgumentError, match=r"hx: expected a tuple \(h_0, c_0\) of two tensors, got Tensor"):
        lstm(x, torch.zeros(1, B, HIDDEN))
    with pytest.raises(RuntimeError, match="hx: expected 3-D tensors for this input, got 2-D"):
        gru(x, torch.zeros(B, HIDDEN))
    with pytest.raises(RuntimeError, match="hx: expected 2-D tensors for this input, got 3-D"):
        lstm(x[:, 0], (torch.zeros(1, 1, HIDDEN), torch.zeros(1, 1, HIDDEN)))
    with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 5\), got \[1, 6\]"):
        gru(x[:, 0], torch.zeros(1, HIDDEN + 1))
    with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 4, 5\), got \[1, 1, 5\]"):
        gru(laid_out(x, "packed"), torch.zeros(1, 1, HIDDEN))
    with pytest.raises(RuntimeError, match=r"input.size.-1. must be equal to input_size. Expected 3, got 4"):
        lstm(laid_out(torch.randn(T, B, INPUTS + 1), "packed"))
    with pytest.raises(ArgumentError, match=r"layer: expected a torch.nn.GRU, got torch.nn.modules.rnn.LSTM"):
        ours.GRU.from_torch(nn.LSTM(1, 1))
    with pytest.raises(ArgumentError, match="to_torch: expected an RNN of tanh or relu, got elu"):
        ours.RNN(1, 1, nonlinearity="elu").to_torch()
    with pytest.raises(ArgumentError, match=r"nonlinearity: expected one of tanh, .*, got 'sine'"):
        ours.RNN(1, 1, nonlinearity="sine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": -1}, "cut: expected a number of steps, 1 or more, or 0 for never, got -1"),
        ({"checkpoint_every": 2.5}, "checkpoint_every: expected a number of steps, 1 or more, or 0 for never, got 2.5"),
        ({"clip": 0.0}, "clip: expected a norm > 0, got 0.0; math.inf for none"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ArgumentError) as error:
        ours.LSTM(1, 1, **options)
    assert str(error.value) == message


# What torch does not have.

OPTIONS = {"cut": {"cut": 4}, "clip": {"clip": 0.1}, "cut and clip": {"cut": 2, "clip": 0.1}}


def in_chunks(layer, x, lengths):
    """A layer over stretches of a sequence, whose states are detached in between, as everybody does it by hand."""
    state, outputs = None, []
    for chunk in x.split(lengths):
        output, state = layer(chunk, state)
        outputs.append(output)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
    return torch.cat(outputs)


@pytest.mark.parametrize("name", ["rnn stacked", "gru", "lstm", "lstm projected"])
def test_a_cut_is_what_detaching_is(name):
    kind, options = LAYERS[name]
    layer = getattr(ours, kind)(INPUTS, HIDDEN, **options).double()
    x, weights = torch.randn(11, B, INPUTS).double(), None
    gradients = []
    for cut, run in ((0, lambda: in_chunks(layer, x, 4)), (4, lambda: layer(x)[0])):
        output = run() if layer.set_options(cut=cut) else None
        weights = torch.randn_like(output) if weights is None else weights
        gradients.append(torch.autograd.grad((output * weights).sum(), list(layer.parameters())))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["rnn", "gru stacked, bidirectional", "lstm", "lstm projected"])
def test_resets_make_sequences_of_their_own(name):
    kind, options = LAYERS[name]
    layer = getattr(ours, kind)(INPUTS, HIDDEN, **options | {"num_layers": 1, "bidirectional": False}).double()
    x = torch.randn(T, B, INPUTS).double().requires_grad_()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2], resets[5] = True, True
    whole, _ = layer(x, resets=resets)
    parts = torch.cat([layer(part)[0] for part in x.split([2, 3, 1])])
    torch.testing.assert_close(whole, parts)
    weights = torch.randn_like(whole)
    leaves = [x, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((whole * weights).sum(), leaves), torch.autograd.grad((parts * weights).sum(), leaves)
    )


@pytest.mark.parametrize("layout", ["batch first", "one sequence", "packed"])
def test_resets_lie_as_the_input_does(layout):
    layer = ours.GRU(INPUTS, HIDDEN, bidirectional=True, batch_first=layout == "batch first").double()
    x, resets = torch.randn(T, B, INPUTS).double(), torch.rand(T, B) < 0.4
    found, _ = layer(laid_out(x, layout), resets=laid_out(resets, layout))
    if layout == "packed":
        found, _ = pad_packed_sequence(found)
    layer.batch_first = False
    for b, length in enumerate(LENGTHS if layout == "packed" else [T] if layout == "one sequence" else [T] * B):
        expected, _ = layer(x[:length, b], resets=resets[:length, b])
        of_b = {"batch first": lambda b: found[b], "one sequence": lambda b: found, "packed": lambda b: found[:, b]}
        torch.testing.assert_close(of_b[layout](b)[:length], expected)


@pytest.mark.parametrize("activation", ["leaky_relu", "prelu", "elu", "selu", "sigmoid", "identity"])
def test_activations_that_torchs_rnn_does_not_have(activation):
    layer = ours.RNN(INPUTS, HIDDEN, 2, activation, bidirectional=True).double()
    f = {"prelu": lambda a, slope: nn.functional.prelu(a, slope), "identity": lambda a, _: a}.get(
        activation, lambda a, _: getattr(torch.nn.functional, activation)(a)
    )
    x = torch.randn(T, B, INPUTS).double()
    found, _ = layer(x)
    for number in range(2):
        sides = []
        for suffix in ("", "_reverse"):
            w_ih, w_hh, b_ih, b_hh = (
                getattr(layer, f"{kind}_l{number}{suffix}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            slope = getattr(layer, f"slope_l{number}{suffix}", None)
            h, states = torch.zeros(B, HIDDEN).double(), []
            for step in x.flip(0) if suffix else x:
                h = f(step @ w_ih.T + b_ih + h @ w_hh.T + b_hh, slope)
                states.append(h)
            sides.append(torch.stack(states[::-1] if suffix else states))
        x = torch.cat(sides, 2)
    torch.testing.assert_close(found, x)
    expected, gradients = (
        torch.autograd.grad(output.square().sum(), list(layer.parameters())) for output in (x, found)
    )
    torch.testing.assert_close(gradients, expected)


def test_prelu_starts_as_torchs_and_is_kept_with_the_weights():
    layer = ours.RNN(INPUTS, HIDDEN, 2, "prelu")
    assert [layer.slope_l0.item(), layer.slope_l1.item()] == [0.25, 0.25]
    with torch.no_grad():
        layer.slope_l0.fill_(0.5)
    twin = ours.RNN(INPUTS, HIDDEN, 2, "prelu")
    twin.load_state_dict(layer.state_dict())
    assert twin.slope_l0.item() == 0.5
    layer.reset_parameters()
    assert layer.slope_l0.item() == 0.25
    assert repr(layer) == "RNN(3, 5, num_layers=2, nonlinearity='prelu')"


# What surrounds a layer.


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layout", ["time first", "packed"])
@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_gives_the_types_that_torch_gives(name, layout, given, dtype):
    theirs, mine = pair(name)
    x = torch.randn(T, B, INPUTS, dtype=dtype)
    h = torch.zeros(1, B, HIDDEN)
    hx = None if not given else (h, h) if name == "lstm" else h
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = (tensors_of(layer(laid_out(x, layout), hx)) for layer in (theirs, mine))
    assert [part.dtype for part in found] == [part.dtype for part in expected]
    with torch.autocast("cpu", torch.bfloat16):  # and so do the gradients of a loss taken in there
        tensors_of(mine(laid_out(x, layout), hx))[0].float().square().sum().backward()
    assert mine.weight_hh_l0.grad.dtype == torch.float32
    exact = [part.float() for part in tensors_of(mine(laid_out(x.float(), layout), hx))]
    torch.testing.assert_close([part.float() for part in found], exact, rtol=2**-8, atol=1e-6)  # rounded once


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_half_types_are_kept(name):
    _, mine = pair(name)
    x = torch.randn(T, B, INPUTS)
    found = tensors_of(mine.bfloat16()(x.bfloat16()))
    assert {part.dtype for part in found} == {torch.bfloat16}


def test_parametrized_weights_are_followed():
    theirs, mine = (layer.double() for layer in pair("gru without bias"))
    x = torch.randn(T, B, INPUTS).double()
    for layer in (theirs, mine):
        torch.manual_seed(0)
        parametrizations.weight_norm(layer, "weight_hh_l0")
        layer.parametrizations.weight_hh_l0.original0.data.mul_(1.7)
    found, expected = (values_and_gradients(layer, x.requires_grad_(), None, "time first") for layer in (mine, theirs))
    torch.testing.assert_close(found, expected)


def test_functional_call_uses_the_weights_it_is_given():
    theirs, mine = (layer.double() for layer in pair("lstm"))
    x, weights = torch.randn(T, B, INPUTS).double(), {k: 2 * v for k, v in theirs.state_dict().items()}
    torch.testing.assert_close(
        torch.func.functional_call(mine, weights, (x,)), torch.func.functional_call(theirs, weights, (x,))
    )
    torch.testing.assert_close(mine(x), theirs(x))


@pytest.mark.parametrize("name", ["rnn", "gru stacked, bidirectional", "lstm"])
def test_twice_gives_the_same_bits(name):
    _, mine = pair(name)
    x = torch.randn(T, B, INPUTS).requires_grad_()
    first, second = (values_and_gradients(mine, x, None, "time first") for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERS)
def test_other_devices_are_torchs_own(name):
    theirs, mine = pair(name, device="meta")
    for layout in LAYOUTS[:3]:
        x = torch.randn(T, B, INPUTS, device="meta")
        expected, found = (tensors_of(layer(laid_out(x, layout))) for layer in (theirs, mine))
        assert [(part.shape, part.stride(), part.device) for part in found] == [
            (part.shape, part.stride(), part.device) for part in expected
        ]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_scripting_gives_torchs_layer():
    _, mine = pair("lstm")
    x = torch.randn(T, B, INPUTS)
    torch.testing.assert_close(torch.jit.script(nn.Sequential(mine))(x), mine(x))


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_an_ensemble_maps_over_its_weights(kind, steps):
    members = [getattr(ours, kind)(INPUTS, HIDDEN).double() for _ in range(3)]
    weights, _ = torch.func.stack_module_state(members)  # pyright: ignore[reportArgumentType]
    x = torch.randn(steps, B, INPUTS).double()

    def loss(weights):
        return torch.func.functional_call(members[0], weights, (x,))[0].square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss))(weights)
    for number, member in enumerate(members):
        expected = torch.autograd.grad(member(x)[0].square().sum(), list(member.parameters()))
        found = [gradients[name][number] for name, _ in member.named_parameters()]
        torch.testing.assert_close(found, list(expected))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward mode
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_derivatives_forward_and_twice(kind, steps):
    layer, x = getattr(ours, kind)(2, 3).double(), torch.randn(steps, 2, 2).double().requires_grad_()

    def run(x):
        return layer(x)[0]

    torch.autograd.gradgradcheck(run, x)
    along = torch.randn_like(x)
    _, tangent = torch.func.jvp(run, (x,), (along,))
    step = 1e-6
    torch.testing.assert_close(
        tangent, (run(x + step * along) - run(x - step * along)) / (2 * step), rtol=1e-6, atol=1e-8
    )
