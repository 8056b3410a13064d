"""The conformance table: every cell, option and layer is held to every check of longreach.testing."""

from functools import partial

import jaxtyping
import pytest
from tests.nn import twins
from torch import nn

import longreach.nn
from longreach import kernels
from longreach.nn.cells import (
    GRU,
    LEM,
    LRU,
    LSTM,
    Antisymmetric,
    BatchNorm,
    CoRNN,
    Dilated,
    Elman,
    IndRNN,
    LayerNorm,
    Leaky,
    MinGRU,
    MinLSTM,
    Orthogonal,
    Peephole,
    Phases,
    Skip,
    Variational,
    Zoneout,
)
from longreach.testing import OF_CELLS, OF_NETWORKS, Case, compiles_whole

CELLS = {
    **{f"elman {name}": Case(partial(Elman, activation=name)) for name in kernels.ACTIVATIONS},
    "elman": Case(Elman, twin=twins.of_torch(nn.RNN)),
    "elman relu": Case(partial(Elman, activation="relu"), twin=twins.of_torch(nn.RNN, nonlinearity="relu")),
    "elman identity start": Case(partial(Elman, activation="relu", start="identity", gain=0.9)),
    "elman orthogonal start": Case(partial(Elman, start="orthogonal")),
    "elman no bias": Case(partial(Elman, bias=False), twin=twins.of_torch(nn.RNN, bias=False)),
    "leaky": Case(Leaky, twin=twins.leaky),
    "leaky sigmoid": Case(partial(Leaky, a=0.5, activation="sigmoid")),
    "orthogonal": Case(Orthogonal, twin=twins.orthogonal),
    "orthogonal cayley": Case(partial(Orthogonal, orthogonal_map="cayley", activation="identity")),
    "antisymmetric": Case(Antisymmetric, twin=twins.antisymmetric),
    "lstm": Case(LSTM, twin=twins.of_torch(nn.LSTM)),
    "lstm forget bias": Case(partial(LSTM, forget_bias=1.0), twin=twins.of_torch(nn.LSTM)),
    "lstm chrono": Case(partial(LSTM, chrono=30, start="orthogonal")),
    "peephole": Case(Peephole, twin=twins.peephole),
    "gru": Case(GRU, twin=twins.of_torch(nn.GRU)),
    "skip": Case(partial(Skip, inner=Elman, lag=3), twin=twins.skip(3)),
    "skip lstm": Case(partial(Skip, inner=LSTM, lag=2)),
    "dilated": Case(partial(Dilated, inner=Elman, lag=2), twin=twins.dilated(2)),
    "dilated lstm": Case(partial(Dilated, inner=LSTM, lag=3)),
    "dilated by one": Case(partial(Dilated, inner=GRU, lag=1)),
    "layer norm elman": Case(partial(LayerNorm, inner=Elman), twin=twins.layernorm_elman),
    "layer norm lstm": Case(partial(LayerNorm, inner=LSTM), twin=twins.layernorm_lstm),
    "layer norm gru": Case(partial(LayerNorm, inner=GRU)),
    "batch norm elman": Case(partial(BatchNorm, inner=Elman, max_length=9)),
    "batch norm lstm": Case(partial(BatchNorm, inner=LSTM, max_length=4), twin=twins.batchnorm_lstm),
    "zoneout elman": Case(partial(Zoneout, inner=Elman, rate=0.3)),
    "zoneout lstm": Case(partial(Zoneout, inner=LSTM, rate=(0.05, 0.5)), twin=twins.zoneout_lstm),
    "zoneout around skip": Case(partial(Zoneout, inner=partial(Skip, inner=GRU, lag=2))),
    "variational gru": Case(partial(Variational, inner=GRU)),
    "variational lstm": Case(partial(Variational, inner=LSTM)),
    "indrnn": Case(IndRNN, twin=twins.indrnn),
    "indrnn tanh": Case(partial(IndRNN, activation="tanh", longest=10)),
    "lru": Case(partial(LRU, r_min=0.4, r_max=0.9), twin=twins.lru),
    "phases": Case(partial(Phases, lag=5), twin=twins.phases),
    "mingru": Case(MinGRU, twin=twins.mingru),
    "minlstm": Case(MinLSTM, twin=twins.minlstm),
    "cornn": Case(CoRNN, twin=twins.cornn),
    "lem": Case(partial(LEM, dt=0.5), twin=twins.lem),
}


class Layer(Case):
    """A layer with torch's contract in the place of a cell."""

    def build(self, input_size, hidden_size, **options):
        return self.cell(input_size, hidden_size, **options)


LAYERS = {
    "RNN": Layer(longreach.nn.RNN),
    "RNN elu": Layer(partial(longreach.nn.RNN, nonlinearity="elu")),
    "RNN prelu": Layer(partial(longreach.nn.RNN, nonlinearity="prelu", bias=False)),
    "GRU": Layer(longreach.nn.GRU),
    "LSTM": Layer(longreach.nn.LSTM),
}

TABLE = [
    *((name, case, check) for name, case in CELLS.items() for check in (*OF_NETWORKS, *OF_CELLS)),
    *((name, case, check) for name, case in LAYERS.items() for check in OF_NETWORKS),
]


@pytest.mark.parametrize(
    ("case", "check"), [pytest.param(case, check, id=f"{name}-{check.__name__}") for name, case, check in TABLE]
)
def test_conformance(case, check, monkeypatch):
    if check is compiles_whole:  # what checks the shapes in annotations cannot be traced
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    check(case)
