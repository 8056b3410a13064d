"""The watch attaches to a training loop, leaves no trace, and copes with the loops people write."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import optimizer as optimizers

import longreach
from longreach import remedies
from longreach.errors import ArgumentError, LongreachError
from longreach.history import history
from longreach.store import Store
from longreach.watching import Watch


class Net(nn.Module):
    def __init__(self, kind="lstm"):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU, "cell": nn.LSTMCell}[kind](8, 8)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8, 2)

    def forward(self, x):
        if isinstance(self.rnn, nn.LSTMCell):
            state = (torch.zeros(x.shape[1], 8), torch.zeros(x.shape[1], 8))
            for step in self.embed(x):
                state = self.rnn(step, state)
            return self.head(self.drop(state[0]))
        return self.head(self.drop(self.rnn(self.embed(x))[0][-1]))


def train(watched, *, kind="lstm", steps=12, optimizer=torch.optim.Adam, model=None):
    """Losses, final weights and the next random number of a small run."""
    torch.manual_seed(7)
    net = Net(kind) if model is None else model
    opt = optimizer(net.parameters(), lr=1e-2)
    losses = []

    def closure():
        x = torch.randn(10, 6, 3)
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(x), (x[-1, :, 0] > 0).long())
        loss.backward()
        losses.append(loss.item())
        return loss

    def loop():
        for _ in range(steps):
            if isinstance(opt, torch.optim.LBFGS):
                opt.step(closure)
            else:
                closure()
                opt.step()

    if watched:
        with longreach.watch(net, opt, budget=1.0) as watch:
            loop()
        assert watch.steps == steps
        assert not [note for note in watch.store.notes() if "stopped" in note]
        assert watch.store.curves()
    else:
        loop()
    return losses, [p.detach().clone() for p in net.parameters()], torch.rand(1).item()


@pytest.mark.parametrize("kind", ["lstm", "gru", "cell"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.LBFGS])
def test_watching_leaves_no_trace(kind, optimizer):
    plain, watched = (train(w, kind=kind, optimizer=optimizer) for w in (False, True))
    assert plain[0] == watched[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], watched[1], strict=True))
    assert plain[2] == watched[2]


@pytest.mark.parametrize("kind", ["lstm", "cell"])
def test_hooks_and_retained_gradients_of_the_script_see_each_backward_once(kind):
    def run(watched):
        torch.manual_seed(3)
        net, seen = Net(kind), []
        kept = []

        def look(module, arguments, result):
            kept.append(result[0])
            result[0].register_hook(lambda gradient: seen.append(gradient.clone()))
            result[0].retain_grad()

        net.head.register_full_backward_hook(lambda module, into, out_of: seen.append(into[0].clone()))
        net.rnn.register_forward_hook(look)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        with longreach.watch(net, opt, budget=1.0) if watched else contextlib.nullcontext() as watch:
            for _ in range(3):
                net(torch.randn(8, 2, 3)).square().sum().backward()
                opt.step()
        assert not watched or all(len(curves) == 3 for curves in watch.store.curves().values())
        return seen, [tensor.grad for tensor in kept]

    for plain, watched in zip(run(False), run(True), strict=True):
        assert len(plain) == len(watched)
        assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def hooks_in_the_process():
    module = nn.modules.module
    found = [module._global_forward_hooks, module._global_forward_pre_hooks, torch.autograd.backward]
    return [*map(str, found), str(optimizers._global_optimizer_pre_hooks), str(optimizers._global_optimizer_post_hooks)]


def test_nothing_is_left_after_the_block_even_if_it_raises():
    before, net = hooks_in_the_process(), Net()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)

    def crash():
        with Watch():
            net(torch.randn(5, 2, 3)).sum().backward()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    with longreach.watch(net, opt):
        net(torch.randn(5, 2, 3)).sum().backward()
        opt.step()
    assert hooks_in_the_process() == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert not opt._optimizer_step_pre_hooks
    assert not opt._optimizer_step_post_hooks


def test_gradient_accumulation_is_one_step_and_its_loss_the_mean():
    net = Net()
    opt = torch.optim.SGD(net.parameters(), lr=0.0)
    with longreach.watch(net, opt) as watch:
        for _ in range(3):
            for part in (1.0, 3.0):
                (net(torch.zeros(5, 2, 3)).sum() * 0 + part).backward()
            opt.step()
    assert watch.store.losses() == [(0, 2.0), (1, 2.0), (2, 2.0)]


def test_without_an_optimizer_steps_are_told_by_hand():
    net = Net()
    with longreach.watch(net) as watch:
        for _ in range(4):
            loss = net(torch.randn(5, 2, 3)).sum()
            loss.backward()
            watch.step(loss)
    assert watch.steps == 4
    assert len(watch.store.losses()) == 4


def test_several_optimizers_and_several_models():
    one, two = Net("lstm"), Net("gru")
    opts = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (one, two)]
    with Watch(budget=1.0) as watch:
        for _ in range(3):
            for net, opt in zip((one, two), opts, strict=True):
                opt.zero_grad()
                net(torch.randn(5, 2, 3)).sum().backward()
                opt.step()
    assert watch.steps == 6
    assert {(key.module, key.kind) for key in watch.store.curves()} == {("rnn", "LSTM"), ("net2.rnn", "GRU")}


def test_evaluation_between_steps_is_not_measured():
    net = Net()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with longreach.watch(net, opt, budget=1.0) as watch:
        for _ in range(4):
            net(torch.randn(7, 2, 3)).sum().backward()
            opt.step()
            net.eval()
            with torch.no_grad():
                net(torch.randn(50, 2, 3))
            net.train()
    assert {curve.lags[-1] for curves in watch.store.curves().values() for curve in curves} == {6}


def test_a_recurrent_layer_that_gets_no_gradient_is_left_alone():
    net = Net().requires_grad_(False)
    net.head.requires_grad_(True)
    opt = torch.optim.SGD(net.head.parameters(), lr=0.1)
    with longreach.watch(net, opt) as watch:
        for _ in range(3):
            net(torch.randn(7, 2, 3)).sum().backward()
            opt.step()
    assert watch.steps == 3
    assert watch.store.curves() == {}


@pytest.mark.parametrize("through", ["watch(model)", "run"])
def test_a_compiled_model_is_measured_where_it_is_not_compiled_and_the_rest_is_said(through):
    def run(watched):
        torch._dynamo.reset()
        torch.manual_seed(7)
        model = torch.compile(Net(), backend="eager")
        opt = torch.optim.Adam(model.parameters(), lr=1e-2)
        if watched and through == "watch(model)":
            watch = longreach.watch(model, opt).__enter__()
        losses = []
        for _ in range(3):
            x = torch.randn(10, 6, 3)
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), (x[-1, :, 0] > 0).long())
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if watched and through == "watch(model)":
            watch.__exit__(None, None, None)
            return losses, watch
        return losses, None

    plain, _ = run(False)
    if through == "run":
        with Watch() as watch:
            losses, _ = run(True)
    else:
        losses, watch = run(True)
    assert losses == plain
    assert any("torch.compile" in note for note in watch.store.notes())
    assert [key.module for key in watch.store.curves()] == ["rnn"]


def test_layers_of_ours_within_one_compiled_graph_are_left_there():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn = nn.Embedding(5, 8), longreach.nn.LSTM(8, 8)

        def forward(self, ids):
            return self.rnn(self.embed(ids))[0][-1]

    torch._dynamo.reset()
    model = Whole()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with longreach.watch(model, opt, budget=1.0) as watch:
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for _ in range(3):
            compiled(torch.randint(5, (10, 6))).square().sum().backward()
            opt.step()
    assert watch.steps == 3
    assert not watch.store.curves()
    assert any("run with TORCH_COMPILE_DISABLE=1 to see all" in note for note in watch.store.notes())


class Fused(longreach.nn.cells.Leaky):
    """A user's cell with a scan: what running it once more would do is not known."""


