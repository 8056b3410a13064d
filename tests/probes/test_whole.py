"""Reach and need of whole models, against Jacobians written out in full."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.probes.test_tails import naive
from torch import nn
from torch.utils.checkpoint import checkpoint

import longreach
from longreach.nn import cells
from longreach.probes import observe, reach
from longreach.probes.samples import LayerKey
from longreach.probes.whole import Whole
from longreach.watching import Watch

T, B = 24, 8


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No other probe: what is measured here is one."""
    monkeypatch.setattr(observe, "PROBES", (Whole,))


class Embedded(nn.Module):
    """Token ids, an embedding, a body that sees (row, time, feature), one output a step."""

    def __init__(self, body):
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(11, 6), body, nn.Linear(6, 1)

    def after(self, vectors):
        return self.head(self.body(vectors))

    def forward(self, ids):
        return self.after(self.embed(ids))


class Numbers(Embedded):
    """The same on numbers, which enter through the body itself."""

    def forward(self, x):
        return self.after(x)


class Attention(nn.Module):
    """Causal self-attention by hand, and the stream beside it."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return x + F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Dilated(nn.Module):
    """Causal convolutions of two taps; four steps back, in three layers 1, 2, 4: seven."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(6, 6, 2, dilation=d) for d in (1, 2, 4))

    def forward(self, x):
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = torch.tanh(layer(F.pad(x, (layer.dilation[0], 0))))
        return x.transpose(1, 2)


class Spectral(nn.Module):
    """A diagonal linear recurrence as a convolution by Fourier transform, without a single module."""

    def __init__(self, rate=0.7):
        super().__init__()
        self.rate, self.B = nn.Parameter(torch.full((6,), rate)), nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        kernel = self.rate[:, None] ** torch.arange(x.shape[1], dtype=x.dtype)
        u = (x @ self.B).transpose(1, 2)
        size = 2 * x.shape[1]
        return torch.fft.irfft(torch.fft.rfft(u, n=size) * torch.fft.rfft(kernel, n=size), n=size)[
            ..., : x.shape[1]
        ].transpose(1, 2)


class Sums(nn.Module):
    """A cumulative sum: nothing fades."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, x):
        return self.mix(x).cumsum(dim=1)


class Doubling(nn.Module):
    """h_t = a_t h_{t-1} + b_t by an associative scan in log2 T sweeps."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Linear(6, 12)

    def forward(self, x):
        a, b = self.gates(x).chunk(2, dim=-1)
        a, shift = torch.sigmoid(a), 1
        while shift < x.shape[1]:
            b = b + a * F.pad(b, (0, 0, shift, 0))[:, : x.shape[1]]
            a = a * F.pad(a, (0, 0, shift, 0), value=1.0)[:, : x.shape[1]]
            shift *= 2
        return b


class Hybrid(nn.Module):
    """A recurrent layer, and attention over its states."""

    def __init__(self):
        super().__init__()
        self.rnn, self.attention = nn.RNN(6, 6, batch_first=True), Attention()

    def forward(self, x):
        return self.attention(self.rnn(x)[0])


BODIES = [Attention, Dilated, Spectral, Sums, Doubling, Hybrid]


def watched(model, batches, loss=lambda y: y.square().mean(), **options):
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with Watch(model, optimizer, budget=1.0, **options) as watch:
        for x in batches:
            optimizer.zero_grad()
            loss(model(x)).backward()
            optimizer.step()
    return watch


def curves(watch):
    return {(key.module, key.direction): found for key, found in watch.store.curves().items() if key.whole}


def reaches(watch):
    """(direction, reach, horizon) of the whole models."""
    pooled = {at: reach.pool(found) for at, found in curves(watch).items()}
    return [(direction, found.lag, found.horizon) for (_, direction), found in pooled.items()]


