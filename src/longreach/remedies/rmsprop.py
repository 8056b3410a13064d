"""RMSprop (Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture 6.5)."""

from typing import TypeVar

from torch.optim import NAdam, Optimizer, RAdam, RMSprop
from torch.optim.adam import Adam

from longreach.errors import ArgumentError
from longreach.remedies.become import become
from longreach.remedies.remedy import Remedy

Opt = TypeVar("Opt", bound=Optimizer)

# Whose learning rate is about how far each weight moves in a step, as it is here.
KIN = (Adam, NAdam, RAdam, RMSprop)
RATE = 1e-3


def rmsprop(optimizer: Opt, *, lr: float | None = None, decay: float = 0.9) -> Opt:
    """Make it RMSprop: r ← decay·r + (1 - decay)·g²,  θ ← θ - lr·g/(√r + 1e-8).

    Promises   weights whose gradients have shrunk on their way back move as fast as the others
    Rate       lr; if None that of the optimizer, where it means the same (Adam and its kin), else 1e-3
    Changes    the class, in place: a scheduler goes on with it. Momentum goes, an L2 penalty stays, AdamW's decay goes
    Twice      is the same as once: an RMSprop with these options is left alone
    Undo       class, options and state from before it; the weights stay as they are
    Price      one number for each weight, less than Adam
    Is not     a cure of what has vanished in time: where a far step's part of a gradient is lost beside a near one's,
               both are scaled alike
    Raises     ArgumentError unless 0 <= decay < 1 and lr >= 0
    """
    if not 0 <= decay < 1:
        raise ArgumentError(f"decay: expected a number from 0 to below 1, got {decay}; the lecture has 0.9")
    if lr is not None and not lr >= 0:
        raise ArgumentError(f"lr: expected a learning rate, 0 or above, got {lr}")
    if lr is None and not isinstance(optimizer, KIN):
        lr = RATE
    options = {"alpha": decay, "eps": 1e-8, "momentum": 0.0, "centered": False}
    if type(optimizer) is RMSprop and all(_has(group, lr, options) for group in optimizer.param_groups):
        return optimizer
    plain = {"capturable": False, "foreach": None, "maximize": optimizer.defaults.get("maximize", False)}
    become(optimizer, RMSprop, "rmsprop", lr, **options, **plain, differentiable=False)
    return optimizer


def _has(group: dict, lr: float | None, options: dict) -> bool:
    return lr in (None, group["lr"]) and all(group[key] == value for key, value in options.items())


REMEDY = Remedy(
    "rmsprop",
    rmsprop,
    "optimizer",
    preserves=True,
    answers=("vanishing-in-depth", "step-size", "reached-but-unlearned"),
    cost="one number for each weight",
    source="Tieleman & Hinton 2012, Neural Networks for Machine Learning, lecture 6.5",
)
