"""Gradients written by hand, right and wrong: the probe tells one from the other, and both from what is meant."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function

from longreach.probes.functions import is_quiet, own_functions
from longreach.quantities.crosscheck import Check, pool
from longreach.watching import Watch


def function(forward, backward):
    """An autograd function of one argument; `backward(x, y, error)`."""

    class Own(Function):
        @staticmethod
        def forward(ctx, x):
            y = forward(x)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, error):
            return backward(*ctx.saved_tensors, error)

    return Own


class Net(nn.Module):
    def __init__(self, function, dtype=torch.float32):
        super().__init__()
        self.low, self.high = nn.Linear(6, 8, dtype=dtype), nn.Linear(8, 1, dtype=dtype)
        self.call = getattr(function, "apply", function)

    def forward(self, x):
        return self.high(self.call(self.low(x)))


def watched(function, *, steps=3, lr=0.01, dtype=torch.float32, scale=1.0):
    """(error, ratio, design) by argument of the checks of a small run."""
    net = Net(function, dtype)
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    with Watch(net, opt, budget=1.0) as watch:
        for _ in range(steps):
            opt.zero_grad()
            (net(scale * torch.randn(32, 6, dtype=dtype)) - 1).square().mean().backward()
            opt.step()
    assert not [note for note in watch.store.notes() if "could not be followed" in note]
    found = [check for check in pool(watch.store.samples(Check)) if check.against == "differences"]
    assert all(check.place == "net" for check in found)
    return {check.part: (check.error, check.ratio, check.design) for check in found}


RIGHT = {
    "tanh": (torch.tanh, lambda x, y, e: e * (1 - y**2)),
    "relu": (lambda x: x.clamp(min=0), lambda x, y, e: e * (x > 0)),
    "leaky": (lambda x: torch.where(x > 0, x, 0.1 * x), lambda x, y, e: e * torch.where(x > 0, 1.0, 0.1)),
    "swish": (lambda x: x * x.sigmoid(), lambda x, y, e: e * (x.sigmoid() * (1 + x * (1 - x.sigmoid())))),
    "softmax": (lambda x: x.softmax(1), lambda x, y, e: y * (e - (y * e).sum(1, keepdim=True))),
    "sort": (lambda x: x.sort(1).values, lambda x, y, e: torch.zeros_like(e).scatter(1, x.argsort(1), e)),
    "max": (
        lambda x: x.amax(1, keepdim=True) + 0 * x,
        lambda x, y, e: e.sum(1, keepdim=True) * (x == x.amax(1, keepdim=True)),
    ),
    "norm": (
        lambda x: (x - x.mean(0)) / x.std(0),
        lambda x, y, e: (e - e.mean(0) - y * (e * y).sum(0) / (len(x) - 1)) / x.std(0),
    ),
    "saturated": (lambda x: (1000 * x).sigmoid(), lambda x, y, e: 1000 * e * y * (1 - y)),
    "tiny": (lambda x: 1e-20 * x**3, lambda x, y, e: 3e-20 * x**2 * e),
    "far": (lambda x: 1e4 + 1e-2 * x**2, lambda x, y, e: 2e-2 * x * e),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_ones_agree_to_the_rounding(name, dtype):
    found = watched(function(*RIGHT[name]), dtype=dtype)
    # where nothing but rounding comes back there is nothing to compare
    assert all(error < 1e-3 and not design for error, _, design in found.values())
    assert found or name == "saturated"


WRONG = {
    "forgotten square": (torch.tanh, lambda x, y, e: e * (1 - y), None),
    "sign": (torch.tanh, lambda x, y, e: -e * (1 - y**2), -1.0),
    "factor": (lambda x: x**3, lambda x, y, e: x**2 * e, 1 / 3),
    "of the output instead of the input": (lambda x: x * x.sigmoid(), lambda x, y, e: e * y.sigmoid(), None),
    "no sum": (lambda x: x.softmax(1), lambda x, y, e: y * e, None),
    "one row of four": (
        torch.tanh,
        lambda x, y, e: torch.where(torch.arange(len(x))[:, None] % 4 > 0, e * (1 - y**2), e),
        None,
    ),
    "not used at all": (torch.sin, lambda x, y, e: torch.zeros_like(e), 0.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_do_not(name):
    forward, backward, ratio = WRONG[name]
    error, along, design = watched(function(forward, backward))["x"]
    assert error > 0.05
    assert not design
    assert ratio is None or along == pytest.approx(ratio, abs=1e-2)


MEANT = {
    "identity, reversed": (lambda x: x.view_as(x), lambda x, y, e: -0.3 * e, "identity"),
    "identity, clipped": (lambda x: x.clone(), lambda x, y, e: e.clamp(-1e-6, 1e-6), "identity"),
    "rounded": (torch.round, lambda x, y, e: e, "straight-through"),
    "sign within one": (torch.sign, lambda x, y, e: e * (x.abs() < 1), "straight-through"),
    "spike with a surrogate": (lambda x: (x > 0).to(x), lambda x, y, e: e / (1 + x**2), "straight-through"),
    "clamped, gradient let by": (lambda x: x.clamp(-0.3, 0.3), lambda x, y, e: e, "straight-through"),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant_is_told_apart(name):
    forward, backward, design = MEANT[name]
    error, _, found = watched(function(forward, backward))["x"]
    assert (error > 0.05, found) == (True, design)


def test_a_function_that_is_defined_after_the_watch_began_and_evaluated_more_often_than_trained():
    with Watch(budget=1.0) as watch:
        forward, backward, _ = WRONG["sign"]
        net = Net(function(forward, backward))
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        with torch.no_grad():
            for _ in range(5):
                net(torch.randn(32, 6))
        net(torch.randn(32, 6)).square().mean().backward()
        opt.step()
        ((error, place),) = [(check.error, check.place) for check in pool(watch.store.samples(Check))]
        assert (error > 0.5, place) == (True, "net")


def test_every_argument_by_itself():
    class Product(Function):
        @staticmethod
        def forward(x, weight, power):
            return (x @ weight.T) ** power

        @staticmethod
        def setup_context(ctx, inputs, output):
            *tensors, ctx.power = inputs
            ctx.save_for_backward(*tensors)

        @staticmethod
        def backward(ctx, error):
            x, weight = ctx.saved_tensors
            error = error * ctx.power * (x @ weight.T) ** (ctx.power - 1)
            return error @ weight, 0.5 * error.T @ x, None

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8) / 3)

        def forward(self, x):
            return Product.apply(x, self.weight, 2)

    layer, net = Layer(), nn.Sequential(nn.Linear(6, 8), nn.Identity(), nn.Linear(8, 1))
    net[1] = layer
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    with Watch(net, opt, budget=1.0) as watch:
        for _ in range(3):
            net(torch.randn(32, 6)).square().mean().backward()
            opt.step()
    found = {check.part: check for check in pool(watch.store.samples(Check)) if check.subject == "Product"}
    assert set(found) == {"x", "weight"}
    assert (found["x"].place, found["x"].shape, found["x"].dtype) == ("1", "32x8", "float32")
    assert found["x"].error < 1e-4
    assert found["weight"].error == pytest.approx(0.5, abs=0.01)
    assert found["weight"].ratio == pytest.approx(0.5, abs=0.01)


def test_a_kernel_of_single_precision_alone():
    def single(x):
        assert x.dtype == torch.float32, "not built for this"
        return torch.tanh(x)

    assert watched(function(single, lambda x, y, e: e * (1 - y**2)))["x"][0] < 0.02
    assert watched(function(single, lambda x, y, e: e * (1 - y)))["x"][0] > 0.1


def test_an_operator_registered_with_torch_is_checked_too():
    @torch.library.custom_op("odd::sine", mutates_args=())
    def sine(x: torch.Tensor, rate: float) -> torch.Tensor:
        return torch.sin(rate * x)

    def setup(ctx, inputs, output):
        (x, ctx.rate) = inputs
        ctx.save_for_backward(x)

    sine.register_autograd(lambda ctx, e: (e * (ctx.rate * ctx.saved_tensors[0]).cos(), None), setup_context=setup)
    found = watched(lambda x: sine(x, 2.0))
    ((error, ratio, design),) = found.values()
    assert (round(error, 2), round(ratio, 2), design) == (0.5, 0.5, "")


class Drawing(Function):
    """A function that draws numbers in its forward."""

    @staticmethod
    def forward(ctx, x):
        ctx.mask = (torch.rand_like(x) > 0.5).to(x)
        np.random.rand()  # noqa: NPY002
        return x * ctx.mask

    @staticmethod
    def backward(ctx, error):
        return error * ctx.mask


def test_random_ones_are_left_out_and_nothing_stays_drawn():
    def run(watching):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        if watching:
            assert watched(Drawing) == {}
        else:
            net = Net(Drawing)
            opt = torch.optim.SGD(net.parameters(), lr=0.01)
            for _ in range(3):
                opt.zero_grad()
                (net(torch.randn(32, 6)) - 1).square().mean().backward()
                opt.step()
        return torch.rand(1).item(), np.random.rand()  # noqa: NPY002

    assert run(False) == run(True)


CALLS = []


def spoken(x):
    print("here")
    return x


def booked(x):
    CALLS.append(1)
    return x


@pytest.mark.parametrize(("code", "quiet"), [(spoken, False), (booked, False), (torch.nn.functional.gelu, True)])
def test_what_would_be_noticed_is_not_called_again(code, quiet):
    assert is_quiet(code) is quiet


def test_nothing_stays_in_front_of_a_function():
    own = function(*RIGHT["tanh"])
    before = dict(own.__dict__)
    watched(own)
    assert dict(own.__dict__) == before
    assert own in own_functions()


def test_half_precision_is_given_its_due():
    def forward(x):
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-3)

    def backward(x, y, e):
        root = torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-3)
        return root * (e - y * (e * y).mean(1, keepdim=True))

    assert watched(function(forward, backward), dtype=torch.bfloat16)["x"][0] < 0.05
    assert watched(function(forward, lambda x, y, e: e), dtype=torch.bfloat16)["x"][0] > 0.1


def test_pooled_by_subject_and_part():
    found = [
        Check("a", n, "F", "differences", "x", "3x4", "float32", error, 1.0) for n, error in enumerate((1, 0.1, 3))
    ]
    (pooled,) = pool({"a": found})
    assert (pooled.error, pooled.samples, pooled.part) == (1, 3, "x")
