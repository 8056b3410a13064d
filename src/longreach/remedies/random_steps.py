"""A change of the steps that means nothing: the second control beside remedies that change the optimizer."""

import math
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

from longreach.remedies.apart import generator_apart
from longreach.remedies.remedy import Remedy, applied, remember_hooks

Opt = TypeVar("Opt", bound=Optimizer)

# A clipped gradient is seldom less than a tenth of itself: from 3 times shorter to 3 times longer spans as much.
WIDEST = 3.0


def random_steps(optimizer: Opt, *, draw: int = 0) -> Opt:
    """Before every step, scale the gradient of all parameters by one random factor, log-uniform from 1/3 to 3.

    Promises   the direction of the gradient kept; the factor's geometric mean is 1: it is no smaller step size
    Changes    nothing that the model computes
    Twice      is the same as once, whatever the draw
    Undo       the hook leaves; the weights stay as they are
    Price      one product over all gradients a step
    Is not     a remedy: what helps no more than this does not help
    """
    if "random-steps" in applied(optimizer):
        return optimizer
    generator = generator_apart(f"random-steps {draw}")

    def scale(optimizer: Optimizer, *_: Any) -> None:
        factor = math.exp(math.log(WIDEST) * (2 * torch.rand((), generator=generator).item() - 1))
        for group in optimizer.param_groups:
            for own in group["params"]:
                if own.grad is not None:
                    own.grad.mul_(factor)

    remember_hooks(optimizer, "random-steps", optimizer.register_step_pre_hook(scale))
    return optimizer


REMEDY = Remedy(
    "random-steps",
    random_steps,
    "optimizer",
    preserves=True,
    answers=(),
    cost="one product over all gradients",
    source="a control, not from a paper",
)
