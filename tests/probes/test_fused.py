"""gain and signal of the fused layers against the naive unrolled twin in float64, and against theory."""

import math

import pytest
import torch
from tests.unrolled import unroll
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import longreach.nn as ours
from longreach.probes import fused, loop
from longreach.probes.reach import growth_of, pool, reach_of
from longreach.watching import Watch

T, B, INPUTS, HIDDEN = 23, 5, 3, 4
KINDS = {
    "rnn": (nn.RNN, {}),
    "rnn relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
    "lstm projected": (nn.LSTM, {"proj_size": 2}),
    "gru without bias": (nn.GRU, {"bias": False}),
    "rnn stacked": (nn.RNN, {"num_layers": 3}),
    "lstm stacked": (nn.LSTM, {"num_layers": 2}),
    "gru bidirectional": (nn.GRU, {"bidirectional": True}),
    "lstm stacked, bidirectional, projected": (nn.LSTM, {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    "our lstm stacked, bidirectional": (ours.LSTM, {"num_layers": 2, "bidirectional": True}),
    "our rnn elu": (ours.RNN, {"nonlinearity": "elu"}),
    "our rnn prelu without bias": (ours.RNN, {"nonlinearity": "prelu", "bias": False}),
}


@pytest.fixture(autouse=True)
def _known_direction(monkeypatch):
    """v is drawn at random; here it is a row of ones, so that the twin can use the same."""
    for module in (fused, loop):
        monkeypatch.setattr(module, "sphere", lambda like, _: tuple(torch.ones_like(part) for part in like))


def watched(module, forward):
    """Curves per (layer, direction) of one forward and backward pass of `forward()`, a loss."""
    with Watch(module) as watch:
        loss = forward()
        loss.backward()
        watch.step(loss)
    assert not watch.store.notes()
    return {(key.index, key.direction): curves[0] for key, curves in watch.store.curves().items()}


def build(kind, **more):
    cls, options = KINDS[kind]
    module = cls(INPUTS, HIDDEN, **options, **more).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.6)
    return module


def expected(place, anchor, lags, error):
    """ln of the mean-free medians over rows: gain from a row of ones, signal from the error."""
    ones = tuple(torch.ones_like(part) for part in place.states[anchor])
    seed = (error, *(torch.zeros_like(part) for part in place.states[anchor][1:]))
    size = torch.cat(ones, -1).norm(dim=-1)
    gain = [place.sent_back(anchor, lag, ones) / size for lag in lags]
    signal = [place.sent_back(anchor, lag, seed) / error.norm(dim=-1) for lag in lags]
    return [[float(row.double().log().quantile(0.5)) for row in curve] for curve in (gain, signal)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_and_direction_agrees_with_the_unrolled_twin(kind):
    module = build(kind)
    x, weight = torch.randn(T, B, INPUTS).double(), torch.randn(B, HIDDEN * 4).double()
    curves = watched(module, lambda: (module(x)[0].mean(0) * weight[:, : module(x)[0].shape[2]]).sum())
    places, output = unroll(module, x)
    upward = [
        torch.autograd.grad((output.mean(0) * weight[:, : output.shape[2]]).sum(), p.upward, retain_graph=True)
        for p in places
    ]
    directions = 2 if module.bidirectional else 1
    assert len(curves) == len(places)
    for n, place in enumerate(places):
        curve = curves[n // directions, "reverse" if n % directions else "forward"]
        gain, signal = expected(place, T - 1, curve.lags, upward[n][T - 1])
        assert curve.lags[-1] == T - 1
        assert curve.log_gain == pytest.approx(gain, abs=1e-6)  # of a logarithm: 1e-6 relative
        assert curve.log_signal == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "lstm stacked"])
@pytest.mark.parametrize("reads", ["last output", "h_n"])
def test_a_loss_on_the_last_step_is_found_through_the_output_and_through_h_n(kind, reads):
    module, x = build(kind), torch.randn(T, B, INPUTS).double()

    def loss():
        output, ended = module(x)
        last = ended[0] if module.mode == "LSTM" else ended
        return (output[-1] if reads == "last output" else last[-1]).sin().sum()

    curve = watched(module, loss)[module.num_layers - 1, "forward"]
    places, output = unroll(module, x)
    error = torch.autograd.grad(output[-1].sin().sum(), output)[0][-1]
    gain, signal = expected(places[-1], T - 1, curve.lags, error)
    assert curve.log_gain == pytest.approx(gain, abs=1e-6)
    assert curve.log_signal == pytest.approx(signal, abs=1e-6)


def test_a_loss_on_the_cell_state_alone_is_found():
    module, x = build("lstm"), torch.randn(T, B, INPUTS).double()
    curve = watched(module, lambda: module(x)[1][1].sin().sum())[0, "forward"]
    (place,), _ = unroll(module, x)
    h, c = place.states[-1]
    seed = (torch.zeros_like(h), c.detach().cos())
    signal = [
        float((place.sent_back(T - 1, lag, seed) / seed[1].norm(dim=-1)).log().quantile(0.5)) for lag in curve.lags
    ]
    assert curve.log_signal == pytest.approx(signal, abs=1e-6)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_batch_first_unbatched_and_the_users_own_start(kind):
    module = build(kind)
    x, start = torch.randn(T, B, INPUTS).double(), torch.randn(2, 1, B, HIDDEN).double()
    hx = tuple(start) if module.mode == "LSTM" else start[0]
    plain = watched(module, lambda: module(x, hx)[0][-1].sum())[0, "forward"]
    places, _ = unroll(module, x, tuple(start))
    gain, _ = expected(places[0], T - 1, plain.lags, torch.ones(B, HIDDEN).double())
    assert plain.log_gain == pytest.approx(gain, abs=1e-6)

    turned = build(kind, batch_first=True)
    turned.load_state_dict(module.state_dict())
    first = watched(turned, lambda: turned(x.transpose(0, 1), hx)[0][:, -1].sum())[0, "forward"]
    assert first.log_gain == pytest.approx(plain.log_gain, abs=1e-12)

    one = tuple(part[:, 0] for part in start) if module.mode == "LSTM" else start[0][:, 0]
    alone = watched(module, lambda: module(x[:, 0], one)[0][-1].sum())[0, "forward"]
    gain = [
        float(places[0].sent_back(T - 1, lag, tuple(torch.ones_like(p) for p in places[0].states[0]))[0].log())
        for lag in alone.lags
    ]
    norm = math.log(math.sqrt(HIDDEN * len(places[0].states[0])))
    assert alone.log_gain == pytest.approx([value - norm for value in gain], abs=1e-6)


@pytest.mark.parametrize("kind", ["gru", "lstm", "gru bidirectional"])
def test_packed_sequences_are_measured_at_each_rows_own_length(kind):
    module = build(kind)
    lengths = torch.tensor([7, 23, 12, 9, 17])
    x = torch.randn(T, B, INPUTS).double()

    def loss():
        output, _ = module(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output)[0].mean()

    curves = watched(module, loss)
    for (_, direction), curve in curves.items():
        side = 1 if direction == "reverse" else 0
        rows = []
        for row, length in enumerate(lengths.tolist()):
            place = unroll(module, x[:length, row : row + 1])[0][side]
            ones = tuple(torch.ones_like(part) for part in place.states[0])
            size = torch.cat(ones, -1).norm()
            rows.append(
                [
                    float((place.sent_back(length - 1, lag, ones) / size).log()) if lag < length else math.nan
                    for lag in curve.lags
                ]
            )
        medians = torch.tensor(rows, dtype=torch.float64).nanquantile(0.5, dim=0)
        assert curve.lags[-1] == T - 1
        assert curve.log_gain == pytest.approx(medians.tolist(), abs=1e-6)


def test_dropout_between_layers_scales_what_the_upper_layer_sees_and_leaves_the_lower_alone():
    module = build("rnn stacked", dropout=0.5)
    x = torch.randn(T, B, INPUTS).double()
    curves = watched(module, lambda: module(x)[0][-1].sum())
    (bottom, *_), _ = unroll(module, x)
    gain, _ = expected(bottom, T - 1, curves[0, "forward"].lags, torch.ones(B, HIDDEN).double())
    assert curves[0, "forward"].log_gain == pytest.approx(gain, abs=1e-6)
    laid_out = list(fused.strands(module, x, torch.full((B,), T), None, torch.Generator().manual_seed(3)))
    dropped = laid_out[1][2].inputs == 0
    assert 0.4 < dropped.double().mean() < 0.6
    kept = torch.where(dropped, laid_out[0][3] * 0, laid_out[0][3] * 2)
    torch.testing.assert_close(laid_out[1][2].inputs, kept)


@pytest.mark.parametrize("autocast", [False, True])
def test_float32_and_autocast_give_the_curve_of_the_same_weights_in_float64(autocast):
    module = build("gru").float()
    x = torch.randn(T, B, INPUTS)

    def loss():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return module(x)[0][-1].float().sum()

    curve = watched(module, loss)[0, "forward"]
    (place,), _ = unroll(module.double(), x.double())
    gain, _ = expected(place, T - 1, curve.lags, torch.ones(B, HIDDEN).double())
    assert curve.log_gain == pytest.approx(gain, abs=1e-6)


@pytest.mark.parametrize("r", [0.03, 0.5, 1.0, 1.5, 60.0])
def test_a_linear_network_matches_theory_far_beyond_the_range_of_floats(r):
    """With nothing put in, tanh stays at 0, where it is linear: W = r Q gives gain(k) = r^k exactly."""
    steps = 300
    module = nn.RNN(1, 6, bias=False).double()
    with torch.no_grad():
        module.weight_hh_l0.copy_(r * torch.linalg.qr(torch.randn(6, 6).double())[0])
    curve = watched(module, lambda: module(torch.zeros(steps, 2, 1).double())[0][-1].sum())[0, "forward"]
    truth = [lag * math.log(r) for lag in curve.lags]
    assert curve.log_gain == pytest.approx(truth, abs=1e-6)
    found = pool([curve])
    assert found.growth == pytest.approx(math.log(r), abs=1e-9)
    assert found.lag == (steps - 1 if r >= 1 else math.floor(math.log(0.01) / math.log(r)))


def test_a_gradient_that_dies_reads_minus_infinity_not_an_error():
    module = nn.RNN(1, 4, nonlinearity="relu").double()
    with torch.no_grad():
        module.bias_ih_l0.fill_(-100.0)  # every unit is off at every step
    curve = watched(module, lambda: module(torch.zeros(9, 2, 1).double())[0].sum() + module.weight_ih_l0.sum())[
        0, "forward"
    ]
    assert curve.log_gain[0] == 0
    assert set(curve.log_gain[1:]) == {-math.inf}
    assert reach_of(curve.lags, curve.log_gain) == 0
    assert growth_of(curve.lags, curve.log_gain) == -math.inf


def test_sequences_of_length_one_have_no_lag_but_zero():
    module = build("lstm")
    curve = watched(module, lambda: module(torch.randn(1, B, INPUTS).double())[0].sum())[0, "forward"]
    assert curve.lags == (0,)
    assert pool([curve]).horizon == 0


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("LSTM", "LSTM"), ("GRU", "GRU"), ("RNN_TANH", "RNN tanh"), ("RNN_LEAKY_RELU", "RNN leaky relu")],
)
def test_kinds_in_words(mode, kind):
    assert fused.kind_of(mode) == kind
