"""What holds for every remedy there is: its row, its data sheet, twice as once, undo, and who it refuses."""

import ast
import copy
import pathlib

import pytest
import torch
from torch import nn

import longreach.diagnosis
from longreach import remedies
from longreach.diagnosis import RULES
from longreach.errors import NotApplicable
from longreach.remedies import CONTROLS, REMEDIES, applied, undo
from longreach.report.words import REMEDIES as WORDS

ALL = (*REMEDIES, *CONTROLS)
NAMES = [remedy.name for remedy in REMEDIES]
HEADINGS = ("Changes", "Twice", "Undo", "Price")
each = pytest.mark.parametrize("remedy", ALL, ids=lambda remedy: remedy.name)
of_modules = pytest.mark.parametrize(
    "remedy", [remedy for remedy in ALL if remedy.moment == "module"], ids=lambda remedy: remedy.name
)
of_optimizers = pytest.mark.parametrize(
    "remedy", [remedy for remedy in ALL if remedy.moment == "optimizer"], ids=lambda remedy: remedy.name
)


class Net(nn.Module):
    """Reads a sequence, then goes through plain layers: every remedy finds something, of one kind or another."""

    def __init__(self, kind=nn.RNN, **options):
        super().__init__()
        self.rnn = kind(2, 4, **options)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


X = torch.linspace(-1, 1, 12 * 3 * 2).reshape(12, 3, 2)


def fitting(remedy):
    """A model that has what this remedy is for."""
    return Net(nn.LSTM) if remedy.name == "forget-bias" else Net()


def look(model):
    """Classes, names and bits, and who hooks in."""
    return (
        [(type(part), part.training, hooks(part), "forward" in vars(part)) for part in model.modules()],
        repr(model),
        {name: own.clone() for name, own in model.state_dict().items()},
        [name for name, _ in model.named_parameters()],
    )


def hooks(part):
    return len(part._forward_hooks), len(part._forward_pre_hooks), sorted(part._forward_hooks_with_kwargs)


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert list(one[2]) == list(other[2])
    assert one[3] == other[3]
    for name in one[2]:
        assert torch.equal(one[2][name], other[2][name]), name


def train(model, steps=3):
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(X) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@each
def test_name_verb_and_words(remedy):
    name = remedy.name.replace("-", "_")
    assert getattr(remedies, name) is remedy.verb
    assert remedy.verb.__name__ == name
    assert name in remedies.__all__
    assert remedies.named(remedy.name) is remedy
    assert remedy.cost
    assert remedy.source


def test_each_name_is_there_once_and_all_have_their_words():
    assert len(set(NAMES)) == len(NAMES)
    assert sorted(NAMES) == sorted(WORDS)


@each
def test_the_data_sheet_has_its_headings(remedy):
    lines = [line.split()[0] for line in (remedy.verb.__doc__ or "").splitlines() if line.strip()]
    missing = [heading for heading in HEADINGS if heading not in lines]
    assert not missing
    assert "Promises" in lines or remedy.name in ("guard",)  # whose sheet has what it skips and where it goes back
    assert remedy.moment == "process" or remedy.verb.__annotations__


@each
def test_answers_are_findings(remedy):
    findings = {rule.__name__.replace("_", "-") for rule in RULES} - {"no-signal-by-exclusion"}
    assert set(remedy.answers) <= findings


TABLES = ("REMEDIES", "OTHERWISE", "WHOLE", "remedies")


