"""The LSTM whose output is a projection (Sak, Senior & Beaufays 2014, arXiv 1402.1128, section 3.1): no fused form."""

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from longreach.kernels import border
from longreach.kernels.half import widened
from longreach.kernels.walk import Probe, State, Steps, walk


@widened
def projected_lstm(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"],
    weight_hh: Float[Tensor, "G R"],
    bias_ih: Float[Tensor, "G"] | None,
    bias_hh: Float[Tensor, "G"] | None,
    weight_hr: Float[Tensor, "R H"],
    h0: Float[Tensor, "B R"],
    c0: Float[Tensor, "B H"],
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N R"], Float[Tensor, "B R"], Float[Tensor, "B H"]]:
    """As kernels.lstm, G = 4 H, but hₜ = W_hr (o·tanh(cₜ)), of R < H numbers, is what goes out and what is carried on.

    Cost  a loop in Python: what torch's layers with proj_size cannot do, at the price of a loop
    """

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        h, c = state
        i, f, g, o = (from_x + linear(h, weight_hh, bias_hh)).chunk(4, 1)
        c = border.report(torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g), probe[1])
        return border.report(linear(torch.sigmoid(o) * torch.tanh(c), weight_hr), probe[0]), c

    states, (h_n, c_n) = walk(step, linear(x, weight_ih, bias_ih), (h0, c0), **steps)
    return torch.cat([h0[:0], *(h for h, _ in states)]), h_n, c_n
