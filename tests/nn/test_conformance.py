"""The conformance table: every cell and option is held to every check of longreach.testing."""

from functools import partial

import jaxtyping
import pytest
import torch
from torch import nn

from longreach import kernels
from longreach.nn.cells import GRU, LSTM, Elman, Leaky
from longreach.testing import CHECKS, Case, compiles_whole


def of_torch(layer, **options):
    """The twin in torch: its layer, called with the weights of our cell."""

    def twin(cell):
        module = layer(cell.input_size, cell.hidden_size, **options)
        weights = {f"{name}_l0": weight for name, weight in cell.named_parameters()}
        return lambda x: torch.func.functional_call(module, weights, (x,))[0]

    return twin


CELLS = {
    **{f"elman {name}": Case(partial(Elman, activation=name)) for name in kernels.ACTIVATIONS},
    "elman": Case(Elman, twin=of_torch(nn.RNN)),
    "elman relu": Case(partial(Elman, activation="relu"), twin=of_torch(nn.RNN, nonlinearity="relu")),
    "elman identity start": Case(partial(Elman, activation="relu", start="identity", gain=0.9)),
    "elman orthogonal start": Case(partial(Elman, start="orthogonal")),
    "elman no bias": Case(partial(Elman, bias=False), twin=of_torch(nn.RNN, bias=False)),
    "leaky": Case(Leaky),
    "leaky sigmoid": Case(partial(Leaky, a=0.5, activation="sigmoid")),
    "lstm": Case(LSTM, twin=of_torch(nn.LSTM)),
    "lstm forget bias": Case(partial(LSTM, forget_bias=1.0), twin=of_torch(nn.LSTM)),
    "lstm chrono": Case(partial(LSTM, chrono=30, start="orthogonal")),
    "gru": Case(GRU, twin=of_torch(nn.GRU)),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CELLS)
def test_cell(name, check, monkeypatch):
    if check is compiles_whole:  # what checks the shapes in annotations cannot be traced
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    check(CELLS[name])