def brute_force(after, embedded):
    """gain(k) from the whole Jacobian of the last step's one output."""
    rows = range(len(embedded)) if len(embedded) < 4 else np.arange(len(embedded) // 2) * 2
    sizes = []
    for row in rows:
        jacobian = torch.func.jacrev(lambda x: after(x[None])[0, -1, 0])(embedded[row])
        sizes.append(jacobian.norm(dim=1).detach().numpy())
    return naive(np.array(sizes), [embedded.shape[1] - 1] * len(sizes))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_gain_from_token_ids_agrees_with_the_whole_jacobian(body):
    model = Embedded(body()).double()
    ids = torch.randint(11, (B, T))
    gain = brute_force(model.after, model.embed(ids).detach())
    watch = watched(model, [ids])
    found = curves(watch)
    assert list(found) == [("embedded", "forward")]
    (curve,) = found["embedded", "forward"]
    with np.errstate(divide="ignore"):
        assert curve.log_gain == pytest.approx(np.log(gain)[list(curve.lags)], rel=1e-6, abs=1e-6)
    # one output: the error has the same direction as any other vector
    assert curve.log_signal == pytest.approx(curve.log_gain, rel=1e-6, abs=1e-6)
    assert not watch.store.notes()


@pytest.mark.parametrize("body", [Dilated, Spectral, Doubling, Hybrid], ids=lambda body: body.__name__)
def test_gain_from_numbers_agrees_also_where_the_first_module_mixes_steps(body):
    """Spectral multiplies by parameters itself, Dilated begins with a convolution and Hybrid with a recurrent layer."""
    model = Numbers(body()).double()
    x = torch.randn(B, T, 6, dtype=torch.float64)
    mixed = nn.Linear(6, 6).double()  # Doubling begins with a linear layer: what that gives stands for the steps
    gain = brute_force(model.after, x) if body is not Doubling else None
    if body is Doubling:
        model.body.gates, gates = nn.Sequential(mixed, model.body.gates), model.body.gates
        inner = Doubling()
        inner.gates = gates
        gain = brute_force(lambda vectors: model.head(inner(vectors)), mixed(x).detach())
    (curve,) = curves(watched(model, [x]))["numbers", "forward"]
    with np.errstate(divide="ignore"):
        assert curve.log_gain == pytest.approx(np.log(gain)[list(curve.lags)], rel=1e-6, abs=1e-6)


def test_a_linear_recurrence_fades_as_its_rate_says():
    model = Numbers(Spectral(0.5)).double()
    (layer,) = watched(model, [torch.randn(B, 100, 6, dtype=torch.float64)]).record().layers
    lags = np.array(layer.reach.lags[:25])
    # a Fourier transform rounds a share of its largest number off each of them, and 0.5 ** lag is small beside that
    rounded = 64 * np.finfo(float).eps / 0.5**lags
    assert (np.abs(np.array(layer.reach.log_gain)[:25] - lags * np.log(0.5)) <= rounded).all()
    assert layer.reach.lag == 6  # 0.5 ** 6 is 0.016
    assert (layer.module, layer.kind, layer.hidden, layer.whole) == ("numbers", "Numbers", 1, True)


def test_a_receptive_field_is_read_to_the_step_whatever_the_grid_of_lags():
    for dilations, steps in (((1, 2, 4, 8, 16), 31), ((1, 3, 9, 9), 22)):
        model = nn.Sequential(*(nn.Conv1d(5, 5, 2, dilation=d) for d in dilations))
        assert reaches(watched(model, [torch.randn(B, 5, 60)] * 2)) == [("forward", steps, 59)]


# ---- axes


class Laid(nn.Module):
    """A convolution over three steps between an input and an output of any layout."""

    def __init__(self, arrive, leave):
        super().__init__()
        self.mix, self.arrive, self.leave = nn.Conv1d(4, 5, 3, padding=2), arrive, leave

    def forward(self, x):
        y = self.mix(self.arrive(x))[..., :-2]  # (row, feature, time)
        return self.leave(y)


OUTPUTS = {
    "row, time, feature": lambda y: y.transpose(1, 2),
    "time, row, feature": lambda y: y.permute(2, 0, 1),
    "row, feature, time": lambda y: y,
    "row·time, feature": lambda y: y.transpose(1, 2).reshape(-1, 5),
    "time·row, feature": lambda y: y.permute(2, 0, 1).reshape(-1, 5),
    "row, feature": lambda y: y[:, :, -1],
    "row, time": lambda y: y[:, 0],
    "row": lambda y: y[:, 0, -1],
}


@pytest.mark.parametrize("size", [(6, 20), (17, 17), (4, 16)], ids=str)
@pytest.mark.parametrize("leave", OUTPUTS, ids=str)
@pytest.mark.parametrize("arrive", ["row, time", "time, row"])
def test_rows_and_time_are_told_apart_by_who_influences_whom(arrive, leave, size):
    rows, steps = size
    turned = arrive == "time, row"
    embed = nn.Embedding(7, 4)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = embed
            self.laid = Laid(
                (lambda v: v.permute(1, 2, 0)) if turned else (lambda v: v.transpose(1, 2)), OUTPUTS[leave]
            )

        def forward(self, ids):
            return self.laid(self.embed(ids))

    ids = torch.randint(7, (steps, rows) if turned else (rows, steps))
    assert reaches(watched(Model(), [ids])) == [("forward", 2, steps - 1)]


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (0, 2, 1)], ids=str)
def test_rows_and_time_of_numbers_that_enter_in_a_module_of_the_users_own(axes):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))

        def forward(self, x):
            x = x.permute(*(axes.index(axis) for axis in range(3)))  # (row, time, feature)
            return ((x + F.pad(x, (0, 0, 2, 0))[:, :-2]) * self.weight[0]).sum(dim=2, keepdim=True)

    x = torch.randn(6, 20, 4).permute(*axes).contiguous()
    assert reaches(watched(Own(), [x])) == [("forward", 2, 19)]


