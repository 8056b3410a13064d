"""The scans in plain torch: the specification. Any device, any dtype, any order of derivative; as slow as it looks.

Rows, and the keywords that all scans share, are explained in walk.py. Weights, biases and gates are in torch's order.
G counts the gates of all units: H, 3H, 4H. `weight_ih` None: x [N, G] is W_ih xₜ already.
"""

from collections.abc import Callable
from functools import partial
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import linear

from longreach.kernels import border
from longreach.kernels.half import widened
from longreach.kernels.walk import Probe, State, Steps, walk

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": partial(functional.leaky_relu, negative_slope=0.01),
    "prelu": functional.prelu,  # with a slope that is learned
    "elu": functional.elu,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "identity": torch.nn.Identity(),
}


@widened
def elman(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "H I"] | None,
    weight_hh: Float[Tensor, "H H"],
    bias_ih: Float[Tensor, "H"] | None,
    bias_hh: Float[Tensor, "H"] | None,
    h0: Float[Tensor, "B H"],
    *,
    activation: str = "tanh",
    slope: Float[Tensor, "#H"] | None = None,
    decay: float = 0.0,
    rate: float = 1.0,
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"]]:
    """hₜ = decay·hₜ₋₁ + rate·f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh);  gives h and h_n.

    Equals  torch.nn.RNN with decay = 0, rate = 1 (Elman 1990, Cognitive Science 14:179-211)
            leaky integration with decay = 1 - a, rate = a (Jaeger et al. 2007, Neural Networks 20:335-352)
            an Euler step with decay = 1, rate = ε (Chang et al. 2019, arXiv 1902.09689, equation 6)
    `slope`, one number or one for each unit, belongs to "prelu" alone.
    """
    f = ACTIVATIONS[activation] if slope is None else partial(ACTIVATIONS[activation], weight=slope)

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        (h,) = state
        new = f(from_x + linear(h, weight_hh, bias_hh))
        if (decay, rate) != (0.0, 1.0):  # 0 · inf would be NaN
            new = decay * h + rate * new
        return (border.report(new, probe[0]),)

    states, (h_n,) = walk(step, _project(x, weight_ih, bias_ih), (h0,), **steps)
    return _outputs(states, h0), h_n


