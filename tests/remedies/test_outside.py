"""Remedies put into a script where it makes its optimizer; in processes of their own, for torch is changed."""

import json
import subprocess
import sys
import textwrap

PRELUDE = """
import json, sys
import torch
from torch import nn
from torch.optim import SGD, Adam
from longreach.errors import NotApplicable
from longreach.remedies import applied, named
from longreach.remedies.outside import Treatment, put_in

class Ear:
    places, refusals = [], []
    def made(self, file, line): self.places.append(line)
    def refused(self, message): self.refusals.append(message)

ear = Ear()
put_in(Treatment([named(name) for name in sys.argv[1:]], ear))
result = {}
"""


def run(script, *names):
    """What the script has put into `result`, in a process whose optimizers are treated with these remedies."""
    program = PRELUDE + textwrap.dedent(script) + "\nprint(json.dumps(result))\n"
    found = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def test_an_optimizer_gets_the_parameters_of_the_treated_model_however_they_are_given():
    result = run(
        """
        def a_model():
            model = nn.Module(); model.rnn = nn.RNN(2, 3); model.head = nn.Linear(3, 1)
            return model

        for name, given in {
            "iterator": lambda model: model.parameters(),
            "list": lambda model: list(model.parameters()),
            "named": lambda model: model.named_parameters(),
            "groups": lambda model: [
                {"params": model.rnn.parameters()}, {"params": model.head.parameters(), "lr": 0.5}
            ],
            "groups, made as they are read": lambda model: (
                {"params": part.parameters()} for part in (model.rnn, model.head)
            ),
        }.items():
            model = a_model()
            optimizer = Adam(given(model))
            held = [own for group in optimizer.param_groups for own in group["params"]]
            all_of_it = {id(own) for own in held} == {id(own) for own in model.parameters()} and len(held) == 6
            result[name] = [all_of_it, *applied(model), *applied(optimizer)]

        model = a_model()
        head = SGD(model.head.parameters(), 0.1)
        result["head alone"] = [len(group["params"]) for group in head.param_groups]
        rnn = SGD(model.rnn.parameters(), 0.1)
        trained = rnn.param_groups[0]["params"]
        result["then the rest"] = {id(own) for own in trained} == {id(own) for own in model.rnn.parameters()}
        loose = SGD([torch.zeros(2, requires_grad=True)], 0.1)
        result["without a module"] = len(loose.param_groups[0]["params"])
        """,
        "lstm",
        "clip-norm",
    )
    assert result.pop("head alone") == [2]
    assert result.pop("then the rest")
    assert result.pop("without a module") == 1
    assert list(result) == ["iterator", "list", "named", "groups", "groups, made as they are read"]
    assert all(found == [True, "lstm", "clip-norm"] for found in result.values())


def test_the_script_draws_the_same_random_numbers():
    script = """
        torch.manual_seed(3)
        model = nn.RNN(2, 3)
        optimizer = SGD(model.parameters(), 0.1)
        result["next"] = torch.rand(3).tolist()
        """
    assert run(script, "lstm") == run(script)


def test_remedies_that_do_not_fit_raise_where_the_optimizer_is_made():
    result = run(
        """
        model = nn.Linear(2, 3)
        try:
            SGD(model.parameters(), 0.1)
        except NotApplicable as refusal:
            result["told"] = ear.refusals == [str(refusal)]
        """,
        "identity-init",
    )
    assert result == {"told": True}


def test_optimizers_of_the_script_own_making_are_treated_once():
    result = run(
        """
        class Mine(SGD):
            def __init__(self, params, lr):
                super().__init__(params, lr)
                self.mine = True

        class Plain(Adam):
            pass

        for kind in (Mine, Plain):
            optimizer = kind(nn.RNN(2, 3).parameters(), 0.1)
            result[kind.__name__] = list(applied(optimizer))
        """,
        "clip-norm",
    )
    assert result == {"Mine": ["clip-norm"], "Plain": ["clip-norm"]}


def test_the_place_in_the_script_is_told():
    result = run(
        """
        def make(model):
            return Adam(
                model.parameters(),
            )
        make(nn.RNN(2, 3))
        result["line"] = ear.places
        """
    )
    line = 1 + (PRELUDE + "x").count("\n") + 2
    assert result["line"] == [line]