def test_steps_are_counted_in_the_input_where_fewer_leave():
    model = nn.Sequential(nn.Conv1d(4, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 1))
    # the last output sees the steps 37, 38 and 39
    assert reaches(watched(model, [torch.randn(B, 4, 40)])) == [("forward", 2, 39)]


def test_what_looks_ahead_has_a_second_direction():
    model = nn.Sequential(nn.Conv1d(4, 4, 9, padding=4), nn.ReLU(), nn.Conv1d(4, 2, 3, padding=1))
    assert reaches(watched(model, [torch.randn(B, 4, 40)])) == [("forward", 5, 39), ("reverse", 5, 39)]


@pytest.mark.parametrize("seed", range(3))
def test_batch_norm_ties_rows_but_carries_nothing(seed):
    torch.manual_seed(seed)
    layers = [(nn.ConstantPad1d((d, 0), 0.0), nn.Conv1d(5, 5, 2, dilation=d), nn.BatchNorm1d(5)) for d in (1, 2, 4)]
    model = nn.Sequential(*(part for parts in layers for part in parts))
    assert [found[:2] for found in reaches(watched(model, [torch.randn(32, 5, 60)] * 2))] == [("forward", 7)]


# ---- what is kept out, and what hybrids say


def test_a_model_that_is_its_recurrent_layer_is_told_of_once():
    model = Embedded(nn.Identity())
    model.body = nn.LSTM(6, 6, batch_first=True)
    model.after = lambda vectors: model.head(model.body(vectors)[0])
    (layer,) = watched(model, [torch.randint(11, (B, T)) for _ in range(8)]).record().layers
    assert (layer.module, layer.whole) == ("body", False)


def test_attention_over_states_reaches_farther_than_they_do():
    torch.manual_seed(1)
    layers = watched(Numbers(Hybrid()), [torch.randn(B, 60, 6) for _ in range(3)]).record().layers
    whole, rnn = sorted(layers, key=lambda layer: not layer.whole)
    assert (whole.module, rnn.module) == ("numbers", "body.rnn")
    assert whole.reach.lag == 59
    assert rnn.reach.lag < 20


def test_nothing_is_said_of_models_in_which_no_step_sees_another():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert watched(model, [torch.randn(B, T, 4)] * 3).record().layers == ()


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(B, 4)),
        (nn.Sequential(nn.Flatten(), nn.Linear(T * 4, 2)), torch.randn(B, T, 4)),
        (nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.LazyLinear(2)), torch.randn(B, 1, 9, 9)),
        (nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(60, 2)), torch.randn(B, 15, 4)),
    ],
    ids=["mlp", "flattened", "image", "nodes"],
)
def test_nothing_is_said_of_what_is_no_sequence_model(model, x):
    model(x)
    watch = watched(model, [x] * 3)
    assert watch.record().layers == ()
    assert not watch.store.notes()


