"""Remedies on odd models: wholly or not at all, and nothing about a model that nobody asked to change."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

from longreach import remedies
from longreach.errors import NotApplicable
from longreach.remedies import REMEDIES, applied, undo

OF_MODULES = [remedy for remedy in REMEDIES if remedy.moment == "module"]
each = pytest.mark.parametrize("remedy", OF_MODULES, ids=lambda remedy: remedy.name)


class Mine(nn.RNN):
    """A user's class, which may do anything."""


def a_net(layer):
    return nn.ModuleDict(
        {"rnn": layer, "head": nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))}
    )


def held(model):
    return {name: own.detach().clone() for name, own in model.state_dict().items()}


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("verb", "second"),
    [
        (remedies.orthogonal, lambda: Mine(2, 4)),
        (remedies.elu, lambda: Mine(2, 4)),
        (remedies.identity_init, lambda: parametrizations.weight_norm(nn.RNN(2, 4), "weight_hh_l0")),
        (remedies.orthogonal_init, lambda: parametrizations.weight_norm(nn.RNN(2, 4), "weight_hh_l0")),
        (remedies.linear_recurrent, lambda: nn.LSTM(2, 4, proj_size=3)),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_where_one_layer_does_not_fit_no_other_is_changed(verb, second):
    model = nn.ModuleList([nn.RNN(2, 4), second()])
    before, kinds = held(model), [type(part) for part in model.modules()]
    with pytest.raises(NotApplicable, match=f"^{verb.__name__.replace('_', '-')}: expected"):
        verb(model)
    assert applied(model) == ()
    assert same(held(model), before)
    assert [type(part) for part in model.modules()] == kinds


@each
def test_weights_on_the_meta_device_are_refused(remedy):
    with pytest.raises(
        NotApplicable, match=f"^{remedy.name}: expected weights that hold numbers, got some on the meta"
    ):
        remedy.verb(a_net(nn.LSTM(2, 4)).to("meta"))


@each
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.RNNCell])
def test_a_frozen_layer_stays_frozen_and_a_model_in_evaluation_stays_in_it(remedy, kind):
    model = a_net(kind(2, 4)).eval()
    model["rnn"].requires_grad_(False)
    try:
        remedy.verb(model)
    except NotApplicable:
        return
    assert not any(own.requires_grad for own in model["rnn"].parameters())
    assert not any(part.training for part in model.modules())


def test_a_bias_that_alone_is_frozen_stays_so_where_weights_are_kept():
    layer = nn.RNN(2, 4)
    layer.bias_ih_l0.requires_grad_(False)
    (cell,) = remedies.zoneout(layer).inner.cells
    assert [own.requires_grad for own in cell.inner.weights()] == [True, True, False, True]


def test_hooks_that_came_in_between_are_called_as_before_when_a_structure_is_undone():
    model, heard = a_net(nn.RNN(2, 4)), []
    remedies.lstm(model)
    model["rnn"].register_forward_hook(lambda _, given, named, output: heard.append(named), with_kwargs=True)
    undo(model)
    model["rnn"](torch.zeros(3, 1, 2), hx=torch.zeros(1, 1, 4))
    assert [list(named) for named in heard] == [["hx"]]


def test_orthogonal_is_refused_where_the_weight_is_computed_otherwise_but_knows_its_own_in_a_copy():
    with pytest.raises(NotApplicable, match=r"^orthogonal: expected recurrent weights that are parameters"):
        remedies.orthogonal(parametrizations.weight_norm(nn.RNN(2, 4), "weight_hh_l0"))
    layer = copy.deepcopy(remedies.orthogonal(nn.RNN(2, 4)))
    remedies.orthogonal(layer)
    assert len(layer.parametrizations["weight_hh_l0"]) == 1


def test_a_weight_that_two_layers_share_is_left_alone_or_refused():
    plain = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 1))
    plain[2].weight = plain[0].weight
    before = plain[0].weight.detach().clone()
    remedies.scaled_init(plain)
    plain(torch.randn(5, 4)).sum().backward()
    assert torch.equal(plain[0].weight, before)
    tied = nn.ModuleList([nn.RNN(4, 4), nn.RNN(4, 4)])
    tied[1].weight_hh_l0 = tied[0].weight_hh_l0
    with pytest.raises(NotApplicable, match=r"^flossing: .*got some that two layers share"):
        remedies.flossing(tied)


def test_starts_of_half_floats():
    layer = remedies.orthogonal_init(nn.RNN(2, 16).bfloat16())
    product = layer.weight_hh_l0.double() @ layer.weight_hh_l0.double().T
    torch.testing.assert_close(product, torch.eye(16, dtype=torch.float64), atol=2**-7, rtol=0)
    with pytest.raises(NotApplicable, match=r"^linear-recurrent: expected weights of float32 or float64, got torch.bf"):
        remedies.linear_recurrent(nn.RNN(2, 4).bfloat16())


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = a_net(nn.RNN(2, 4))

    def forward(self, x):
        return self.parts["head"](self.parts["rnn"](x)[0][-1])


@pytest.mark.usefixtures("alone")
@each
def test_what_trains_on_many_devices_goes_on_or_is_refused(remedy):
    model = DistributedDataParallel(Net())
    before = held(model)
    try:
        remedy.verb(model)
    except NotApplicable as refusal:
        assert remedy.name == "forget-bias" or "before DistributedDataParallel takes its parameters" in str(refusal)  # noqa: PT017 (some do, some do not)
        assert applied(model) == ()
        assert same(held(model), before)
    for _ in range(2):  # the second would complain of a parameter that the first has not reached
        model(torch.randn(5, 3, 2)).sum().backward()
