"""What recurrent networks are built with: `longreach.nn.LSTM` where `torch.nn.LSTM` stood."""

from longreach.nn.accelerating import accelerate
from longreach.nn.layers import GRU, LSTM, RNN
from longreach.nn.observing import Norms, Seen, observe

__all__ = ["GRU", "LSTM", "RNN", "Norms", "Seen", "accelerate", "observe"]