@pytest.mark.parametrize("layer", [longreach.nn.Recurrent(cells.LRU, 4, 4), longreach.nn.GRU(4, 4)])
def test_layers_that_cannot_be_replayed_are_read_through_the_model(layer):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = layer, nn.Linear(4, 1)

        def forward(self, x):
            return self.head(self.layer(x, resets=torch.zeros(T, B, dtype=torch.bool))[0])

    watch = watched(Model(), [torch.randn(T, B, 4)] * 2)
    (found,) = watch.record().layers
    assert found.whole
    assert found.reach.horizon == T - 1
    (note,) = watch.store.notes()
    assert note.startswith("a layer that is given resets cannot be replayed")


# ---- need


@pytest.mark.parametrize("numbers", [True, False])
def test_what_a_short_receptive_field_misses_is_needed_and_named(numbers):
    """The label is what stood 10 steps back; three taps of kernel 2 see 7."""
    model = Numbers(Dilated()) if numbers else Embedded(Dilated())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        for _ in range(24):
            x = torch.randn(64, T, 6) if numbers else torch.randint(11, (64, T))
            far = x[:, -11, 0] if numbers else (x[:, -11] > 5).float() * 2 - 1
            optimizer.zero_grad()
            (model(x)[:, -1, 0] - far).square().mean().backward()
            optimizer.step()
    (layer,) = watch.record().layers
    assert (layer.reach.lag, layer.need.lag, layer.need.tokens) == (7, 10, not numbers)
    assert watch.diagnose().verdict == "vanishing-in-time"


def test_pairs_are_the_inputs_and_the_errors_of_the_output():
    model = Embedded(Attention())
    batches = [torch.randint(11, (B, T)) for _ in range(3)]
    watch = watched(model, batches, loss=lambda y: y[:, -1].sum())
    pairs = watch.store.pairs("embedded", "forward")
    assert [pair.step for pair in pairs] == [0, 1, 2]
    for pair, ids in zip(pairs, batches, strict=True):
        assert pair.tokens
        assert np.array_equal(pair.inputs[:, :, 0], ids.numpy())
        assert not pair.errors[:, :-1].any()
        assert np.abs(pair.errors[:, -1, 0]) == pytest.approx(np.ones(B), rel=1e-5)


def test_a_large_vocabulary_is_read_at_its_largest_errors():
    class Vocabulary(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body, self.head = nn.Embedding(500, 6), Sums(), nn.Linear(6, 500)

        def forward(self, ids):
            return self.head(self.body(self.embed(ids)))

    def loss(logits):
        return F.cross_entropy(logits.flatten(0, 1), torch.randint(500, (B * T,)))

    watch = watched(Vocabulary(), [torch.randint(500, (B, T))] * 2, loss=loss)
    (pair, _) = watch.store.pairs("vocabulary", "forward")
    assert pair.errors.shape[:2] == (B, T)
    assert np.isfinite(pair.errors).all()


# ---- the script is none the wiser

GLOBAL, OWN = np.random.default_rng(0), random.Random(0)


class Odd(nn.Module):
    """Draws from every source of chance, counts, keeps a cache, and writes into what it is given."""

    def __init__(self):
        super().__init__()
        self.weight, self.drop, self.norm = nn.Parameter(torch.randn(4, 4)), nn.Dropout(0.3), nn.BatchNorm1d(4)
        self.register_buffer("seen", torch.zeros(()))
        self.calls, self.cache = 0, []

    def forward(self, x):
        x *= 1.0 + 0.1 * OWN.random() * GLOBAL.random() * float(np.random.rand())  # noqa: NPY002
        self.calls += 1
        self.seen += 1
        self.cache = [*self.cache[-3:], x.detach().mean().item()]
        y = self.drop(x @ self.weight).cumsum(dim=1) / (1 + self.calls)
        return self.norm(y.transpose(1, 2)).transpose(1, 2)


def run(make, batch, watch, steps=12):
    global GLOBAL, OWN
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    GLOBAL, OWN = np.random.default_rng(0), random.Random(0)  # not Python's own: what checks annotations draws from it
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []

    def loop():
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(batch()).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    found = None
    if watch:
        with longreach.watch(model, optimizer, budget=1.0) as found:
            loop()
        assert [key for key in found.store.curves() if key.whole]
        assert not [note for note in found.store.notes() if "stopped" in note or "followed" in note]
    else:
        loop()
    chance = torch.rand(1).item(), OWN.random(), GLOBAL.random(), np.random.rand()  # noqa: NPY002
    return losses, [p.detach().clone() for p in [*model.parameters(), *model.buffers()]], chance, model


def transformer():
    layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.2, batch_first=True)
    return Embedded(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (Odd, lambda: torch.randn(B, T, 4)),
        (transformer, lambda: torch.randint(11, (B, T))),
        (lambda: nn.Sequential(nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.2)), lambda: torch.randn(B, 4, T)),
    ],
    ids=["odd", "transformer", "convolution"],
)
def test_training_is_the_same_to_the_last_bit(make, batch):
    plain, seen = run(make, batch, False), run(make, batch, True)
    assert plain[0] == seen[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], seen[1], strict=True))
    assert plain[2] == seen[2]
    if make is Odd:
        assert (seen[3].calls, seen[3].cache) == (plain[3].calls, plain[3].cache)


