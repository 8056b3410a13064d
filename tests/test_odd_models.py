"""Models and training loops out of the ordinary: every one trains under watch as it does alone, to the last bit."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

from longreach.diagnosis import diagnose
from longreach.watching import Watch

STEPS = 6
Training = tuple[list[nn.Module], Callable[[], Tensor]]  # what is trained, and one step of it, which gives its loss


def fitting(model: nn.Module, shape=(8, 5), optimizer=torch.optim.SGD, lr=0.05, **options) -> Training:
    """The usual loop: noise in, ones out."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    opt = optimizer(trained, lr=lr, **options)

    def step():
        opt.zero_grad()
        out = model(torch.randn(shape))
        loss = (out - 1).abs().square().mean()
        loss.backward()
        opt.step()
        return loss

    return [model], step


class Calls(nn.Module):
    """A module whose forward is a function of itself and what it is given."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.call = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given):
        return self.call(self, *given)


def shared_modules():
    block = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
    return fitting(nn.Sequential(block, nn.Tanh(), block, block, nn.Linear(5, 1)))


def a_module_called_zero_times():
    return fitting(Calls(lambda self, x: self.used(x), used=nn.Linear(5, 1), idle=nn.LSTM(5, 5), never=nn.Linear(5, 9)))


def operations_in_place():
    def forward(self, x):
        x = self.act(self.norm(functional.relu(self.low(x), inplace=True)))
        x = x * 2
        x += 1
        x[:, 0] = 0
        return self.high(x.mul_(0.5))

    return fitting(
        Calls(forward, low=nn.Linear(5, 6), norm=nn.BatchNorm1d(6), act=nn.ReLU(inplace=True), high=nn.Linear(6, 1))
    )


def checkpointed_and_run_again():
    return checkpointed(False)


def checkpointed_in_the_old_way():
    return checkpointed(True)


def checkpointed(reentrant):
    def forward(self, x):
        x = checkpoint(self.low, x.requires_grad_(), use_reentrant=reentrant)
        x, _ = checkpoint(self.rnn, x, use_reentrant=reentrant)
        return self.high(x[-1])

    low = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Dropout(0.3))
    return fitting(Calls(forward, low=low, rnn=nn.LSTM(6, 6), high=nn.Linear(6, 1)), (7, 4, 5))


def checkpointed_loop():
    def forward(self, x):
        h = torch.zeros(4, 6)
        for part in x:
            h = checkpoint(self.cell, part, h, use_reentrant=False)
        return self.high(h)

    return fitting(Calls(forward, cell=nn.GRUCell(5, 6), high=nn.Linear(6, 1)), (9, 4, 5))


def frozen_parts():
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1))
    model[0].requires_grad_(False)
    model[1].eval().requires_grad_(False)
    return fitting(model)


def parameters_without_a_gradient():
    model = Calls(lambda self, x: self.head(x), head=nn.Linear(5, 1), spare=nn.Parameter(torch.ones(3)))
    return fitting(model, optimizer=torch.optim.Adam)


def complex_numbers():
    def forward(self, x):
        spectrum = torch.fft.rfft(x) * self.filter
        return self.mix(spectrum).abs().sum(1, keepdim=True)

    parts = {"filter": nn.Parameter(torch.randn(3, dtype=torch.cfloat)), "mix": nn.Linear(3, 4, dtype=torch.cfloat)}
    return fitting(Calls(forward, **parts))


def complex_weights():
    model = nn.Linear(5, 4, dtype=torch.cfloat)
    opt = torch.optim.Adam(model.parameters(), lr=0.01)

    def step():
        opt.zero_grad()
        loss = model(torch.randn(8, 5, dtype=torch.cfloat)).abs().mean()
        loss.backward()
        opt.step()
        return loss

    return [model], step


def sparse_gradients():
    model = nn.ModuleDict({"embed": nn.Embedding(20, 6, sparse=True), "rnn": nn.GRU(6, 6), "head": nn.Linear(6, 1)})
    sparse = torch.optim.SparseAdam(list(model["embed"].parameters()), lr=0.01)
    dense = torch.optim.SGD([*model["rnn"].parameters(), *model["head"].parameters()], lr=0.1)

    def step():
        sparse.zero_grad()
        dense.zero_grad()
        loss = model["head"](model["rnn"](model["embed"](torch.randint(20, (7, 4))))[0][-1]).square().mean()
        loss.backward()
        sparse.step()
        dense.step()
        return loss

    return [model], step


def nested_optimizers():
    """A lookahead: an optimizer that owns another, as many wrappers do."""

    class Lookahead(torch.optim.Optimizer):
        def __init__(self, inner):
            super().__init__(inner.param_groups, {})
            self.inner, self.calls = inner, 0
            self.slow = [p.detach().clone() for group in inner.param_groups for p in group["params"]]

        def step(self, closure=None):
            self.inner.step()
            self.calls += 1
            with torch.no_grad():
                fast = [p for group in self.inner.param_groups for p in group["params"]]
                for slow, p in zip(self.slow, fast, strict=True):
                    if self.calls % 2 == 0:
                        slow += 0.5 * (p - slow)
                        p.copy_(slow)

    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
    return fitting(model, optimizer=lambda parameters, lr: Lookahead(torch.optim.Adam(parameters, lr=lr)))


def several_optimizers_adversaries():
    maker, judge = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5)), nn.Sequential(nn.Linear(5, 1))
    opts = [torch.optim.Adam(part.parameters(), lr=0.01, betas=(0.5, 0.9)) for part in (maker, judge)]

    def step():
        fake = maker(torch.randn(8, 3))
        opts[1].zero_grad()
        loss = functional.softplus(judge(fake.detach())).mean() + functional.softplus(-judge(torch.randn(8, 5))).mean()
        loss.backward()
        opts[1].step()
        opts[0].zero_grad()
        functional.softplus(-judge(fake)).mean().backward()
        opts[0].step()
        return loss

    return [maker, judge], step


def tied_weights():
    embed, rnn, head = nn.Embedding(11, 6), nn.LSTM(6, 6), nn.Linear(6, 11, bias=False)
    head.weight = embed.weight
    model = nn.ModuleList([embed, rnn, head])
    opt = torch.optim.AdamW(model.parameters(), lr=0.01)

    def step():
        ids = torch.randint(11, (9, 4))
        opt.zero_grad()
        out = head(rnn(embed(ids[:-1]))[0])
        loss = functional.cross_entropy(out.flatten(0, 1), ids[1:].flatten())
        loss.backward()
        opt.step()
        return loss

    return [model], step


def closures_of_lbfgs():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
    opt = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def step():
        x = torch.randn(8, 5)

        def closure():
            opt.zero_grad()
            loss = (model(x) - 1).square().mean()
            loss.backward()
            return loss

        return opt.step(closure)

    return [model], step


def accumulated_gradients():
    model = Calls(lambda self, x: self.head(self.rnn(x)[0][-1]), rnn=nn.GRU(5, 6), head=nn.Linear(6, 1))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        opt.zero_grad()
        losses = []
        for _ in range(3):
            losses.append(model(torch.randn(7, 4, 5)).square().mean() / 3)
            losses[-1].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return sum(losses)

    return [model], step


def a_graph_kept_for_several_passes():
    model = Calls(lambda self, x: self.head(self.rnn(x)[0][-1]), rnn=nn.LSTM(5, 6), head=nn.Linear(6, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        opt.zero_grad()
        out = model(torch.randn(7, 4, 5))
        first, second = out[:, 0].square().mean(), out[:, 1].abs().mean()
        first.backward(retain_graph=True)
        second.backward(retain_graph=True)
        first.backward()
        opt.step()
        return first + second

    return [model], step


def a_penalty_on_gradients():
    model = nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 1))
    opt = torch.optim.Adam(model.parameters(), lr=0.01)

    def step():
        opt.zero_grad()
        x = torch.randn(8, 5, requires_grad=True)
        out = model(x)
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        loss = out.square().mean() + (slope.norm(dim=1) - 1).square().mean()
        loss.backward()
        opt.step()
        return loss

    return [model], step


def gradients_by_hand():
    """torch.autograd.grad in the place of backward, and the update written out."""
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))

    def step():
        loss = (model(torch.randn(8, 5)) - 1).square().mean()
        found = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), found, strict=True):
                parameter -= 0.1 * gradient
        return loss

    return [model], step


def an_inner_loop_that_is_differentiated():
    model = nn.Linear(5, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        opt.zero_grad()
        x, weights = torch.randn(8, 5), dict(model.named_parameters())
        for _ in range(2):
            inner = (torch.func.functional_call(model, weights, (x,)) - 1).square().mean()
            slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            weights = {name: w - 0.1 * s for (name, w), s in zip(weights.items(), slopes, strict=True)}
        loss = (torch.func.functional_call(model, weights, (x,)) - 1).square().mean()
        loss.backward()
        opt.step()
        return loss

    return [model], step


def calls_of_torch_func():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)

    def one(weights, x):
        return (torch.func.functional_call(model, weights, (x[None],)) - 1).square().mean()

    def step():
        opt.zero_grad()
        x, weights = torch.randn(8, 5), {name: p.detach() for name, p in model.named_parameters()}
        each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0))(weights, x)
        loss = (model(x) - 1).square().mean()
        loss.backward()
        for name, parameter in model.named_parameters():
            parameter.grad += 0.01 * each[name].mean(0)
        opt.step()
        return loss

    return [model], step


def wrapped_for_data_parallel():
    model = Calls(
        lambda self, x: self.head(self.rnn(x)[0][:, -1]), rnn=nn.GRU(5, 6, batch_first=True), head=nn.Linear(6, 1)
    )
    return fitting(nn.DataParallel(model), (4, 7, 5))


def reparametrised_weights():
    class Symmetric(nn.Module):
        def forward(self, weight):
            return weight.triu() + weight.triu(1).transpose(-1, -2)

    square = nn.Linear(6, 6)
    register_parametrization(square, "weight", Symmetric())
    return fitting(
        nn.Sequential(
            parametrizations.weight_norm(nn.Linear(5, 6)),
            nn.Tanh(),
            square,
            parametrizations.spectral_norm(nn.Linear(6, 6)),
            parametrizations.orthogonal(nn.Linear(6, 6)),
            nn.Linear(6, 1),
        )
    )


def weight_norm_of_old_on_a_recurrent_layer():
    rnn = nn.GRU(5, 6)
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(rnn, "weight_hh_l0")
    return fitting(Calls(lambda self, x: self.head(self.rnn(x)[0][-1]), rnn=rnn, head=nn.Linear(6, 1)), (7, 4, 5))


def modules_of_strange_results():
    @dataclass
    class Found:
        hidden: Tensor
        extra: object = None

    def forward(self, x):
        self.silent(x)
        found = self.dictionary(self.boxed(x))
        return self.head(found["hidden"]) + self.nothing(x)[0]

    parts = {
        "silent": Calls(lambda self, x: None),
        "boxed": Calls(lambda self, x: Found(torch.tanh(self.low(x))), low=nn.Linear(5, 6)),
        "dictionary": Calls(lambda self, found: {"hidden": self.low(found.hidden), "n": 3}, low=nn.Linear(6, 6)),
        "nothing": Calls(lambda self, x: (0.0, [], {}, "text")),
        "head": nn.Linear(6, 1),
    }
    return fitting(Calls(forward, **parts))


def exceptions_that_the_script_catches():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.calls = nn.Linear(5, 6), 0

        def forward(self, x):
            self.calls += 1
            x = self.low(x)
            if self.calls % 2:
                raise ValueError("not today")
            return x

    def forward(self, x):
        for _ in range(2):
            with contextlib.suppress(ValueError):
                x = self.moody(x)
        return self.head(x)

    return fitting(Calls(forward, moody=Moody(), head=nn.Linear(6, 1)))


def tensors_on_the_meta_device():
    def forward(self, x):
        self.ghost(torch.empty(3, 5, device="meta"))
        return self.head(x)

    return fitting(Calls(forward, head=nn.Linear(5, 1), ghost=nn.GRU(5, 6, device="meta")))


def lazy_modules():
    model = nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.LazyLinear(1))
    model(torch.zeros(1, 5))
    return fitting(model)


def numbers_of_several_precisions():
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.rnn(self.low(x))[0]
        return self.high(x[-1].double())

    return fitting(
        Calls(forward, low=nn.Linear(5, 6), rnn=nn.LSTM(6, 6), high=nn.Linear(6, 1).double()), (7, 4, 5), lr=0.01
    )


def hooks_that_change_gradients():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1))
    model[0].weight.register_hook(lambda gradient: gradient * 0.5)
    model[2].register_full_backward_hook(lambda module, into, out_of: (into[0] * 2,))
    model[1].register_forward_hook(lambda module, given, result: result + 0.1)
    return fitting(model)


def functions_of_ones_own():
    class Reversed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.scale = scale
            return x.view_as(x)

        @staticmethod
        def backward(ctx, error):
            return -ctx.scale * error, None

    class Cubed(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x**3, x > 0

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])
            ctx.mark_non_differentiable(output[1])

        @staticmethod
        def backward(ctx, error, _):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * error

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, error):
            return error * 2

    def forward(self, x):
        return self.high(Doubled.apply(Cubed.apply(Reversed.apply(self.low(x), 0.5))[0]))

    return fitting(Calls(forward, low=nn.Linear(5, 6), high=nn.Linear(6, 1)))


def numbers_drawn_in_forward():
    def forward(self, x):
        x = self.low(self.drop(x))
        return self.high(x + torch.randn_like(x))

    return fitting(Calls(forward, drop=nn.Dropout(0.4), low=nn.Linear(5, 6), high=nn.Linear(6, 1)))


def a_state_that_a_module_keeps():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head, self.state, self.log = nn.LSTM(5, 6), nn.Linear(6, 1), None, []

        def forward(self, x):
            out, (h, c) = self.rnn(x, self.state)
            self.state = (h.detach(), c.detach())
            self.log.append(float(out.detach().mean()))
            return self.head(out)

    return fitting(Stateful(), (7, 4, 5))


def a_tree_of_calls():
    def forward(self, x):
        nodes = list(x)
        while len(nodes) > 1:
            joined = [self.join(torch.cat(pair, 1)) for pair in zip(nodes[::2], nodes[1::2], strict=True)]
            nodes = [torch.tanh(node) for node in joined]
        return self.head(nodes[0])

    return fitting(Calls(forward, join=nn.Linear(10, 5), head=nn.Linear(5, 1)), (8, 4, 5))


def attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(5, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 1))
    return fitting(model, (4, 7, 5), optimizer=torch.optim.AdamW)


def convolutions():
    model = nn.Sequential(
        nn.Conv1d(5, 8, 3, padding=2, dilation=2),
        nn.BatchNorm1d(8),
        nn.GELU(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(8 * 4, 1),
    )
    return fitting(model, (4, 5, 8))


def an_empty_batch_now_and_then():
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    opt, count = torch.optim.SGD(model.parameters(), lr=0.1), iter(range(1000))

    def step():
        opt.zero_grad()
        loss = (model(torch.randn(0 if next(count) % 3 == 1 else 8, 5)) - 1).square().sum()
        loss.backward()
        opt.step()
        return loss

    return [model], step


def batches_of_changing_shape():
    model = Calls(lambda self, x: self.head(self.rnn(x)[0][-1]), rnn=nn.GRU(5, 6), head=nn.Linear(6, 1))
    opt, count = torch.optim.SGD(model.parameters(), lr=0.1), iter(range(1000))

    def step():
        n = next(count)
        opt.zero_grad()
        loss = (model(torch.randn(3 + n, 1 + n % 4, 5)) - 1).square().mean()
        loss.backward()
        opt.step()
        return loss

    return [model], step


def numbers_that_overflow():
    return fitting(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1)), lr=1e30)


CASES: tuple[Callable[[], Training], ...] = (
    shared_modules,
    a_module_called_zero_times,
    operations_in_place,
    checkpointed_and_run_again,
    checkpointed_in_the_old_way,
    checkpointed_loop,
    frozen_parts,
    parameters_without_a_gradient,
    complex_numbers,
    complex_weights,
    sparse_gradients,
    nested_optimizers,
    several_optimizers_adversaries,
    tied_weights,
    closures_of_lbfgs,
    accumulated_gradients,
    a_graph_kept_for_several_passes,
    a_penalty_on_gradients,
    gradients_by_hand,
    an_inner_loop_that_is_differentiated,
    calls_of_torch_func,
    wrapped_for_data_parallel,
    reparametrised_weights,
    weight_norm_of_old_on_a_recurrent_layer,
    modules_of_strange_results,
    exceptions_that_the_script_catches,
    tensors_on_the_meta_device,
    lazy_modules,
    numbers_of_several_precisions,
    hooks_that_change_gradients,
    functions_of_ones_own,
    numbers_drawn_in_forward,
    a_state_that_a_module_keeps,
    a_tree_of_calls,
    attention,
    convolutions,
    an_empty_batch_now_and_then,
    batches_of_changing_shape,
    numbers_that_overflow,
)


def trained(case, watched):
    """Losses, weights and buffers at the end, the next random number; and the watch."""
    torch.manual_seed(5)
    models, step = case()
    with Watch(budget=1.0) if watched else contextlib.nullcontext() as watch:
        losses = [step().detach() for _ in range(STEPS)]
    kept = [value.detach() for model in models for value in model.state_dict().values()]
    return [*losses, *kept, torch.rand(3)], watch


def same(one, other):
    """Equal to the last bit, NaN included."""
    if one.device.type == "meta":
        return one.shape == other.shape
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad", "ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_trains_under_watch_as_it_does_alone(case, capfd):
    alone, _ = trained(case, False)
    watched, watch = trained(case, True)
    assert len(alone) == len(watched)
    assert all(same(one, other) for one, other in zip(alone, watched, strict=True))
    assert not [note for note in watch.store.notes() if "stopped" in note or "could not be followed" in note]
    assert capfd.readouterr().err == ""
    assert diagnose(watch.record()).verdict
