"""Torch's layers become ours: in a model that is there, and in a script as it builds them."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import longreach.nn as ours

SCRIPT = Path(__file__).parents[1] / "scripts" / "fifty_steps.py"


class Own(nn.LSTM):
    pass


def model():
    torch.manual_seed(0)
    layers = {"rnn": nn.RNN(3, 4), "gru": nn.GRU(4, 5, 2, dropout=0.5), "deep": nn.Sequential(nn.LSTM(5, 4))}
    return nn.ModuleDict({**layers, "own": Own(3, 4), "cell": nn.LSTMCell(3, 4), "head": nn.Linear(4, 1)})


def output_of(model, x):
    torch.manual_seed(1)  # of the dropout
    for layer in (model["rnn"], model["gru"], model["deep"][0]):
        x, _ = layer(x)
    return x


def test_the_layers_of_a_model_are_swapped_where_they_stand():
    plain, swapped = model(), model()
    parameters, optimizer = list(swapped.parameters()), torch.optim.SGD(swapped.parameters(), lr=0.1)
    calls = []
    swapped["gru"].register_forward_hook(lambda *_: calls.append("hook"))
    assert ours.accelerate(swapped) is swapped
    assert ours.accelerate(swapped) is swapped
    kinds = [type(swapped[name]) for name in ("rnn", "gru", "own", "cell", "head")]
    assert kinds == [ours.RNN, ours.GRU, Own, nn.LSTMCell, nn.Linear]
    assert type(swapped["deep"][0]) is ours.LSTM
    assert all(a is b for a, b in zip(parameters, swapped.parameters(), strict=True))
    x = torch.randn(6, 2, 3)
    torch.testing.assert_close(output_of(swapped, x), output_of(plain, x))
    output_of(swapped, x).sum().backward()
    before = swapped["rnn"].weight_hh_l0.clone()
    optimizer.step()
    assert not torch.equal(before, swapped["rnn"].weight_hh_l0)
    assert calls == ["hook", "hook"]
    assert str(swapped) == str(plain)


def test_a_swapped_layer_takes_our_options():
    layer = ours.accelerate(nn.LSTM(3, 4)).set_options(cut=2)
    assert isinstance(layer, ours.LSTM)
    assert repr(layer) == "LSTM(3, 4, cut=2)"


def test_anything_else_is_given_back():
    for other in (nn.Linear(1, 1), Own(1, 1), nn.GRUCell(1, 1)):
        kind = type(other)
        assert type(ours.accelerate(other)) is kind


def losses(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return torch.tensor([float(line) for line in done.stdout.split()], dtype=torch.float64)


@pytest.mark.parametrize(
    "arguments",
    [
        "RNN --layers 2 --dropout 0.3 --bidirectional",
        "GRU --packed",
        "LSTM",
        "LSTM --layers 2 --dropout 0.3 --bidirectional --packed",
        "Own",
    ],
)
def test_a_script_as_it_is_has_the_same_losses(tmp_path, arguments):
    script = (str(SCRIPT), *arguments.split())
    run = ("-m", "longreach", "run", "--accelerate", "--quiet", "--run-dir", str(tmp_path / "run"))
    expected, found = losses(sys.executable, *script), losses(sys.executable, *run, *script)
    assert len(found) == 50
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert expected[-1] < 0.2 * expected[0]


STAND_IN = """
import pickle, sys
import torch
from longreach.nn.accelerating import stand_in_for_torch
stand_in_for_torch()
import longreach.nn
from torch import nn
from torch.nn.modules import LSTM

class Own(nn.LSTM):
    def __init__(self, width):
        super().__init__(width, width)

layer, own = nn.LSTM(3, 4), Own(3)
assert nn.LSTM is LSTM is torch.nn.modules.rnn.LSTM
assert isinstance(layer, longreach.nn.LSTM) and isinstance(own, nn.LSTM) and not isinstance(layer, nn.GRU)
assert type(layer).__module__ == "torch.nn.modules.rnn" and "Apply a multi-layer" in type(layer).__doc__
x = torch.randn(5, 2, 3)
output, _ = torch.compile(layer, backend="eager")(x)  # left where the layer is, as with torch's own
torch.testing.assert_close(output, layer(x)[0])
nn.GRU.from_torch, nn.RNN(3, 4, nonlinearity="relu")
pickle.dump((layer, x, output.detach()), open(sys.argv[1], "wb"))
"""


def test_what_is_pickled_in_such_a_script_loads_as_torchs(tmp_path):
    subprocess.run([sys.executable, "-W", "error", "-c", STAND_IN, str(tmp_path / "model")], check=True)
    layer, x, output = pickle.loads((tmp_path / "model").read_bytes())
    assert type(layer) is nn.LSTM
    torch.testing.assert_close(layer(x)[0], output)
