"""Nesterov's momentum, simplified (Bengio, Boulanger-Lewandowski & Pascanu 2012, arXiv 1212.0901, 3.5)."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from longreach.errors import ArgumentError
from longreach.remedies.become import become
from longreach.remedies.remedy import Remedy

Opt = TypeVar("Opt", bound=Optimizer)

RATE = 0.01


def nesterov(optimizer: Opt, *, lr: float | None = None, momentum: float = 0.9) -> Opt:
    """Make it gradient descent with Nesterov's momentum, in the paper's simplified form.

    vₜ = μ vₜ₋₁ - lr·g(θₜ₋₁),  θₜ = θₜ₋₁ + μ vₜ - lr·g(θₜ₋₁): the weights are those where the gradient is taken.

    Promises   along directions that do not change, up to 1/(1 - μ) times the pace; a rate that changes acts on what
               comes, unlike in torch's SGD(nesterov=True), where it scales what was gathered before, too
    Rate       lr; if None that of the optimizer where it is an SGD, else 0.01: ten times Adam's usual one
    Changes    the class, in place: a scheduler goes on with it. An L2 penalty stays, AdamW's decay goes
    Twice      is the same as once: one with these options is left alone
    Undo       class, options and state from before it; the weights stay as they are
    Price      one number for each weight, as any momentum
    Is not     safe where gradients explode: clip as well
    Raises     ArgumentError unless 0 < momentum < 1 and lr >= 0
    """
    if not 0 < momentum < 1:
        raise ArgumentError(f"momentum: expected a number between 0 and 1, got {momentum}; the paper has 0.9 to 0.995")
    if lr is not None and not lr >= 0:
        raise ArgumentError(f"lr: expected a learning rate, 0 or above, got {lr}")
    if lr is None and not isinstance(optimizer, (SGD, Nesterov)):
        lr = RATE
    if isinstance(optimizer, Nesterov) and all(
        lr in (None, group["lr"]) and group["momentum"] == momentum for group in optimizer.param_groups
    ):
        return optimizer
    become(optimizer, Nesterov, "nesterov", lr, momentum=momentum, maximize=optimizer.defaults.get("maximize", False))
    return optimizer


class Nesterov(Optimizer):
    """What `nesterov` makes of an optimizer; it is not built otherwise."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One update of all weights that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for own in group["params"]:
                if own.grad is not None:
                    self._move(own, own.grad, group)
        return loss

    def _move(self, own: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        descent = gradient if group["maximize"] else -gradient
        if group["weight_decay"]:
            descent = descent - group["weight_decay"] * own
        state = self.state[own]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(own)
        velocity = state["velocity"].mul_(group["momentum"]).add_(group["lr"] * descent)
        own.add_(group["momentum"] * velocity + group["lr"] * descent)


REMEDY = Remedy(
    "nesterov",
    nesterov,
    "optimizer",
    preserves=True,
    answers=("step-size", "reached-but-unlearned"),
    cost="one number for each weight",
    source="Bengio, Boulanger-Lewandowski & Pascanu 2012, arXiv 1212.0901, 3.5",
)
