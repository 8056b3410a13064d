"""An optimizer that becomes one of another kind in place: a scheduler that holds it need not know."""

from collections import defaultdict
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Adafactor, AdamW, Optimizer

from longreach.remedies.remedy import remember


class _Before(NamedTuple):
    kind: type[Optimizer]
    defaults: dict[str, Any]
    groups: list[dict[str, Any]]
    state: dict[Any, Any]
    step: Any
    scales: bool | None  # whether it takes out a loss scale by itself, as fused ones do


def become(optimizer: Any, kind: type[Optimizer], name: str, lr: float | None, **options: Any) -> None:
    """Make an optimizer one of `kind`, with these options and no state yet; `undo` brings all of it back.

    lr     the learning rate; None: each group keeps its own
    Keeps  parameters and groups, hooks, and what a group is told besides; an L2 penalty (weight_decay), but not the
           decay of AdamW and its like, which is another thing: it is dropped
    """
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    own = vars(optimizer)
    scales = own.pop("_step_supports_amp_scaling", None)
    before = _Before(type(optimizer), optimizer.defaults, groups, optimizer.state, own.get("step"), scales)
    remember(optimizer, name, _bring_back, before)
    for group in optimizer.param_groups:
        penalty = 0.0 if _decays_apart(optimizer, group) else group.get("weight_decay", 0.0)
        rate = group["lr"] if lr is None else lr
        group.update(options, weight_decay=penalty, lr=rate)
    optimizer.state = defaultdict(dict)
    _change(optimizer, kind, {**options, "weight_decay": 0.0, "lr": optimizer.defaults["lr"] if lr is None else lr})


def _decays_apart(optimizer: Optimizer, group: dict[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay")) or isinstance(optimizer, (AdamW, Adafactor))


def _change(optimizer: Any, kind: type[Optimizer], defaults: dict[str, Any]) -> None:
    scheduled = vars(optimizer).pop("step", None)
    optimizer.__class__ = kind
    optimizer.__setstate__({"defaults": defaults})  # where torch sees to it that hooks are called by a class's step
    if scheduled is not None:
        optimizer.step = _Scheduled(optimizer)


class _Scheduled:
    """The step of an optimizer, where a learning rate scheduler looks for its own wrapper of it."""

    _wrapped_by_lr_sched = True

    def __init__(self, optimizer: Any):
        self._optimizer = optimizer

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """A step, and the mark that one was taken."""
        self._optimizer._opt_called = True
        return type(self._optimizer).step(self._optimizer, *arguments, **options)


def _bring_back(optimizer: Any, before: _Before) -> None:
    optimizer.state = before.state
    for group, then in zip(optimizer.param_groups, before.groups, strict=False):  # one that was added later stays
        params: list[Tensor] = group["params"]
        group.clear()
        group.update(params=params, **then)
    _change(optimizer, before.kind, before.defaults)
    if before.step is not None:
        optimizer.step = before.step
    if before.scales is not None:
        optimizer._step_supports_amp_scaling = before.scales
