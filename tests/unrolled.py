"""The naive twin: fused layers written out step by step, and their Jacobian products taken one lag at a time."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class Place:
    """One layer in one direction: what went in and which states came out, each in its own running time."""

    module: nn.RNNBase
    weights: list[Tensor]
    inputs: list[Tensor] = field(default_factory=list)
    states: list[tuple[Tensor, ...]] = field(default_factory=list)
    slope: Tensor | None = None  # of a PReLU
    upward: list[Tensor] = field(default_factory=list)  # what goes to the layer above or to the loss

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        w_ih, w_hh, *rest = self.weights
        b_ih, b_hh = rest[:2] if self.module.bias else (0.0, 0.0)
        h = state[0]
        from_x, from_h = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
        if self.module.mode == "RNN_PRELU":
            return (functional.prelu(from_x + from_h, self.slope),)
        if self.module.mode.startswith("RNN_"):
            return (getattr(functional, self.module.mode.removeprefix("RNN_").lower())(from_x + from_h),)
        if self.module.mode == "GRU":
            (rx, zx, nx), (rh, zh, nh) = from_x.chunk(3, -1), from_h.chunk(3, -1)
            r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
            return ((1 - z) * torch.tanh(nx + r * nh) + z * h,)
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return (h @ rest[-1].T if self.module.proj_size else h, c)

    def sent_back(self, anchor: int, lag: int, seed: tuple[Tensor, ...]) -> Tensor:
        """Norm per row of Jᵀ seed, J = ∂s_anchor/∂s_{anchor-lag}."""
        leaf = tuple(part.detach().requires_grad_() for part in self.states[anchor - lag])
        state = leaf
        for t in range(anchor - lag + 1, anchor + 1):
            state = self.step(self.inputs[t].detach(), state)
        pulled = torch.autograd.grad(state, leaf, seed, allow_unused=True)
        return torch.cat(
            [p if p is not None else torch.zeros_like(s) for p, s in zip(pulled, leaf, strict=True)], -1
        ).norm(dim=-1)


def unroll(module: nn.RNNBase, x: Tensor, hx: tuple[Tensor, ...] | None = None) -> tuple[list[Place], Tensor]:
    """All places of a module over time-major `x` (time, row, feature), and the output of the top."""
    directions = 2 if module.bidirectional else 1
    places, flow = [], list(x)
    for layer in range(module.num_layers):
        columns = []
        for side in range(directions):
            n = layer * directions + side
            names = module._all_weights[n]
            slope = getattr(module, names[0].replace("weight_ih", "slope"), None)
            place = Place(module, [getattr(module, name) for name in names], slope=slope)
            width = module.proj_size or module.hidden_size
            state = tuple(
                hx[part][n] if hx is not None else x.new_zeros(x.shape[1], w)
                for part, w in enumerate([width, module.hidden_size][: 2 if module.mode == "LSTM" else 1])
            )
            for step in flow[::-1] if side else flow:
                state = place.step(step, state)
                place.inputs.append(step)
                place.states.append(state)
                place.upward.append(state[0] * 1.0)
            places.append(place)
            columns.append(place.upward[::-1] if side else place.upward)
        flow = [torch.cat(step, -1) for step in zip(*columns, strict=True)]
    return places, torch.stack(flow)
