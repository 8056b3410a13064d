"""A trial in this process: what is the same in all runs, what differs, and what it finds."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

import longreach
from longreach import remedies
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies import Remedy

HIDDEN = 6


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


def batches():
    while True:
        x = torch.rand(8, 12, 2)
        yield x, x[:, 0, 0] + x[:, 6, 1]


def remedy(verb, moment="module", name="own"):
    return Remedy(name, verb, moment, preserves=False, answers=(), cost="", source="")


def nothing(target):
    return target


def prove(*tried, **options):
    settings = {"seeds": 3, "steps": 12, **options}
    return longreach.prove(Net, settings.pop("batches", batches), nn.functional.mse_loss, remedies=tried, **settings)


def curves(arm):
    return [outcome.losses for outcome in arm.outcomes]


def test_a_remedy_that_does_nothing_is_the_control_to_the_bit():
    found = prove(remedy(nothing), remedy(nothing, "optimizer", "own too"))
    for arm in found.arms:
        assert curves(arm) == curves(found.control)[: len(arm.outcomes)]  # the second is left behind by the first
        assert found.verdict(arm) in ("no better", "undecided")
    assert found.winner is None


def test_what_a_remedy_draws_does_not_change_the_batches():
    seen = []

    def noting():
        for x, y in batches():
            seen.append((torch.initial_seed(), x.sum().item()))
            yield x, y

    def greedy(model):
        model.register_forward_pre_hook(lambda *_: None if torch.rand(()) < 2 else ())
        return model

    found = prove(remedy(greedy), batches=noting)
    assert curves(found.arms[0]) == curves(found.control)
    by_seed = {}
    for seed, total in seen:
        by_seed.setdefault(seed, set()).add(total)
    assert len(by_seed) == 3 * 12
    assert all(len(totals) == 1 for totals in by_seed.values())


def test_the_training_is_that_of_a_plain_loop():
    """The same numbers as without longreach: the list holds the batches, the seed makes the model."""
    stream = batches()
    torch.manual_seed(9)
    fixed = [next(stream) for _ in range(5)]
    found = prove(remedy(nothing), batches=fixed, steps=12)
    torch.manual_seed(2)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for step in range(12):
        x, y = fixed[step % 5]
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert found.control.outcomes[2].losses == tuple(losses)
    assert found.control.outcomes[2].loss == pytest.approx(np.mean(losses[-10:]))


def test_once_through_the_batches_without_steps():
    stream = batches()
    found = prove(remedy(nothing), batches=[next(stream) for _ in range(7)], steps=None)
    assert found.steps == 7
    assert len(found.control.outcomes[0].losses) == 7


def test_a_data_loader_that_shuffles():
    data = torch.utils.data.TensorDataset(torch.rand(20, 12, 2), torch.rand(20))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    found = prove(remedy(nothing), batches=loader)
    assert curves(found.arms[0]) == curves(found.control)


def test_the_callers_random_numbers_stay():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    prove("identity-init+clip-norm", remedies.lstm)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


def test_modules_are_treated_before_the_optimizer_is_made_and_optimizers_after():
    told = []

    def module(model):
        told.append("module")
        model.extra = nn.Parameter(torch.zeros(3))
        return model

    def optimizer(params):
        made = torch.optim.SGD(params, 0.1)
        told.append(len(made.param_groups[0]["params"]))
        return made

    def after(optimizer):
        told.append("optimizer")
        return optimizer

    longreach.prove(
        Net,
        batches,
        nn.functional.mse_loss,
        remedies=[remedy(module), remedy(after, "optimizer", "after")],
        seeds=3,
        steps=2,
        optimizer=optimizer,
    )
    plain = len(list(Net().parameters()))
    assert told[:6] == [plain, plain, "module", plain + 1, plain, "optimizer"]  # control, random, and both arms


def test_names_verbs_and_combinations():
    found = prove("identity-init+clip-norm", remedies.lstm, remedies.named("clip-norm"))
    assert [arm.name for arm in found.arms] == ["identity-init+clip-norm", "lstm", "clip-norm"]
    assert found.random.name == "random-weights+random-steps"


def test_a_remedy_that_does_not_fit_is_told_and_the_others_go_on():
    def misfit(model):
        raise NotApplicable("own: expected a square peg, got a round one")

    found = prove(remedy(misfit), remedies.clip_norm)
    assert found.arms[0].not_applicable == "own: expected a square peg, got a round one"
    assert found.verdict(found.arms[0]) == "not applicable"
    assert len(found.arms[1].outcomes) == 3


def test_a_remedy_that_breaks_the_training_has_failed():
    def breaking(model):
        model.register_forward_pre_hook(lambda *_: 1 / 0)
        return model

    found = prove(remedy(breaking), remedies.clip_norm)
    (outcome,) = found.arms[0].outcomes  # one seed is enough
    assert outcome.failed == "ZeroDivisionError: division by zero"
    assert math.isnan(outcome.loss)


def test_so_has_one_that_is_refused_an_argument_while_training():
    def refused(model):
        def refuse(*_):
            raise ArgumentError("state: expected another")

        model.register_forward_pre_hook(refuse)
        return model

    assert prove(remedy(refused)).arms[0].outcomes[0].failed == "ArgumentError: state: expected another"


def test_what_breaks_without_a_remedy_is_the_callers():
    def broken(x, y):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        longreach.prove(Net, batches, broken, remedies=["clip-norm"], steps=2)


def test_memory_is_weights_gradients_state_and_what_backward_needs():
    def linear():
        return nn.Linear(100, 100, bias=False).double()

    def rows():
        while True:
            yield torch.rand(50, 100, dtype=torch.float64), torch.zeros(50, 100, dtype=torch.float64)

    def run(make):
        found = longreach.prove(
            linear, rows, nn.functional.mse_loss, remedies=[remedy(nothing)], seeds=3, steps=2, optimizer=make
        )
        return found.control.outcomes[0].memory * 2**20

    weight, activation = 8 * 100 * 100, 8 * 50 * 100
    # The product keeps its input, the error its two arguments; plain steps keep nothing, momentum one more of a weight
    assert run(lambda params: torch.optim.SGD(params, 0.1)) == 2 * weight + 3 * activation
    assert run(lambda params: torch.optim.SGD(params, 0.1, momentum=0.9)) == 3 * weight + 3 * activation


def test_reach_is_measured_and_absent_where_nothing_recurs():
    assert all(outcome.reach > 0 for outcome in prove(remedy(nothing)).control.outcomes)
    found = longreach.prove(
        lambda: nn.Linear(2, 1), lambda: [(torch.rand(4, 2), torch.rand(4, 1))], nn.functional.mse_loss,
        remedies=["clip-norm"], seeds=3, steps=2,
    )  # fmt: skip
    assert all(outcome.reach is None for outcome in found.control.outcomes)


def first_mark(steps):
    """Say at the end which of two symbols came first."""

    def draw():
        while True:
            x, y = torch.zeros(32, steps, 2), torch.randint(2, (32,))
            x[torch.arange(32), 0, y] = 1
            yield x, y

    return draw


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def test_a_start_that_remembers_is_proven_where_the_plain_one_forgets():
    def remember(model):
        with torch.no_grad():
            model.rnn.weight_hh_l0.copy_(torch.eye(16))
            model.rnn.bias_ih_l0.zero_()
            model.rnn.bias_hh_l0.zero_()
        return model

    found = longreach.prove(
        Reader, first_mark(40), nn.functional.cross_entropy,
        remedies=[remedy(remember, name="remember"), remedies.clip_norm], seeds=5, steps=60,
        optimizer=lambda params: torch.optim.Adam(params, lr=3e-3),
    )  # fmt: skip
    assert found.winner is not None, str(found)
    assert found.winner.name == "remember"
    assert found.decided
    assert len(found.control.outcomes) < 5  # stopped when it was decided
    assert found.verdict(found.random) != "proven"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remedies": []}, "remedies: expected at least one, got none"),
        ({"remedies": ["clip-nrm"]}, "remedy 'clip-nrm': expected one of clip-norm"),
        (
            {"remedies": [nothing]},
            "remedies: expected names, verbs of longreach.remedies or Remedy rows, got <function",
        ),
        ({"remedies": ["clip-norm", remedies.clip_norm]}, "expected each once, got clip-norm, clip-norm"),
        ({"remedies": [remedy(nothing, "process", "flush")]}, "got flush, which changes the process"),
        ({"seeds": 2}, "seeds: expected at least 3, got 2: fewer prove nothing"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"steps": None}, "the batches do not say how many they are"),
        ({"level": 0.0}, "level: expected a chance between 0 and 1, got 0.0"),
        ({"worth": -0.1}, "worth: expected a share of at least 0, got -0.1"),
        ({"make_model": Net()}, "make_model: expected a function that gives a new model, got Net"),
        ({"batches": batches()}, "batches: expected something that can be read again for every run, got an iterator"),
        ({"batches": 3}, "batches: expected pairs"),
        ({"batches": []}, "batches: expected pairs .x, y., got none"),
        ({"batches": [torch.rand(3, 12, 2)]}, "batches: expected pairs .x, y., got Tensor"),
    ],
)
def test_bad_input(options, message):
    settings = {"make_model": Net, "batches": batches, "remedies": ["clip-norm"], "steps": 2, **options}
    with pytest.raises(ArgumentError, match=message):
        longreach.prove(settings.pop("make_model"), settings.pop("batches"), nn.functional.mse_loss, **settings)


def test_batches_that_are_others_every_time_are_noticed():
    generator = torch.Generator().manual_seed(0)

    def drifting():
        while True:
            yield torch.rand(8, 12, 2, generator=generator), torch.rand(8)

    with pytest.raises(ArgumentError, match="expected the same batches for the same seed, got others the second time"):
        prove("clip-norm", batches=drifting)
