"""Remedies put into a script where it makes its optimizer; in processes of their own, for torch is changed."""

import json
import subprocess
import sys
import textwrap

import pytest

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


@pytest.mark.parametrize(
    "given",
    [
        "model.parameters()",
        "list(model.parameters())",
        "model.named_parameters()",
        "[{'params': model.rnn.parameters()}, {'params': model.head.parameters(), 'lr': 0.5}]",
        "({'params': part.parameters()} for part in (model.rnn, model.head))",
    ],
)
def test_an_optimizer_gets_the_parameters_of_the_treated_model(given):
    result = run(
        f"""
        model = nn.Module(); model.rnn = nn.RNN(2, 3); model.head = nn.Linear(3, 1)
        optimizer = Adam({given})
        held = {{id(p) for g in optimizer.param_groups for p in g["params"]}}
        result["all"] = held == {{id(p) for p in model.parameters()}}
        result["groups"] = [len(g["params"]) for g in optimizer.param_groups]
        result["applied"] = list(applied(model)) + list(applied(optimizer))
        """,
        "lstm",
        "clip-norm",
    )
    assert result["all"]
    assert sum(result["groups"]) == 6
    assert result["applied"] == ["lstm", "clip-norm"]


def test_a_part_that_is_not_trained_stays_out():
    result = run(
        """
        model = nn.Module(); model.rnn = nn.RNN(2, 3); model.head = nn.Linear(3, 1)
        head = SGD(model.head.parameters(), 0.1)
        result["head"] = [len(g["params"]) for g in head.param_groups]
        rnn = SGD(model.rnn.parameters(), 0.1)
        result["rnn"] = {id(p) for p in rnn.param_groups[0]["params"]} == {id(p) for p in model.rnn.parameters()}
        """,
        "lstm",
    )
    assert result == {"head": [2], "rnn": True}


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


def test_tensors_without_a_module_are_left_alone():
    assert run(
        """
        optimizer = SGD([torch.zeros(2, requires_grad=True)], 0.1)
        result["count"] = len(optimizer.param_groups[0]["params"])
        """,
        "lstm",
    ) == {"count": 1}