@pytest.mark.parametrize(
    ("layer", "resets", "told"),
    [
        (lambda: longreach.nn.GRU(3, 8), True, "a layer that is given resets cannot be replayed"),
        (lambda: longreach.nn.Recurrent(Fused, 3, 8), False, "shows none of them"),
    ],
)
def test_what_runs_and_cannot_be_measured_is_told(layer, resets, told):
    rnn = layer()
    opt = torch.optim.SGD(rnn.parameters(), lr=0.1)
    with longreach.watch(rnn, opt, budget=1.0) as watch:
        for _ in range(3):
            flags = torch.rand(10, 6) < 0.2 if resets else None
            rnn(torch.randn(10, 6, 3), resets=flags)[0].square().sum().backward()
            opt.step()
    assert not watch.store.curves()
    assert any(told in note for note in watch.store.notes())
    assert not [note for note in watch.store.notes() if "stopped" in note]


class Written(longreach.nn.Cell):
    """A user's cell: a step and nothing else."""

    def __init__(self, input_size, hidden_size, **place):
        super().__init__(hidden_size)
        self.input, self.recur = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, x, state):
        return torch.tanh(self.input(x) + self.recur(state))


def test_a_cell_that_is_called_step_by_step_is_read_as_any_loop():
    rnn = longreach.nn.Recurrent(Written, 3, 8)
    opt = torch.optim.SGD(rnn.parameters(), lr=0.1)
    with longreach.watch(rnn, opt, budget=1.0) as watch:
        for _ in range(3):
            rnn(torch.randn(10, 6, 3))[0][-1].square().sum().backward()
            opt.step()
    assert [(key.module, key.kind) for key in watch.store.curves()] == [("cells.0", "Written")]
    assert not watch.store.notes()


