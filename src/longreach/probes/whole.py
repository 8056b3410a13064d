"""Reach and need of a whole model: transformers, convolutions, linear recurrences, and hybrids of them.

A recurrent layer has a state to follow. Here there is none: what is followed is the model's output at a step t, back
to what entered the model k steps before. One product on the live graph carries a gradient from the outputs of some
rows, each at its own step, to all their inputs at once, and so to all lags.
"""

import sys
import weakref
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from longreach.probes import tails
from longreach.probes.axes import Layout, Search, layouts
from longreach.probes.entrance import Calls, Entrance, exit_of
from longreach.probes.pairs import Narrow, paired
from longreach.probes.probe import Look, Probe
from longreach.probes.reach import reach_of
from longreach.probes.repeatable import packing
from longreach.probes.rerun import Call, autocast_of, cannot_be_rerun
from longreach.probes.samples import Curve, LayerKey
from longreach.probes.way import Way, matches, measure, padding, steps_of

# Fewer steps are the nodes of a graph, the columns of a table or the channels of a signal as often as they are time.
FEWEST_STEPS = 16
# Rows that give pairs to the need test.
PAIR_ROWS = 64
# Outputs of a step that the errors are read at; of more (a vocabulary), those with the largest errors.
MOST_OUTPUTS = 64
# Numbers of one step's errors that are copied, unless that were fewer rows than this.
MOST_NUMBERS, FEWEST_ROWS = 4_000_000, 8
# After so many steps with curves in which a model reached no farther than its recurrent layers, it is left to them.
PATIENCE = 2

CHECKPOINTED = (
    "parts of the model are computed again in the backward pass (torch.utils.checkpoint, or saved tensors packed by "
    "hooks): a look through the whole model would run them once more, so its reach and need were not measured"
)
IN_PARALLEL = "several processes train together: reach and need of the whole model are measured in one process only"


@dataclass
class Plan:
    """What is known of a model once it was measured, for the steps to come.

    place    which of its results leaves
    source   the module that is given the data, and which of its tensors they are
    ahead    whether outputs depend on later inputs too; None before it was measured
    outputs  those outputs of a step that errors are read at; None for all
    dull     steps with curves in a row in which it reached no farther than its recurrent layers
    """

    key: LayerKey
    place: int
    source: tuple[weakref.ref[nn.Module], int]
    layout: Layout
    ahead: bool | None = None
    outputs: Tensor | None = None
    narrow: dict[str, Narrow] = field(default_factory=lambda: {"forward": Narrow(), "reverse": Narrow()})
    dull: int = 0

    @property
    def directions(self) -> tuple[str, ...]:
        """Those in which the model looks."""
        return ("forward", "reverse") if self.ahead else ("forward",)


@dataclass
class Visit:
    """A model's call in one step, and the errors that come back to its output.

    drive  its data in some rows of a batch, without padding
    """

    plan: Plan
    rows: Tensor
    batch: int
    steps: int
    drive: Tensor
    errors: list[Tensor] = field(default_factory=list)


