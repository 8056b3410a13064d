"""What recurrent networks are built with.

RNN, GRU, LSTM         where torch's stood: the same arguments, weights and numbers, and options that torch lacks
Recurrent              any cell of longreach.nn.cells, or of yours, through time; Cell is what it has to be
accelerate, observe    torch's layers made ours in place; the norms of all states' gradients
"""

from longreach.nn import cells
from longreach.nn.accelerating import accelerate
from longreach.nn.cell import Cell
from longreach.nn.layers import GRU, LSTM, RNN
from longreach.nn.observing import Norms, Seen, observe
from longreach.nn.recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Norms", "Recurrent", "Seen", "accelerate", "cells", "observe"]
