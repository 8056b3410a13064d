"""Cells, one a file: what they compute, whence they come, and what becomes of a gradient in them."""

from longreach.nn.cells.elman import Elman
from longreach.nn.cells.gru import GRU
from longreach.nn.cells.leaky import Leaky
from longreach.nn.cells.lstm import LSTM, Memory

__all__ = ["GRU", "LSTM", "Elman", "Leaky", "Memory"]