def prescribed_by_rules():
    """All names of remedies that stand in the rules, by reading these."""
    found = []
    for file in pathlib.Path(longreach.diagnosis.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in TABLES:
                given = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                given = node.args[6:]
            else:
                continue
            tuples = [part for value in given for part in ast.walk(value) if isinstance(part, ast.Tuple)]
            found += [
                (file.name, entry.value) for part in tuples for entry in part.elts if isinstance(entry, ast.Constant)
            ]
    return found


def test_what_findings_prescribe_exists():
    found = prescribed_by_rules()
    assert len({file for file, _ in found}) >= 12
    assert [entry for entry in found if entry[1] not in NAMES] == []


@of_modules
def test_twice_is_once_and_undo_brings_all_of_it_back(remedy):
    model = fitting(remedy)
    before, expected = look(model), model(X)
    assert remedy.verb(model) is model
    once = look(model)
    assert remedy.verb(model) is model
    assert applied(model)[-1] == remedy.name
    assert_same(look(model), once)
    assert undo(model) is model
    assert applied(model) == ()
    assert_same(look(model), before)
    assert torch.equal(model(X), expected)


@of_modules
def test_a_second_application_does_not_change_how_it_trains(remedy):
    models = [fitting(remedy)]
    models.append(copy.deepcopy(models[0]))
    for number, model in enumerate(models):
        for _ in range(number + 1):
            remedy.verb(model)
    torch.manual_seed(5)
    once = train(models[0])
    torch.manual_seed(5)
    assert train(models[1]) == once


@of_modules
def test_after_training_undo_leaves_a_model_as_it_was_built(remedy):
    model = fitting(remedy)
    before = look(model)
    remedy.verb(model)
    train(model)
    undo(model)
    after = look(model)
    assert after[:2] == before[:2]
    assert list(after[2]) == list(before[2])
    assert after[3] == before[3]
    assert [value.shape for value in after[2].values()] == [value.shape for value in before[2].values()]
    twin = fitting(remedy)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(X), twin(X))
    assert train(model) == train(twin)


@of_modules
def test_what_preserves_the_function_does(remedy):
    x = X if remedy.name == "wider" else X.double()  # which has nothing to widen in float64
    model = fitting(remedy).to(x.dtype).eval()
    expected = model(x)
    remedy.verb(model)
    if remedy.preserves:
        torch.testing.assert_close(model.eval()(x), expected)


@of_modules
def test_nothing_is_drawn_from_the_scripts_numbers(remedy):
    model = fitting(remedy)
    state = torch.get_rng_state()
    remedy.verb(model)
    assert torch.equal(torch.get_rng_state(), state)
    train(model)
    assert torch.equal(torch.get_rng_state(), state)


@of_modules
def test_what_it_does_not_fit_is_refused_by_name(remedy):
    with pytest.raises(NotApplicable, match=f"^{remedy.name}: expected .*got "):
        remedy.verb(nn.Identity())


@of_modules
def test_a_model_that_is_refused_stays_as_it_was(remedy):
    model = nn.Sequential(nn.Embedding(3, 2))
    before = look(model)
    try:
        remedy.verb(model)
    except NotApplicable:
        assert applied(model) == ()
        assert_same(look(model), before)


@of_optimizers
def test_of_an_optimizer_twice_is_once_and_undo_brings_it_back(remedy):
    model = Net()
    model(X).sum().backward()
    optimizer = torch.optim.Adam(
        [{"params": model.rnn.parameters()}, {"params": model.head.parameters(), "lr": 0.1}], lr=0.01
    )
    optimizer.step()
    kind, state = type(optimizer), copy.deepcopy(optimizer.state_dict())
    numbers = torch.get_rng_state()
    assert remedy.verb(optimizer) is optimizer
    hooks = len(optimizer._optimizer_step_pre_hooks)
    assert remedy.verb(optimizer) is optimizer
    assert len(optimizer._optimizer_step_pre_hooks) == hooks
    assert applied(optimizer) == (remedy.name,)
    assert torch.equal(torch.get_rng_state(), numbers)
    undo(optimizer)
    assert applied(optimizer) == ()
    assert type(optimizer) is kind
    assert not optimizer._optimizer_step_pre_hooks
    after = optimizer.state_dict()
    assert after["param_groups"] == state["param_groups"]
    for key, own in state["state"].items():
        for name, value in own.items():
            assert torch.equal(after["state"][key][name], value)
    twin_model = copy.deepcopy(model)
    twin = torch.optim.Adam(
        [{"params": twin_model.rnn.parameters()}, {"params": twin_model.head.parameters(), "lr": 0.1}], lr=0.01
    )
    twin.load_state_dict(state)
    for own, other in zip(model.parameters(), twin_model.parameters(), strict=True):
        other.grad = own.grad.clone()
    optimizer.step()
    twin.step()
    for own, other in zip(model.parameters(), twin_model.parameters(), strict=True):
        assert torch.equal(own, other)
