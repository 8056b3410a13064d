"""How to write a probe: something that looks at sampled steps and leaves samples in the store.

A probe measures one quantity. It overrides those of the moments below that it needs; each is called on sampled steps
only, in this order:

    opened           the hooks are on, the step's forward pass has not begun
    saw              a module's call has returned (many times; only where the step is one `with_curves`)
    followed         the same on all other sampled steps, for modules that `look.follow` was called with
    before_backward  the loss is known and the graph still whole
    after_backward   the gradients have come back, and nothing was done to them yet
    before_step      the optimizer is about to update; clipping and unscaling are done
    after_step       it has updated
    closed           the step is over: whatever the probe keeps of it has to be given up here

All that a probe does is watching: it changes no tensor and no module, draws random numbers from `look.generator` alone,
and leaves no hook behind. An error in a probe ends that probe, with a note in the record, and nothing else.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from longreach.probes.names import Names
from longreach.probes.trace import Trace
from longreach.probes.undisturbed import collections, undisturbed
from longreach.store import Store


@dataclass
class Look:
    """One sampled step, as all probes see it.

    step         training step, counted from 0
    with_curves  whether this step may cost something: products on the graph, replays, looks at every module
    trace        what ran: recurrent layers, loops, embeddings, and the modules called from outside of any other
    compiled     whether torch.compile was given anything: then modules are hidden inside of compiled code
    sequences    how many sequences a probe has kept of this step for the need test
    scale        what the script has multiplied the loss by, for float16; known from the backward pass on
    """

    step: int
    with_curves: bool
    names: Names
    store: Store
    generator: torch.Generator
    trace: Trace
    compiled: bool = False
    sequences: int = 0
    scale: float = 1.0
    following: "WeakSet[nn.Module]" = field(default_factory=WeakSet)
    phase: ExitStack = field(default_factory=ExitStack)
    _silent: bool = False
    _opened: int | None = field(default_factory=collections)

    def follow(self, module: nn.Module) -> None:
        """Tell of this module's calls from now on, on steps without curves too."""
        self.following.add(module)

    def silence(self) -> None:
        """To be called in `before_backward`, ahead of products on the live graph: the script's own hooks do not see
        them until the phase is over. Cost: one walk over all objects of the process, once a phase."""
        if not self._silent:
            self._silent = True
            self.phase.callback(setattr, self, "_silent", False)
            self.phase.enter_context(undisturbed(self._opened))


class Probe:
    """One quantity; see the page above."""

    def opened(self, look: Look) -> None:
        """The hooks are on."""

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """A module's call has returned: the tensors that it was given and has given."""

    def followed(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """A module that this run follows has been called, on a step without curves."""

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """`root`, most often the loss, is about to be sent back, with `gradient` in the place of 1 if it is given."""

    def after_backward(self, look: Look) -> None:
        """The gradients have come back."""

    def before_step(self, look: Look, optimizer: Optimizer) -> None:
        """The optimizer is about to update."""

    def after_step(self, look: Look, optimizer: Optimizer | None) -> None:
        """It has updated; None where the training loop says so itself."""

    def closed(self, look: Look) -> None:
        """The step is over."""


class Panel:
    """The probes of one run. What goes wrong in one of them takes it off, and is told."""

    def __init__(self, probes: tuple[Callable[[], Probe], ...], store: Store):
        self._probes = [make() for make in probes]
        self._store = store

    def tell(self, moment: str, look: Look, *details: object) -> None:
        """Call one moment of all probes."""
        for probe in list(self._probes):
            try:
                getattr(probe, moment)(look, *details)
            except Exception as error:
                self._probes.remove(probe)
                self._store.note(
                    f"{type(probe).__name__.lower()} could not be followed beyond step {look.step}: "
                    f"{type(error).__name__}: {error}"
                )
