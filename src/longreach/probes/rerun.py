"""A module's call once more, in a copy, with an input that wants a gradient.

What a script gives its model carries no gradient, so the live graph ends at the first module that the numbers meet.
That module alone is run again; what comes after it is read off the live graph.
"""

import gc
import io
import random
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from longreach.probes.functions import is_quiet
from longreach.probes.loop import tensors_in
from longreach.probes.randomness import untouched_randomness

# Parameters and buffers of a module that is copied, at most.
MOST_BYTES = 256 * 2**20

# What runs once more without anybody noticing.
KNOWN = ("torch.nn", "longreach.nn", "longreach.remedies")


@dataclass
class Call:
    """One call of a module in the script's own step, kept until the backward pass begins.

    tensors, results  what it was given and has given, in order
    autocast          whether it ran under autocast, and in which type
    """

    module: nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    tensors: list[Tensor]
    results: list[Tensor]
    autocast: tuple[bool, torch.dtype]

    @property
    def differentiable(self) -> list[Tensor]:
        """The results that carry a gradient."""
        return [result for result in self.results if result.requires_grad]


def autocast_of(device: torch.device) -> tuple[bool, torch.dtype]:
    """Whether autocast is on for a device, and in which type."""
    return torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)


class Rerun:
    """The call again, with one of its tensors, `data`, in the role of a leaf.

    data  the leaf; the module's parameters want no gradient here
    Cost  a copy of the module, and one forward pass of it over the whole batch
    Safe  for the script: modules, buffers, caches and counters are copies; hooks are left out; random numbers are
          drawn from states that are put back; what the module prints is not shown
    Is not   able to undo what a module of the user's own does to globals, files or other processes
    """

    def __init__(self, call: Call, data: Tensor):
        self.data = data.detach().clone().requires_grad_()
        with ExitStack() as stack:
            stack.enter_context(without_global_hooks())
            stack.enter_context(_same_random_numbers(call.module, data.device))
            if not is_known(call.module):
                stack.enter_context(redirect_stdout(io.StringIO()))
                stack.enter_context(redirect_stderr(io.StringIO()))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            enabled, dtype = call.autocast
            stack.enter_context(torch.autocast(data.device.type, dtype=dtype, enabled=enabled))
            stack.enter_context(torch.enable_grad())
            module = copied(call.module)
            given = self.data.clone()  # a module may write into what it is given, but not into a leaf
            arguments, keywords = _with(call.arguments, data, given), _with(call.keywords, data, given)
            results = tensors_in(module(*arguments, **keywords))
        kept = [result.requires_grad for result in call.results]
        self._results = [result for result, differentiable in zip(results, kept, strict=True) if differentiable]

    def pull_back(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """∂/∂data for gradients of the call's differentiable results."""
        sent = [(result, g) for result, g in zip(self._results, gradients, strict=True) if g is not None]
        if not sent:
            return torch.zeros_like(self.data)
        results, gradients = zip(*sent, strict=True)
        (found,) = torch.autograd.grad(results, self.data, gradients, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self.data) if found is None else found


def is_known(module: nn.Module) -> bool:
    """Whether running a module does nothing but compute: it is torch's or ours, down to the last part."""
    return all(type(part).__module__.startswith(KNOWN) for part in module.modules())


def cannot_be_rerun(module: nn.Module) -> str | None:
    """Why a module should not run once more; None where nothing speaks against it."""
    tensors = [*module.parameters(), *module.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    what = f"its input enters in {type(module).__name__}, which would have to run once more, and"
    if size > MOST_BYTES:
        return f"{what} a copy of that takes {size / 2**20:.0f} MiB"
    own = (part for part in module.modules() if not is_known(part))
    return None if all(is_quiet(type(part).forward) for part in own) else f"{what} that would be noticed"


def copied(module: nn.Module) -> nn.Module:
    """A copy without hooks, whose parameters want no gradient; tensors in the middle of a graph are cut off from it."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for name, value in vars(part).items():
            if "hooks" in name and isinstance(value, dict):
                memo[id(value)] = OrderedDict()
            elif isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach()
    return deepcopy(module, memo).requires_grad_(False)


def _with(value: Any, old: Tensor, new: Tensor) -> Any:
    """Nested arguments with one tensor in the place of another, and copies of all others."""
    if isinstance(value, Tensor):
        return new if value is old else value.detach().clone()
    if isinstance(value, dict):
        return {key: _with(entry, old, new) for key, entry in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_with(entry, old, new) for entry in value)
    return value


@contextmanager
def without_global_hooks() -> Iterator[None]:
    """Nobody who watches all modules, we ourselves among them, is told of the copy."""
    tables = [table for name, table in vars(torch_modules).items() if name.startswith("_global") and "hooks" in name]
    kept = [dict(table) for table in tables]
    try:
        for table in tables:
            table.clear()
        yield
    finally:
        for table, before in zip(tables, kept, strict=True):
            table.update(before)


@contextmanager
def _same_random_numbers(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, random numbers are drawn without the script noticing: of torch, Python and numpy, and for modules of the
    user's own from any generator that he may hold.

    Cost  for modules of the user's own, one walk over all objects of the process
    """
    generators = [] if is_known(module) else _generators(module)
    states = [_state_of(generator) for generator in generators]
    try:
        with untouched_randomness(device):
            yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            _set_state(generator, state)


def _generators(module: nn.Module) -> list[Any]:
    kinds = (np.random.Generator, np.random.RandomState, random.Random)
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), kinds)]
    # torch's are invisible to the collector
    homes = {type(part).__module__ for part in module.modules()}
    values = [value for home in homes if home in sys.modules for value in list(vars(sys.modules[home]).values())]
    return found + [value for value in values if type(value) is torch.Generator]


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.SystemRandom):
        return None
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        if state is not None:
            generator.setstate(state)
    else:
        generator.set_state(state)
