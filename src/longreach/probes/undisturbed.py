"""Products on a script's live graph without its own hooks noticing."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress

from torch import Tensor
from torch.utils.hooks import BackwardHook


def collections() -> int | None:
    """A mark in time for `undisturbed`; None where the collector has no generations that only grow older."""
    return sum(generation["collections"] for generation in gc.get_stats()[1:]) if sys.version_info < (3, 14) else None


@contextmanager
def undisturbed(since: int | None = None) -> Iterator[None]:
    """Within, gradients that pass call no hook of the script's and add to no gradient that it retains.

    Who studies gradients hangs hooks on tensors and modules, and calls `retain_grad`; they are to see each backward
    pass of theirs once, and none of ours.

    since   `collections()` as it was before the graph was made
    Cost    one walk over the objects made lately; over all objects of the process if the collector has been at work
            `since`, for it moves the young ones among the old
    Is not  complete: a hook whose tensor is gone already, and lives on in the graph alone, is still called
    """
    young = since is not None and since == collections()
    objects = gc.get_objects(0) + gc.get_objects(1) if young else gc.get_objects()
    # by type(), because asking some objects for their class sets off a warning; and types first, because they are few
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, (Tensor, BackwardHook))}
    watched = list(compress(objects, map(kinds.__contains__, map(type, objects))))
    tensors = [found for found in watched if isinstance(found, Tensor) and found.grad_fn is not None]
    modules = [found for found in watched if isinstance(found, BackwardHook)]
    hooks = [(found._backward_hooks, dict(found._backward_hooks)) for found in tensors if found._backward_hooks]
    retained = [(found, found.grad) for found in tensors if found.retains_grad]
    of_modules = [(found, found.user_hooks, found.user_pre_hooks) for found in modules]
    try:
        for registered, _ in hooks:
            registered.clear()
        for found in modules:
            found.user_hooks, found.user_pre_hooks = [], []
        yield
    finally:
        for registered, before in hooks:
            registered.update(before)
        for found, gradient in retained:
            found.grad = gradient
        for found, after, ahead in of_modules:
            found.user_hooks, found.user_pre_hooks = after, ahead
