"""The hooks of one sampled step: which recurrent layers ran, on what, and which errors came back to them.

The hooks only look. They change no argument, no result and no gradient, and draw no random number.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach.probes.fused import FusedCall
from longreach.probes.loop import Chain, is_ours, tensors_in

# A module whose calls were found unconnected this often in one step is not asked again.
PATIENCE = 3
# What is copied of one call's input: at most so many numbers, unless that were fewer rows than a median can do with.
MOST_NUMBERS, FEWEST_ROWS = 4_000_000, 8
# What is kept of all calls between two backward passes: the latest, up to this.
MOST_KEPT = 4 * MOST_NUMBERS

# What is seen to run and yet cannot be measured.
WITH_RESETS = (
    "a layer that is given resets cannot be replayed: neither its reach nor what its data need was measured, unless "
    "the whole model's were; longreach.observe tells the norms of its gradients"
)
AT_ONE_GO = (
    "a longreach.nn.Recurrent whose cell, one of the script's own, goes through all steps at one go shows none of "
    "them: neither its reach nor what its data need was measured, unless the whole model's were; longreach.observe "
    "tells the norms of its gradients"
)


@dataclass
class Embedded:
    """One lookup of token ids."""

    ids: Tensor
    vectors: Tensor


@dataclass
class FusedVisit:
    """One call of a fused layer in the script's own step, and the errors as they come back.

    module        one of torch's or ours, or a longreach.nn.Recurrent
    inputs, rows  everything time-major and copied, for some rows of the batch
    source        the tensor that the layer was given, to see whether it came out of an embedding
    errors        "output", and the numbers of the entries of the last state
    """

    module: Any
    inputs: Tensor
    lengths: Tensor
    start: tuple[Tensor, ...] | None
    rows: Tensor
    source: Tensor
    packed: PackedSequence | None
    errors: dict[str | int, Tensor] = field(default_factory=dict)
    detached: bool = False  # `start` was given, and no gradient passes on through it
    ended: tuple[Tensor, ...] = ()  # the state after the last step, shaped as `start`
    width: int = 0  # features of one direction's output

    def call(self, chosen: Tensor) -> FusedCall:
        """The call as it stands after the backward, with these of its rows."""
        start = None if self.start is None else tuple(part[:, chosen] for part in self.start)
        error = self.errors.get("output")
        known = any(number in self.errors for number in range(len(self.ended)))
        ended = [self.errors.get(number, torch.zeros_like(part)) for number, part in enumerate(self.ended) if known]
        return FusedCall(
            self.module,
            self.inputs[:, chosen],
            self.lengths[chosen],
            start,
            None if error is None else error[:, chosen],
            tuple(part[:, chosen] for part in ended),
        )

    def keep(self, name: str | int, gradient: Tensor) -> None:
        """A gradient has come back; several backward passes add up, as they do in .grad."""
        if name == "output":
            gradient, _ = time_major(self.module, gradient, self.packed)
        else:
            gradient = self.with_rows(gradient)
        found = gradient.detach()[:, self.rows.to(gradient.device)]
        self.errors[name] = self.errors[name] + found if name in self.errors else found

    def with_rows(self, entry: Tensor) -> Tensor:
        """An entry of a state as real numbers, (place, row, ...)."""
        entry = torch.view_as_real(entry) if entry.is_complex() else entry
        return entry[:, None] if self.packed is None and self.source.dim() == 2 else entry

    def state(self, given: Any) -> tuple[Tensor, ...]:
        """A copy of a state, for the rows that are looked at."""
        parts = [self.with_rows(part.detach()) for part in tensors_in(given)]
        return tuple(part[:, self.rows.to(part.device)].clone() for part in parts)


@dataclass
class ChainVisit:
    """One chain of calls in the script's own step, and the errors as they come back to its states.

    around  the modules in which the calls were made, outermost first, with the arguments they were given
    """

    chain: Chain
    around: list[tuple[nn.Module, list[Tensor]]]
    errors: dict[int, Tensor] = field(default_factory=dict)

    def watch_state(self, time: int, state: tuple[Tensor, ...]) -> None:
        """Ask for the gradient of the first part of a state: h, by the custom of (h, c)."""
        part = state[0]
        if part.requires_grad:
            part.register_hook(lambda gradient: self._keep(time, gradient))

    def _keep(self, time: int, gradient: Tensor) -> None:
        self.errors[time] = gradient.detach()


class Trace:
    """What ran while the hooks were on.

    `only` limits the hooks to known recurrent modules and embeddings; without it every module call of the process is
    looked at, which finds them.
    """

    def __init__(
        self,
        *,
        only: list[nn.Module] | None,
        most_rows: int,
        turn: int,
        spare_compiled: bool = False,
        listener: Callable[[nn.Module, list[Tensor], list[Tensor]], None] | None = None,
    ):
        self.only, self.most_rows, self.turn, self.spare_compiled = only, most_rows, turn, spare_compiled
        self.listener = listener  # told of every call that is looked at: module, tensors given, tensors returned
        self.fused: list[FusedVisit] = []
        self.embedded: list[Embedded] = []
        self.roots: dict[nn.Module, None] = {}
        self.lookups: dict[nn.Module, None] = {}
        self.ran: set[nn.Module] = set()  # fused layers, with gradients or without
        self.unread: dict[str, None] = {}  # sentences about what cannot be measured
        self.failure: Exception | None = None
        self.seconds = 0.0
        self.given: tuple[tuple, dict[str, Any]] = ((), {})  # as it was, to the call that the listener is told of
        self._open: dict[nn.Module, ChainVisit] = {}
        self._done: list[ChainVisit] = []
        self._strangers: dict[nn.Module, int] = {}
        self._stack: list[tuple[nn.Module, list[Tensor]]] = []
        self._handles: list[Any] = []

    def start(self) -> None:
        """Put the hooks on."""
        if self.only is None:
            self._handles = [
                nn.modules.module.register_module_forward_pre_hook(self._enter),
                nn.modules.module.register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
            ]
            return
        enter: Any = self._enter
        leave: Any = self._leave
        if self.spare_compiled:
            # else they would be compiled in, and a compiler skips what it is told to skip while compiling
            enter, leave = torch.compiler.disable(enter), torch.compiler.disable(leave)
        for module in self.only:
            self._handles.append(module.register_forward_pre_hook(enter))
            self._handles.append(module.register_forward_hook(leave, with_kwargs=True, always_call=True))

    def stop(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
            # torch forgets to
            nn.modules.module._global_forward_hooks_with_kwargs.pop(handle.id, None)
        self._handles = []

    @property
    def running(self) -> nn.Module | None:
        """The innermost module whose call has begun and not ended."""
        return self._stack[-1][0] if self._stack else None

    def chains(self) -> list[ChainVisit]:
        """The loops that have run since the hooks went on, innermost known cells before what surrounds them."""
        for visit in self._open.values():
            visit.chain.close()
        found = [*self._done, *self._open.values()]
        self._open, self._done = {}, []
        replayed = {part for visit in self.fused for part in visit.module.modules()} - {v.module for v in self.fused}
        return _most_telling([v for v in found if v.chain.is_a_loop and v.chain.module not in replayed])

    @contextmanager
    def _timed(self) -> Iterator[None]:
        # whatever goes wrong here is ours: the watch reports it, and it must not reach the script
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error
        finally:
            self.seconds += time.perf_counter() - began

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        if torch.compiler.is_compiling():
            return
        with self._timed():
            if not self._stack and torch.is_grad_enabled():
                self.roots[module] = None
            self._stack.append((module, tensors_in(arguments)))

    def _leave(self, module: nn.Module, arguments: Any, keywords: Any, result: Any = None) -> None:
        # of a call that has raised torch tells less
        if torch.compiler.is_compiling():
            return
        with self._timed():
            while self._stack and self._stack.pop()[0] is not module:
                pass  # calls that an exception has ended
            if isinstance(module, nn.RNNBase) or _can_be_replayed(module):
                self.ran.add(module)
            if torch.is_grad_enabled() and result is not None and _holds_numbers(tensors_in(result)):
                self._look(module, arguments, keywords, result)
                if self.listener is not None:
                    self.given = (arguments, keywords)
                    self.listener(module, tensors_in((arguments, keywords)), tensors_in(result))
                    self.given = ((), {})  # a graph that leads to our own hooks must not be held by what they belong to

    def _look(self, module: nn.Module, arguments: Any, keywords: Any, result: Any) -> None:
        if isinstance(module, nn.Embedding):
            ids = tensors_in((arguments, keywords))[0]
            self.embedded.append(Embedded(ids.detach(), result))
            self.lookups[module] = None
            return
        results = tensors_in(result)
        if not any(leaf.requires_grad for leaf in results):
            return
        is_torchs = isinstance(module, nn.RNNBase) and isinstance(result, tuple) and len(result) == 2
        if is_torchs or _can_be_replayed(module):
            self._look_at_fused(module, arguments, keywords, result)
        elif _goes_at_one_go(module):
            self.unread[AT_ONE_GO] = None
        self._look_at_cell(module, tensors_in((arguments, keywords)), results)

    def _look_at_cell(self, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        if self._strangers.get(module, 0) > PATIENCE:
            return
        visit = self._open.get(module)
        if visit is not None and visit.chain.extend(arguments, results):
            return
        if visit is not None and visit.chain.slots:
            visit.chain.close()
            self._done.append(visit)
        elif visit is not None:
            self._strangers[module] = self._strangers.get(module, 0) + 1
        visit = ChainVisit(Chain(module), list(self._stack))
        visit.chain.on_state = visit.watch_state
        visit.chain.extend(arguments, results)
        self._open[module] = visit

    def _look_at_fused(self, module: Any, arguments: Any, keywords: Any, result: Any) -> None:
        if keywords.get("resets") is not None:
            self.unread[WITH_RESETS] = None
            return
        given = arguments[0] if arguments else keywords["input"]
        start = arguments[1] if len(arguments) > 1 else keywords.get("hx", keywords.get("state"))
        packed = given if isinstance(given, PackedSequence) else None
        source: Tensor = given.data if isinstance(given, PackedSequence) else given
        inputs, lengths = time_major(module, source, packed)
        width = max(inputs.shape[2], module.hidden_size)
        rows = self._some_rows(inputs.shape[1], inputs.shape[0] * width)
        # copied now: scripts may fill the same buffer again before the backward is done
        copied = inputs.detach()[:, rows.to(inputs.device)].clone()
        visit = FusedVisit(module, copied, lengths[rows], None, rows, source, packed)
        output, ended = result
        visit.start = None if start is None else visit.state(start)
        visit.detached = start is not None and not any(part.requires_grad for part in tensors_in(start))
        visit.ended = visit.state(ended)
        output = output.data if isinstance(output, PackedSequence) else output
        visit.width = output.shape[-1] // (2 if module.bidirectional else 1)
        for name, leaf in {"output": output, **dict(enumerate(tensors_in(ended)))}.items():
            if leaf.requires_grad:
                leaf.register_hook(lambda gradient, name=name: self._keep(visit, name, gradient))
        self.fused.append(visit)
        while len(self.fused) > 1 and sum(kept.inputs.numel() for kept in self.fused) > MOST_KEPT:
            self.fused.pop(0)

    def _keep(self, visit: FusedVisit, name: str | int, gradient: Tensor | None) -> None:
        if gradient is None:
            return  # of an operator with several results, the loss uses another one
        with self._timed():
            visit.keep(name, gradient)

    def _some_rows(self, rows: int, size: int) -> Tensor:
        """Evenly spaced rows of the batch, of `size` numbers each; another set of them at each turn."""
        most = max(FEWEST_ROWS, min(self.most_rows, MOST_NUMBERS // max(size, 1)))
        if rows <= most:
            return torch.arange(rows)
        return (torch.arange(most) * rows // most + self.turn) % rows


def time_major(module: Any, flow: Tensor, packed: PackedSequence | None) -> tuple[Tensor, Tensor]:
    """What flows in or out of a fused layer as (time, row, feature), and the length of each row."""
    if packed is not None:
        sequence = PackedSequence(flow, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return pad_packed_sequence(sequence)
    if flow.dim() == 2:
        flow = flow[:, None]
    elif module.batch_first:
        flow = flow.transpose(0, 1)
    return flow, torch.full((flow.shape[1],), flow.shape[0])


def _holds_numbers(results: list[Tensor]) -> bool:
    """Not where tensors only stand for numbers: on the meta device, and within transforms of torch.func."""
    return not torch._C._are_functorch_transforms_active() and all(leaf.device.type != "meta" for leaf in results)


def _can_be_replayed(module: nn.Module) -> bool:
    """Whether a module is one of our networks, of our own cells: a copy of it runs without anybody noticing."""
    from longreach.probes.rerun import is_known

    return is_ours(module, "recurrent", "Recurrent") and is_known(module)


def _goes_at_one_go(module: Any) -> bool:
    """Whether a module is one of our networks of cells, and no cell of it is called step by step."""
    if not is_ours(module, "recurrent", "Recurrent"):
        return False
    return all(cell.fuses(cut=module.cut, clip=module.clip) for cell in module.cells)


def _most_telling(visits: list[ChainVisit]) -> list[ChainVisit]:
    """One visit for each loop: where one cell runs within another, the known layer, else the outermost.

    Both carry the same state; a report is read more easily if it says GRU than if it says Decoder.
    """

    def within(inner: nn.Module, outer: nn.Module) -> bool:
        return inner is not outer and any(part is inner for part in outer.modules())

    def is_known(module: nn.Module) -> bool:
        torchs = isinstance(module, (nn.RNNBase, nn.RNNCellBase))
        return torchs or is_ours(module, "recurrent", "Recurrent") or is_ours(module, "cell", "Cell")

    known = [v for v in visits if is_known(v.chain.module)]
    known = [v for v in known if not any(within(v.chain.module, w.chain.module) for w in known)]
    other = [v for v in visits if not is_known(v.chain.module)]
    outermost = [
        v
        for v in other
        if not any(within(w.chain.module, v.chain.module) or within(v.chain.module, w.chain.module) for w in known)
        and not any(within(v.chain.module, w.chain.module) for w in other)
    ]
    return [*known, *outermost]
