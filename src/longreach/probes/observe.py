"""One sampled training step from opening to closing: trace it, measure it, store what it leaves."""

import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from longreach.probes import fused, loop, pairs, windows
from longreach.probes.chance import Chance
from longreach.probes.crosscheck import Crosschecks
from longreach.probes.depth import Depth
from longreach.probes.functions import Functions
from longreach.probes.inputs import Inputs
from longreach.probes.names import Names
from longreach.probes.pairs import Driven
from longreach.probes.precision import Precision
from longreach.probes.probe import Look, Panel, Probe
from longreach.probes.together import Together, can_be_gathered, is_spread, with_whole_weights
from longreach.probes.trace import ChainVisit, FusedVisit, Trace
from longreach.probes.units import Units
from longreach.probes.weights import Weights
from longreach.probes.whole import Whole
from longreach.probes.windows import Cut, Stream
from longreach.quantities.windows import Window
from longreach.store import Store

# What is measured besides reach and need; a new probe is one more line.
PROBES: tuple[Callable[[], Probe], ...] = (
    Units,
    Weights,
    Inputs,
    Chance,
    Functions,
    Crosschecks,
    Depth,
    Whole,
    Precision,
)

# Rows of a batch: so many give pairs to the need test, so many are replayed for a curve.
PAIR_ROWS, CURVE_ROWS = 64, 8

SPREAD = (
    "the weights are spread over several processes (FSDP or tensor parallel): reach is measured in nn.RNN, nn.GRU and "
    "nn.LSTM layers of models that fully_shard has sharded; loops over cells, depth, units and updates are not followed"
)