def test_memory_stays_flat(tmp_path):
    """What the watch holds on to after 600 steps is what it held after 200."""
    net = nn.GRU(2, 4)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    sizes = []
    with Watch(net, opt, budget=1.0, store=Store.create(tmp_path / "run")) as watch:
        for step in range(601):
            net(torch.randn(6, 3, 2))[0].mean().backward()
            opt.step()
            if step in (200, 600):
                gc.collect()
                # of these types exactly: what a compiler leaves of another test has no bytes to count
                tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, nn.Parameter, np.ndarray)]
                sizes.append(sum(t.nbytes for t in tensors))
    assert watch.steps == 601
    assert sizes[1] <= sizes[0] + 1024


def test_models_that_the_script_gives_up_are_not_kept_alive():
    """One model after the other, as in a search over settings."""
    alive = []
    with Watch(budget=1.0) as watch:
        for _ in range(3):
            net = Net()
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            alive.append(weakref.ref(net))
            for _ in range(3):
                net(torch.randn(5, 2, 3)).sum().backward()
                opt.step()
        del net, opt
        gc.collect()
        assert [ref() for ref in alive] == [None, None, None]
    assert {key.module for key in watch.store.curves()} == {"rnn", "net2.rnn", "net3.rnn"}


def test_forward_passes_without_a_backward_do_not_pile_up(monkeypatch):
    from longreach.probes import trace

    monkeypatch.setattr(trace, "MOST_KEPT", 1000)
    net = Net()
    with Watch() as watch:
        for _ in range(50):
            net(torch.randn(5, 4, 3))
        assert sum(visit.inputs.numel() for visit in watch._observer._trace.fused) <= 1000


