"""The scans over time, h₀, x₁ … x_T -> h₁ … h_T: one name and one signature in every backend.

reference  plain torch: the specification
operators  what to call: custom operators of torch, compiled on the CPU, the reference elsewhere
"""

from longreach.kernels.operators import cornn, elman, gru, lem, lstm
from longreach.kernels.reference import ACTIVATIONS

__all__ = ["ACTIVATIONS", "cornn", "elman", "gru", "lem", "lstm"]
