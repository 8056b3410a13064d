"""Cells, one a file: what they compute, whence they come, and what becomes of a gradient in them.

one matrix          Elman, Leaky, Orthogonal, Antisymmetric
gates               GRU, LSTM, Peephole
around any cell     Skip, Dilated, Zoneout
around gates        LayerNorm, BatchNorm, Variational
no matrix in time   IndRNN, LRU, Phases, MinGRU, MinLSTM
differential        CoRNN, LEM
"""

from longreach.nn.cells.antisymmetric import Antisymmetric
from longreach.nn.cells.batchnorm import BatchNorm
from longreach.nn.cells.cornn import CoRNN
from longreach.nn.cells.dilated import Dilated
from longreach.nn.cells.elman import Elman
from longreach.nn.cells.gru import GRU
from longreach.nn.cells.indrnn import IndRNN
from longreach.nn.cells.layernorm import LayerNorm
from longreach.nn.cells.leaky import Leaky
from longreach.nn.cells.lem import LEM
from longreach.nn.cells.lru import LRU
from longreach.nn.cells.lstm import LSTM
from longreach.nn.cells.mingru import MinGRU
from longreach.nn.cells.minlstm import MinLSTM
from longreach.nn.cells.orthogonal import Orthogonal
from longreach.nn.cells.peephole import Peephole
from longreach.nn.cells.phases import Phases
from longreach.nn.cells.skip import Skip
from longreach.nn.cells.variational import Variational
from longreach.nn.cells.zoneout import Zoneout

__all__ = [
    "GRU",
    "LEM",
    "LRU",
    "LSTM",
    "Antisymmetric",
    "BatchNorm",
    "CoRNN",
    "Dilated",
    "Elman",
    "IndRNN",
    "LayerNorm",
    "Leaky",
    "MinGRU",
    "MinLSTM",
    "Orthogonal",
    "Peephole",
    "Phases",
    "Skip",
    "Variational",
    "Zoneout",
]