class Observer:
    """Looks at sampled steps, one after the other, and remembers where the recurrent layers are.

    A step with curves looks at every module call of the process, which finds the loops and the fused layers; the
    steps in between hook only what is known.

    fruitless  sampled steps in a row in which none of them ran
    deaf       names of fused layers that ran, and to which no error came back at some sampled step
    sequences  how many the latest sampled step has brought
    """

    def __init__(self, store: Store, names: Names):
        self.store, self.names = store, names
        self.fruitless = self.sequences = 0
        self.deaf: set[str] = set()
        self.seconds = 0.0
        self._generator = torch.Generator().manual_seed(0)  # our own: the script's random state stays untouched
        self._narrow: dict[tuple[str, str], pairs.Narrow] = {}
        self._streams: dict[tuple[str, str], Stream] = {}
        self._turn = 0
        self._only: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # a script may give its models up
        self._following: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # as probes have asked for
        self._trace: Trace | None = None
        self._chains: list[ChainVisit] = []
        self._step, self._with_curves = 0, False
        self._spread, self._together = False, Together()
        self._panel = Panel(PROBES, store)
        self._look: Look | None = None

    def open(self, step: int, *, with_curves: bool) -> None:
        """Put the hooks on for the step that begins now."""
        # hooks on all modules would be compiled into compiled code
        everything = self.names.visible() if self.names.compiled else None
        known = list({*self._only, *self._following})
        only = known if known and not with_curves else everything
        # the same rows as long as a stream is followed, then others
        self._turn = self._turn if self.wants_company(step) else step
        self._step, self._with_curves, self.seconds = step, with_curves, 0.0
        self.sequences = 0
        self._trace = Trace(
            only=only,
            most_rows=PAIR_ROWS,
            turn=self._turn,
            spare_compiled=self.names.compiled,
            listener=self._saw if with_curves else self._followed if self._following else None,
        )
        self._look = Look(step, with_curves, self.names, self.store, self._generator, self._trace, self.names.compiled)
        self._look.following = self._following
        self._trace.start()
        with self._timed():
            self._panel.tell("opened", self._look)

    def spare_compiled_code(self) -> None:
        """Something has just been compiled: look again, from outside of it."""
        if self._trace is not None:
            self._trace.stop()
            self.open(self._step, with_curves=self._with_curves)

    def close(self) -> float:
        """Take the hooks off; the seconds that looking at this step has cost."""
        trace, look = self._trace, self._look
        self._trace, self._look, self._chains = None, None, []
        if trace is None or look is None:
            return 0.0
        trace.stop()
        with self._timed():
            self._panel.tell("closed", look)
        if trace.failure is not None:
            raise trace.failure
        return self.seconds + trace.seconds

    def wants_company(self, step: int) -> bool:
        """Whether this step should be looked at as well: it may go on where the sampled one before has ended."""
        return any(stream.wants_company(step) for stream in self._streams.values())

    def finish(self) -> None:
        """The run is over: what was held back for more to come is stored."""
        for (name, direction), stream in self._streams.items():
            self._keep(name, direction, stream.rest())

    def abandon(self) -> None:
        """Take the hooks off, whatever state the step is in."""
        if self._trace is not None:
            self._trace.stop()
            self._trace, self._look, self._chains = None, None, []

    def before_backward(self, root: Tensor, gradient: Tensor | None, *, scale: float = 1.0) -> None:
        """The loss is known and the graph still whole: loops are measured here."""
        if self._trace is None or self._look is None:
            return
        self._look.scale = scale
        with self._timed(), self._look.phase:
            self.names.learn(self._trace.roots)
            self._chains = self._trace.chains()
            self._spread = any(is_spread(root) for root in self._trace.roots)
            if self._spread:
                self.store.note(SPREAD)
                return
            if self._chains and self._with_curves:
                self._look.silence()
                for visit in self._chains:
                    self._measure_loop(visit, root, gradient)
            self._panel.tell("before_backward", self._look, root, gradient)

    def after_backward(self) -> None:
        """The errors have come back: pairs are collected and fused layers replayed, the weights being as they were."""
        if self._trace is None or self._look is None:
            return
        with self._timed():
            if not self._spread:
                self._panel.tell("after_backward", self._look)
            trace, chains = self._trace, self._chains
            for sentence in trace.unread:
                self.store.note(sentence)
            looped = {visit.chain.module for visit in chains}
            ran = [visit for visit in trace.fused if visit.module not in looped]
            visits = [visit for visit in ran if visit.errors]
            self._learn(trace, visits, chains)
            self._collect(trace, ran, chains)  # a window without an error of its own may belong to a stream
            if self._with_curves:
                # of several calls of one layer the last stands for all
                self._replay_all(list({visit.module: visit for visit in visits}.values()))
            self._chains, trace.fused, trace.embedded = [], [], []

    def before_step(self, optimizer: Optimizer) -> None:
        """The gradients are as the optimizer will see them."""
        if self._look is not None and not self._spread:
            with self._timed():
                self._panel.tell("before_step", self._look, optimizer)

    def after_step(self, optimizer: Optimizer | None) -> None:
        """The parameters have moved."""
        if self._look is not None and not self._spread:
            with self._timed():
                self._panel.tell("after_step", self._look, optimizer)

    def _saw(self, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        if self._look is not None:
            self._panel.tell("saw", self._look, module, arguments, results)

    def _followed(self, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        if self._look is not None and module in self._following:
            self._panel.tell("followed", self._look, module, arguments, results)

    def _learn(self, trace: Trace, visits: list[FusedVisit], chains: list[ChainVisit]) -> None:
        modules = [visit.module for visit in visits] + [visit.chain.module for visit in chains]
        kept = self._look.sequences if self._look is not None else 0
        self.sequences = max(self.sequences, kept)
        self.fruitless = 0 if modules or kept else self.fruitless + 1
        self.deaf.update(self.names.of(module) for module in trace.ran.difference(modules))
        around = [module for visit in chains for module, _ in visit.around]
        self._only.update([*modules, *trace.lookups, *around])

    def _collect(self, trace: Trace, visits: list[FusedVisit], chains: list[ChainVisit]) -> None:
        for visit in visits:
            name = self.names.of(visit.module)
            for direction, driven in pairs.of_fused(visit, trace.embedded).items():
                self._take(name, direction, windows.of_call(visit, driven))
            cut = getattr(visit.module, "cut", 0)
            if isinstance(cut, int) and cut:
                self.store.add(Window(name, self._step, cut, continued=True, seen=len(visit.inputs)))
        for visit in chains:
            name = self.names.of(visit.chain.module)
            driven = pairs.of_chain(visit, trace.embedded, PAIR_ROWS)
            if driven is not None:
                self._take(name, "forward", windows.of_loop(visit.chain, driven))

    def _take(self, name: str, direction: str, cut: Cut) -> None:
        stream = self._streams.setdefault((name, direction), Stream())
        complete, window = stream.take(cut, self._step, name)
        self._keep(name, direction, complete)
        if window is not None:
            self.store.add(window)

    def _keep(self, name: str, direction: str, complete: list[tuple[Driven, int]]) -> None:
        narrow = self._narrow.setdefault((name, direction), pairs.Narrow())
        for driven, step in complete:
            found = driven.paired(narrow, step)
            if found is not None:
                self.store.add_pairs(name, direction, found)
                self.sequences = max(self.sequences, len(found.lengths))

    def _measure_loop(self, visit: ChainVisit, root: Tensor, gradient: Tensor | None) -> None:
        name = self.names.of(visit.chain.module)
        self.store.add_curve(*loop.measure(visit.chain, name, self._step, root, gradient, self._generator))

    def _replay_all(self, visits: list[FusedVisit]) -> None:
        if not self._spread:
            for visit in visits:
                self._replay(visit)
        elif visits and self._together.agree(self._step):
            # first what all ranks have to do, then what each can do alone: a failure there is nobody else's
            torchs = [visit for visit in visits if isinstance(visit.module, nn.RNNBase)]
            gathered = [(visit, with_whole_weights(visit.module)) for visit in torchs if can_be_gathered(visit.module)]
            for visit, module in gathered:
                self._replay(replace(visit, module=module), self.names.of(visit.module))

    def _replay(self, visit: FusedVisit, name: str | None = None) -> None:
        rows = visit.inputs.shape[1]
        count = min(rows, CURVE_ROWS)
        call = visit.call(torch.arange(count) * rows // count)
        for key, curve in fused.measure(call, name or self.names.of(visit.module), self._step, self._generator):
            self.store.add_curve(key, curve)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began