def test_hooks_of_the_script_see_their_own_calls_alone():
    model = Numbers(Spectral())
    told = []
    model.register_forward_hook(lambda *_: told.append("forward"))
    model.head.register_full_backward_hook(lambda *_: told.append("backward"))
    watched(model, [torch.randn(B, T, 6) for _ in range(3)])
    assert told == ["forward", "backward"] * 3


LOG = []


class Loud(Spectral):
    """Keeps books outside of itself: it must not run once more."""

    def forward(self, x):
        LOG.append(len(x))
        return super().forward(x)


def test_a_module_that_would_be_noticed_is_not_run_once_more():
    LOG.clear()
    watch = watched(Numbers(Loud()), [torch.randn(B, T, 6) for _ in range(3)])
    assert LOG == [B] * 3
    assert watch.store.notes() == [
        "reach and need of the whole model were not measured: its input enters in Loud, which would have to run once "
        "more, and that would be noticed"
    ]


def test_a_checkpointed_block_is_not_computed_again():
    calls = []

    class Checkpointed(Sums):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    class Model(Embedded):
        def after(self, vectors):
            return self.head(checkpoint(self.body, vectors, use_reentrant=False))

    watch = watched(Model(Checkpointed()), [torch.randint(11, (B, T))] * 2)
    assert len(calls) == 4
    assert [note.split(":")[0] for note in watch.store.notes()] == [
        "parts of the model are computed again in the backward pass (torch.utils.checkpoint, or saved tensors packed "
        "by hooks)"
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_trains_on_and_is_told_of():
    model = Embedded(Sums())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        fast = torch.compile(model, backend="eager")
        for _ in range(3):
            optimizer.zero_grad()
            fast(torch.randint(11, (B, T))).square().mean().backward()
            optimizer.step()
    assert watch.steps == 3
    assert any("compiled" in note for note in watch.store.notes())
    assert not watch.store.curves()


# ---- the ways people write models


class GivesItsLoss(Embedded):
    """As small language models do: (logits, loss), or the loss alone."""

    def __init__(self, alone):
        super().__init__(Dilated())
        self.alone = alone

    def forward(self, ids):
        logits = super().forward(ids)
        loss = logits.square().mean()
        return loss if self.alone else {"loss": loss, "logits": logits}


@pytest.mark.parametrize("alone", [True, False])
def test_models_that_return_their_loss(alone):
    model = GivesItsLoss(alone)
    watch = watched(model, [torch.randint(11, (B, T))] * 2, loss=lambda y: y if alone else y["loss"])
    (layer,) = watch.record().layers
    assert (layer.module, layer.kind, layer.reach.lag) == ("givesitsloss", "GivesItsLoss", 7)


def test_modules_that_the_script_puts_together_are_one_model():
    embed, body, head = nn.Embedding(11, 6), Dilated(), nn.Linear(6, 1)
    optimizer = torch.optim.SGD([*embed.parameters(), *body.parameters(), *head.parameters()], 0.1)
    with Watch(optimizer=optimizer, budget=1.0) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            head(body(embed(torch.randint(11, (B, T))))).square().mean().backward()
            optimizer.step()
    (layer,) = watch.record().layers
    assert (layer.module, layer.kind, layer.reach.lag) == ("model", "several modules", 7)


def test_positions_added_to_numbers_ahead_of_the_first_module():
    class Positioned(Numbers):
        def __init__(self):
            super().__init__(Dilated())
            self.positions = nn.Parameter(torch.randn(T, 6))

        def forward(self, x):
            return self.after(x + self.positions)

    watch = watched(Positioned(), [torch.randn(B, T, 6)] * 2)
    (layer,) = watch.record().layers
    assert layer.reach.lag == 7
    assert watch.store.pairs("positioned", "forward")[0].inputs.shape == (B, T, 6)


def test_two_convolutions_that_read_the_same_numbers_add_up():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.long, self.short = nn.Conv1d(4, 1, 5, padding=4), nn.Conv1d(4, 1, 1)

        def forward(self, x):
            return self.long(x)[..., :-4] + self.short(x)

    model = Residual().double()
    x = torch.randn(B, 4, T, dtype=torch.float64)
    gain = brute_force(lambda v: model(v.transpose(1, 2)).transpose(1, 2), x.transpose(1, 2))
    (curve,) = curves(watched(model, [x]))["residual", "forward"]
    with np.errstate(divide="ignore"):
        assert curve.log_gain == pytest.approx(np.log(gain)[list(curve.lags)], rel=1e-6, abs=1e-6)


def test_a_convolution_of_padded_numbers_and_a_shortcut_beside_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.long, self.short = nn.Conv1d(4, 6, 5), nn.Conv1d(4, 6, 1)

        def forward(self, x):
            return self.long(F.pad(x, (4, 0))) + self.short(x)

    assert reaches(watched(Block(), [torch.randn(B, 4, T)])) == [("forward", 4, T - 1)]


def test_numbers_that_begin_with_zeros():
    x = torch.randn(B, T, 6)
    x[:, :4] = 0
    assert [found[0] for found in reaches(watched(Numbers(Spectral()), [x]))] == ["forward"]


def test_old_weight_norm_and_frozen_embeddings():
    with pytest.warns(FutureWarning):
        convolution = nn.utils.weight_norm(nn.Conv1d(6, 6, 3))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix = nn.Embedding(11, 6).requires_grad_(False), convolution

        def forward(self, ids):
            return self.mix(self.embed(ids).transpose(1, 2))

    watch = watched(Model(), [torch.randint(11, (B, T))] * 2)
    assert [layer.reach.lag for layer in watch.record().layers] == [2]
    assert not watch.store.notes()


def test_models_trained_in_turn_each_have_their_own_picture():
    first, second = Embedded(Dilated()), Embedded(Sums())
    optimizers = [torch.optim.SGD(model.parameters(), 0.1) for model in (first, second)]
    with Watch(budget=1.0) as watch:
        for step in range(24):
            optimizers[step % 2].zero_grad()
            (first, second)[step % 2](torch.randint(11, (B, T))).square().mean().backward()
            optimizers[step % 2].step()
    assert {layer.module: layer.reach.lag for layer in watch.record().layers} == {"embedded": 7, "embedded2": T - 1}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(dtype):
    model = Numbers(Dilated())

    def loss(y):
        return y.float().square().mean()

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watch(model, optimizer, budget=1.0) as watch:
        for _ in range(2):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                y = model(torch.randn(B, T, 6))
            loss(y).backward()
            optimizer.step()
    assert [layer.reach.lag for layer in watch.record().layers] == [7]
    assert not watch.store.notes()


def test_keys_of_older_stores_are_those_of_layers():
    assert LayerKey("rnn", "GRU", 0, "forward", 8).whole is False