def test_a_failing_probe_is_told_and_training_goes_on(monkeypatch, capsys):
    from longreach.probes import fused

    monkeypatch.setattr(fused, "measure", lambda *_: 1 / 0)
    losses, *_ = train(False)
    net = Net()
    torch.manual_seed(7)
    net.load_state_dict(Net().state_dict())
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    found = []
    with longreach.watch(net, opt) as watch:
        for _ in range(12):
            x = torch.randn(10, 6, 3)
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x), (x[-1, :, 0] > 0).long())
            loss.backward()
            opt.step()
            found.append(loss.item())
    assert found == losses
    assert len(watch.store.losses()) == 12
    (note,) = watch.store.notes()
    assert note.startswith("watching reach and need stopped at step 0, training goes on: ZeroDivisionError")
    assert note in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, r"budget: expected a share of the wall time in \(0, 1\], got 0; the default is 0.02"),
        ({"optimizer": "adam"}, "optimizer: expected a torch Optimizer, got str"),
        ({"model": 3}, "model: expected a torch Module, got int"),
    ],
)
def test_arguments_that_do_not_fit_are_told_before_any_work(arguments, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        longreach.watch(**{"model": Net(), **arguments})
    assert isinstance(caught.value, LongreachError)


def test_measure_reads_one_batch_and_leaves_gradients_as_they_were():
    net = Net("gru")
    net.head.weight.grad = torch.ones(2, 8)
    record = longreach.measure(net, (torch.randn(9, 4, 3), torch.zeros(4).long()), nn.functional.cross_entropy)
    (layer,) = record.layers
    assert (layer.module, layer.kind, layer.reach.horizon) == ("rnn", "GRU", 8)
    assert torch.equal(net.head.weight.grad, torch.ones(2, 8))
    assert net.embed.weight.grad is None


def test_public_names():
    assert sorted(longreach.__all__) == sorted(longreach._HOMES)
    for name in longreach.__all__:
        assert getattr(longreach, name).__name__.removeprefix("longreach.") == name


def test_modules_that_the_script_puts_together_itself_are_given_up_with_it(tmp_path):
    """The graph of a step leads to our hooks on it: whoever belongs to these must not hold the graph."""
    net = nn.ModuleDict({"embed": nn.Embedding(20, 6), "rnn": nn.GRU(6, 6), "head": nn.Linear(6, 1)})
    opt = torch.optim.SGD(net.parameters(), 0.1)
    alive = [weakref.ref(module) for module in net.values()]
    with Watch(budget=1.0, store=Store.create(tmp_path / "run")):
        for _ in range(6):
            net["head"](net["rnn"](net["embed"](torch.randint(20, (7, 4))))[0][-1]).square().mean().backward()
            opt.step()
        del net, opt
    gc.collect()
    assert not any(ref() for ref in alive)


def test_with_guard_a_broken_batch_is_skipped_seen_and_nothing_is_left_behind():
    model = nn.GRU(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with longreach.watch(model, optimizer, guard=True) as watch:
        for step in range(12):
            x = torch.randn(9, 4, 2)
            before = model.weight_hh_l0.detach().clone()
            if step == 7:
                x[3, 1, 0] = torch.nan
            optimizer.zero_grad()
            model(x)[0].square().mean().backward()
            optimizer.step()
            assert model.weight_hh_l0.equal(before) == (step == 7)
        assert remedies.guarded(optimizer).skipped == 1
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    with pytest.raises(ArgumentError, match="guarded: expected an optimizer with guard"):
        remedies.guarded(optimizer)
    assert any(finding.name == "non-finite" for finding in watch.diagnose().findings)


def test_to_guard_an_optimizer_is_needed():
    with pytest.raises(ArgumentError, match="guard: expected an optimizer to guard, got none"):
        longreach.watch(nn.GRU(2, 3), guard=True)


class Wrapped(torch.optim.Optimizer):
    """An optimizer in the hands of something that steps it, as accelerate wraps them."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        return self.optimizer.step(closure)


@pytest.mark.parametrize("given", ["nothing", "a closure", "a closure in a wrapper"])
def test_updates_and_gradients_are_seen_however_the_optimizer_is_stepped(given):
    def tracks():
        torch.manual_seed(0)
        net = Net("lstm")
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        opt = Wrapped(opt) if given.endswith("wrapper") else opt

        def closure():
            net.zero_grad()
            loss = net(torch.randn(8, 2, 3)).square().sum()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.01)
            return loss

        with longreach.watch(net, opt, budget=1.0) as watch:
            for _ in range(3):
                opt.step(closure) if given != "nothing" else (closure(), opt.step())
        return history(watch.store)

    seen = tracks()
    assert seen.before.steps == seen.after.steps == (0, 1, 2)
    assert min(seen.before.values) > 0.02
    assert seen.after.values == pytest.approx([0.01] * 3, rel=1e-3)
    assert {track.name for track in seen.updates} == {
        "embed.weight",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "head.weight",
    }
    assert all(track.steps == (0, 1, 2) and min(track.values) > 0 for track in seen.updates)
