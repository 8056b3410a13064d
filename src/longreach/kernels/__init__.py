"""The scans over time, h₀, x₁ … x_T -> h₁ … h_T: one name and one signature in every backend.

reference  plain torch: the specification
operators  what to call: custom operators of torch, compiled on the CPU, the reference elsewhere
"""

from longreach.kernels.operators import elman, gru, lstm
from longreach.kernels.reference import ACTIVATIONS

__all__ = ["ACTIVATIONS", "elman", "gru", "lstm"]