@widened
def gru(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_hh: Float[Tensor, "G H"],
    bias_ih: Float[Tensor, "G"] | None,
    bias_hh: Float[Tensor, "G"] | None,
    h0: Float[Tensor, "B H"],
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"]]:
    """r, z = σ(W xₜ + b + W' hₜ₋₁ + b'),  n = tanh(Wₙ xₜ + bₙ + r·(W'ₙ hₜ₋₁ + b'ₙ)),  hₜ = (1-z)·n + z·hₜ₋₁.

    Gives h and h_n. Of Cho et al. 2014 (arXiv 1406.1078) it is the form that all fused kernels have: the reset gate
    acts on the product with h, not on h.
    """

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        (h,) = state
        (r, z, n), (r_h, z_h, n_h) = from_x.chunk(3, 1), linear(h, weight_hh, bias_hh).chunk(3, 1)
        r, z = torch.sigmoid(r + r_h), torch.sigmoid(z + z_h)
        n = torch.tanh(n + r * n_h)
        return (border.report((1 - z) * n + z * h, probe[0]),)

    states, (h_n,) = walk(step, _project(x, weight_ih, bias_ih), (h0,), **steps)
    return _outputs(states, h0), h_n


@widened
def lstm(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_hh: Float[Tensor, "G H"],
    bias_ih: Float[Tensor, "G"] | None,
    bias_hh: Float[Tensor, "G"] | None,
    h0: Float[Tensor, "B H"],
    c0: Float[Tensor, "B H"],
    peephole: Float[Tensor, "P"] | None = None,
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """i, f, o = σ(W xₜ + b + W' hₜ₋₁ + b'),  g = tanh(the same),  cₜ = f·cₜ₋₁ + i·g,  hₜ = o·tanh(cₜ).

    Gives h, h_n and c_n (Gers, Schmidhuber & Cummins 2000, Neural Computation 12:2451-2471, section 3).
    `peephole` [3H] lets the gates i and f see p·cₜ₋₁ besides, and o p·cₜ (Gers & Schmidhuber 2000, IJCNN 3:189-194).
    """
    p = None if peephole is None else peephole.chunk(3)

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        h, c = state
        i, f, g, o = (from_x + linear(h, weight_hh, bias_hh)).chunk(4, 1)
        if p is not None:
            i, f = i + p[0] * c, f + p[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        c = border.report(c, probe[1])  # before h is made of it: dL/dc has a part through h
        if p is not None:
            o = o + p[2] * c
        h = torch.sigmoid(o) * torch.tanh(c)
        return border.report(h, probe[0]), c

    states, (h_n, c_n) = walk(step, _project(x, weight_ih, bias_ih), (h0, c0), **steps)
    return _outputs(states, h0), h_n, c_n


@widened
def cornn(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "H I"] | None,
    weight_hh: Float[Tensor, "H K"],
    bias: Float[Tensor, "H"] | None,
    y0: Float[Tensor, "B H"],
    z0: Float[Tensor, "B H"],
    *,
    dt: float,
    gamma: float,
    epsilon: float,
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """Steps of `cornn_step`;  gives y, y_n and z_n."""

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        return cornn_step(from_x, state, weight_hh, dt, gamma, epsilon, probe)

    states, (y_n, z_n) = walk(step, _project(x, weight_ih, bias), (y0, z0), **steps)
    return _outputs(states, y0), y_n, z_n


def cornn_step(
    from_x: Tensor,
    state: State,
    weight_hh: Tensor,
    dt: float,
    gamma: float,
    epsilon: float,
    probe: Probe = (None, None),
) -> State:
    """zₜ = zₜ₋₁ + Δt (tanh(W [yₜ₋₁ zₜ₋₁] + xₜ) - γ yₜ₋₁ - ε zₜ₋₁),   yₜ = yₜ₋₁ + Δt zₜ.

    (Rusch & Mishra 2021, arXiv 2010.00951, equation 3)
    """
    y, z = state
    force = torch.tanh(from_x + linear(torch.cat((y, z), 1), weight_hh))
    z = border.report(z + dt * (force - gamma * y - epsilon * z), probe[1])  # before y is made of it
    return border.report(y + dt * z, probe[0]), z


@widened
def lem(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_y: Float[Tensor, "K H"],
    weight_z: Float[Tensor, "H H"],
    bias: Float[Tensor, "G"] | None,
    y0: Float[Tensor, "B H"],
    z0: Float[Tensor, "B H"],
    *,
    dt: float,
    **steps: Unpack[Steps],
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """Steps of `lem_step`;  gives y, y_n and z_n."""

    def step(from_x: Tensor, state: State, probe: Probe) -> State:
        return lem_step(from_x, state, weight_y, weight_z, dt, probe)

    states, (y_n, z_n) = walk(step, _project(x, weight_ih, bias), (y0, z0), **steps)
    return _outputs(states, y0), y_n, z_n


def lem_step(
    from_x: Tensor,
    state: State,
    weight_y: Tensor,
    weight_z: Tensor,
    dt: float,
    probe: Probe = (None, None),
) -> State:
    """δ, δ' = Δt σ(W yₜ₋₁ + …),  zₜ = (1 - δ) zₜ₋₁ + δ tanh(W_y yₜ₋₁ + …),  yₜ = (1 - δ') yₜ₋₁ + δ' tanh(W_z zₜ + …).

    … is a part of xₜ; in the order δ, δ', z, y (Rusch, Mishra, Erichson & Mahoney 2022, arXiv 2110.04744, equation 3).
    """
    y, z = state
    (fast, slow, of_z, of_y), (fast_y, slow_y, z_y) = from_x.chunk(4, 1), linear(y, weight_y).chunk(3, 1)
    d_z, d_y = dt * torch.sigmoid(fast + fast_y), dt * torch.sigmoid(slow + slow_y)
    z = border.report((1 - d_z) * z + d_z * torch.tanh(of_z + z_y), probe[1])  # before y is made of it
    return border.report((1 - d_y) * y + d_y * torch.tanh(of_y + linear(z, weight_z)), probe[0]), z


def _project(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        return linear(x, weight, bias)
    return x if bias is None else x + bias


def _outputs(states: list[State], h0: Tensor) -> Tensor:
    return torch.cat([h0[:0], *(state[0] for state in states)])  # h0[:0]: the shape, where there is no step
