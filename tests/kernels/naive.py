"""The naive twin: one sequence at a time, one step at a time, with torch's own detach, hooks and retained gradients."""

from typing import Any

import torch
from tests.kernels.scans import STATES
from torch import Tensor
from torch.nn import functional

SETTINGS = ("activation", "decay", "rate", "dt", "gamma", "epsilon")
ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": lambda a: a.clamp(min=0),
    "leaky_relu": lambda a: torch.where(a > 0, a, 0.01 * a),
    "elu": lambda a: torch.where(a > 0, a, torch.exp(a) - 1),
    "selu": functional.selu,
    "sigmoid": lambda a: 1 / (1 + torch.exp(-a)),
    "identity": lambda a: a,
}


def step(family: str, tensors: dict[str, Any], x: Tensor, state: tuple[Tensor, ...], options: dict[str, Any]):
    """One step of one sequence: the equations, a vector each."""
    w_ih, b_ih = tensors["weight_ih"], tensors.get("bias_ih", tensors.get("bias"))
    from_x = (x if w_ih is None else w_ih @ x) + (0 if b_ih is None else b_ih)
    h = state[0]
    if family == "cornn":
        y, z = state
        u, v = tensors["weight_hh"].chunk(2, 1)
        acceleration = torch.tanh(u @ y + v @ z + from_x) - options["gamma"] * y - options["epsilon"] * z
        z = z + options["dt"] * acceleration
        return y + options["dt"] * z, z
    if family == "lem":
        y, z = state
        (w_1, w_2, w_y), (x_1, x_2, x_y, x_z) = tensors["weight_y"].chunk(3), from_x.chunk(4)
        faster, slower = (options["dt"] * torch.sigmoid(w @ y + part) for w, part in ((w_1, x_1), (w_2, x_2)))
        z = z + faster * (torch.tanh(w_y @ y + x_y) - z)
        return y + slower * (torch.tanh(tensors["weight_z"] @ z + x_z) - y), z
    w_hh, b_hh = tensors["weight_hh"], tensors["bias_hh"]
    from_h = w_hh @ h + (0 if b_hh is None else b_hh)
    if family == "elman":
        name = options.get("activation", "tanh")
        a = from_x + from_h
        f = torch.where(a > 0, a, tensors["slope"] * a) if name == "prelu" else ACTIVATIONS[name](a)
        return (options.get("decay", 0.0) * h + options.get("rate", 1.0) * f,)
    if family == "gru":
        (rx, zx, nx), (rh, zh, nh) = from_x.chunk(3), from_h.chunk(3)
        r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
        return ((1 - z) * torch.tanh(nx + r * nh) + z * h,)
    i, f, g, o = (from_x + from_h).chunk(4)
    p = tensors.get("peephole")
    p_i, p_f, p_o = torch.zeros(3, len(h), dtype=h.dtype) if p is None else p.chunk(3)
    c = torch.sigmoid(f + p_f * state[1]) * state[1] + torch.sigmoid(i + p_i * state[1]) * torch.tanh(g)
    return torch.sigmoid(o + p_o * c) * torch.tanh(c), c


def handed(state: tuple[Tensor, ...], *, detached: bool, zeroed: bool, clip: float) -> tuple[Tensor, ...]:
    """What a step gets of the state before it."""
    joined = torch.cat(state)
    if detached:
        joined = joined.detach()
    if zeroed:
        joined = torch.zeros_like(joined)
    joined = joined * 1.0  # a tensor of its own: its gradient is what this step alone sends back
    if joined.requires_grad:
        joined.register_hook(lambda gradient: gradient * min(1.0, clip / max(float(gradient.norm()), 1e-300)))
    return joined.chunk(len(state))


def scan(family: str):
    """The naive twin of a scan, with its signature; the probe's gradient is written when the others are known."""

    def run(**arguments: Any) -> tuple[Tensor, ...]:
        options = {k: arguments.get(k) for k in SETTINGS if arguments.get(k) is not None}
        x, probe = arguments["x"], arguments.get("probe")
        start = tuple(arguments[name] for name in STATES[family])
        count = start[0].shape[0]
        sizes = arguments.get("batch_sizes")
        sizes = [count] * (len(x) // count) if sizes is None else sizes.tolist()
        first_row = [sum(sizes[:t]) for t in range(len(sizes))]
        resets, cut, reverse = arguments.get("resets"), arguments.get("cut", 0), arguments.get("reverse", False)

        rows: list[Any] = [None] * len(x)
        ends = []
        for b in range(count):
            steps = [t for t, size in enumerate(sizes) if size > b]
            state = tuple(entry[b] for entry in start)
            for n, t in enumerate(reversed(steps) if reverse else steps):
                row = first_row[t] + b
                edge = t + 1 if reverse else t
                before = handed(
                    state,
                    detached=bool(cut) and n > 0 and edge % cut == 0,
                    zeroed=resets is not None and bool(resets[row]),
                    clip=arguments.get("clip", float("inf")),
                )
                state = step(family, arguments, x[row], before, options)
                rows[row] = state
                for number, entry in enumerate(state):
                    entry.register_hook(_norm_to(probe, number, row))
            ends.append(state)
        return torch.stack([s[0] for s in rows]), *(torch.stack(e) for e in zip(*ends, strict=True))

    return run


def _norm_to(probe: Tensor | None, number: int, row: int):
    def write(gradient: Tensor) -> None:
        if probe is not None:
            probe.grad = torch.zeros_like(probe) if probe.grad is None else probe.grad
            probe.grad[number, row] = gradient.norm()

    return write