class Whole(Probe):
    """Gain, signal, and pairs for the need test, through the whole model.

    Curve      as in `tails.py`, for random directions (gain) and for the error of the anchor step (signal)
    Anchors    up to 16 rows, each at the last step that an error arrives at; the last step where there is one output
               for the whole sequence. Where outputs depend on later inputs too, a curve into the future from the first
               such step besides
    Input      the embedded input: see `entrance.py`
    Cost       two products on the live graph, four at most the first time, each about the part of a backward pass that
               leads to the inputs; a forward pass of the first module where that may mix steps
    Left out   models compiled, checkpointed, or trained by several processes; outputs that no error arrives at;
               inputs of other than three axes (two for token ids) or fewer than 16 steps; models in which no step
               sees another
    Source     Luo, Li, Urtasun & Zemel 2016, arXiv 1701.04128, for the effective receptive field
    """

    def __init__(self):
        self._plans: weakref.WeakKeyDictionary[nn.Module, Plan] = weakref.WeakKeyDictionary()
        self._refused: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._calls, self._packed = Calls(), False
        self._latest: dict[nn.Module, Call] = {}
        self._visit: Visit | None = None
        self._measured: list[tuple[Plan, Curve]] = []

    def opened(self, look: Look) -> None:
        """Nothing was called yet."""
        self._forget()

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Where does the sequence enter, where does it leave?"""
        if look.compiled or not results:
            return
        self._packed |= packing()
        self._calls.add(_call(look, module, arguments, results), outermost=module in look.trace.roots)

    def followed(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """A module at which a sequence is known to enter or to leave."""
        self._latest[module] = _call(look, module, arguments, results)

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """Measure on the live graph, and ask for the error."""
        if look.with_curves:
            self._measure(look, root, gradient)
        elif self._visit is None:
            for module, call in self._latest.items():
                plan = self._plans.get(module)
                entered = plan.source[0]() if plan and plan.dull < PATIENCE else None
                source = self._latest.get(entered) if entered is not None else None
                if plan is not None and source is not None:
                    self._visit = self._await_errors(look, plan, call, source)
        self._calls, self._latest = Calls(), {}

    def after_backward(self, look: Look) -> None:
        """The errors have come back to the model's output."""
        visit, self._visit = self._visit, None
        if visit is not None and visit.errors:
            look.sequences = max(look.sequences, self._collect(look, visit))

    def closed(self, look: Look) -> None:
        """Does the model reach farther than its own recurrent layers?"""
        for plan, curve in self._measured:
            layers = [
                reach_of(found[-1].lags, found[-1].log_gain)
                for key, found in look.store.curves().items()
                if not key.whole and found[-1].step == look.step
            ]
            echo = bool(layers) and reach_of(curve.lags, curve.log_gain) <= tails.FARTHER * max(layers)
            plan.dull = plan.dull + 1 if echo else 0
        self._forget()

    def _forget(self) -> None:
        self._calls, self._packed, self._latest = Calls(), False, {}
        self._visit, self._measured = None, []

    # ---- one step with curves

    def _measure(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        calls = self._calls
        if self._measured or not calls.outermost:
            return
        entrances = calls.entrances()
        if not entrances or entrances[0].longest < FEWEST_STEPS or self._cannot(look, entrances):
            return
        look.silence()
        found = exit_of(calls, root, gradient)
        if found is None or any(found[0].module is visit.module for visit in look.trace.fused):
            return
        call, place, error = found
        known = self._plans.get(call.module)
        if call.module in self._refused or (known and known.dull >= PATIENCE):
            return
        way = Way(entrances, call.results[place])
        fits = known is not None and matches(known.layout, way.data, way.output)
        plan = known if fits else self._plan(look, call, place, way)
        if plan is None:
            return
        directions = ("forward", "reverse") if plan.ahead is None and plan.layout.stepwise else plan.directions
        curves = measure(way, plan.layout, error, directions, look.step, look.generator)
        if "forward" not in curves:
            self._plans.pop(call.module, None)
            self._refused.add(call.module)
            return
        self._plans[call.module] = plan
        plan.ahead = plan.ahead or "reverse" in curves
        for direction, curve in curves.items():
            look.store.add_curve(LayerKey(**{**vars(plan.key), "direction": direction}), curve)
        self._measured.append((plan, curves["forward"]))
        look.follow(call.module)
        look.follow(entrances[0].call.module)
        if plan.dull < PATIENCE:
            self._visit = self._await_errors(look, plan, call, entrances[0].call)

    def _cannot(self, look: Look, entrances: list[Entrance]) -> bool:
        """Whether a product on the graph, or a copy of the first module, might be noticed."""
        reason = None
        if _in_parallel():
            reason = IN_PARALLEL
        elif self._packed:
            reason = CHECKPOINTED
        else:
            refusals = (cannot_be_rerun(e.call.module) for e in entrances if e.mixed)
            refusal = next((refusal for refusal in refusals if refusal), None)
            if refusal:
                reason = f"reach and need of the whole model were not measured: {refusal}"
        if reason:
            look.store.note(reason)
        return reason is not None

    def _plan(self, look: Look, call: Call, place: int, way: Way) -> Plan | None:
        output, data = call.results[place], way.data
        candidates = layouts(way.entrances[0].axes, tuple(data.shape), tuple(output.shape))
        layout = Search(output, tuple(data.shape), way.sensitivity, look.generator).find(candidates)
        if layout is None or data.shape[layout.time] < FEWEST_STEPS:
            self._refused.add(call.module)
            return None
        width = layout.leaving(output.detach(), data.shape[layout.row]).shape[2]
        source = way.entrances[0]
        name, kind = self._named(look, call.module, source.call.module)
        key = LayerKey(name, kind, 0, "forward", width, whole=True)
        return Plan(key, place, (weakref.ref(source.call.module), source.place), layout)

    def _named(self, look: Look, leaving: nn.Module, entering: nn.Module) -> tuple[str, str]:
        """The module that holds both ends, or "model" where the script puts several together."""
        for call in self._calls.outermost:
            parts = list(call.module.modules())
            if any(part is leaving for part in parts) and any(part is entering for part in parts):
                name = look.names.of(call.module)
                taken = {key.module for key in look.store.curves() if not key.whole}
                return name if name not in taken else "whole model", type(call.module).__name__
        return "model", "several modules"

    # ---- pairs

    def _await_errors(self, look: Look, plan: Plan, call: Call, source: Call) -> Visit | None:
        place = plan.source[1]
        if place >= len(source.tensors) or plan.place >= len(call.results):
            return None
        data, output = source.tensors[place].detach(), call.results[plan.place]
        if not output.requires_grad or not matches(plan.layout, data, output):
            return None
        drive = plan.layout.entering(data)
        drive = drive[:, padding(drive) :]
        rows, steps = drive.shape[:2]
        most = max(FEWEST_ROWS, min(PAIR_ROWS, MOST_NUMBERS // (steps * min(plan.key.hidden, MOST_OUTPUTS))))
        chosen = torch.arange(min(rows, most)) * rows // min(rows, most)
        chosen = (chosen + (look.step if rows > most else 0)) % rows
        # copied now: scripts may fill the same buffer again before the backward is done
        visit = Visit(plan, chosen, rows, data.shape[plan.layout.time], drive[chosen.to(drive.device)].clone())
        output.register_hook(lambda gradient: visit.errors.append(gradient.detach()))
        return visit

    def _collect(self, look: Look, visit: Visit) -> int:
        """Store the pairs of this step; how many sequences they are."""
        plan, (count, steps) = visit.plan, visit.drive.shape[:2]
        error = plan.layout.leaving(sum(visit.errors[1:], visit.errors[0]), visit.batch)
        if error.shape[2] > MOST_OUTPUTS and plan.outputs is None:
            some = error[visit.rows[:4].to(error.device), :: max(1, error.shape[1] // 16)]
            plan.outputs = some.float().square().sum(dim=(0, 1)).topk(MOST_OUTPUTS).indices
        error = error[visit.rows.to(error.device)]
        error = (error if plan.outputs is None else error[:, :, plan.outputs]).float()
        placed = error.new_zeros(count, visit.steps, error.shape[2])
        placed[:, steps_of(error.shape[1], visit.steps)] = error
        placed = placed[:, visit.steps - steps :]
        drive, placed, lengths = visit.drive.transpose(0, 1), placed.transpose(0, 1), torch.full((count,), steps)
        for direction in plan.directions:
            if direction == "reverse":
                drive, placed = drive.flip(0), placed.flip(0)
            tokens = not drive.is_floating_point()
            found = paired(drive, placed, lengths, tokens, plan.narrow[direction], look.step)
            if found is not None:
                look.store.add_pairs(plan.key.module, direction, found)
        return count


def _call(look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> Call:
    given, keywords = look.trace.given
    return Call(module, given, keywords, arguments, results, autocast_of(results[0].device))


def _in_parallel() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return bool(
        distributed and distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    )
