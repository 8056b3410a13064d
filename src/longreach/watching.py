"""Watching a live training loop: samples within a time budget, leaves no trace."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from longreach import ranks
from longreach.closures import before_use
from longreach.errors import ArgumentError, RunFolderError
from longreach.probes.ledger import Ledger
from longreach.probes.loop import tensors_in
from longreach.probes.names import Names
from longreach.probes.numerics import Sentinel
from longreach.probes.observe import Observer
from longreach.record import Record
from longreach.sampler import SEQUENCES, Sampler, check_budget
from longreach.store import Store

if TYPE_CHECKING:
    from longreach.diagnosis import Diagnosis

# Written to the run folder at least this often, so that little is lost with a killed process; seconds.
COMMIT_EVERY = 1.0
# Sampled steps without any sequence after which sequences are looked for more rarely.
GIVE_UP_AFTER = 8


class Watch:
    """A training loop under watch; `longreach.watch` makes one.

    Between samples one Python function runs per backward and two per optimizer step, and no module carries a hook.
    It draws no random number, changes no tensor, and is gone after the `with` block. What goes wrong inside is told
    in the record's notes, never raised into the training loop.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        *,
        budget: float = 0.02,
        guard: bool = False,
        store: Store | None = None,
    ):
        check_budget(budget)
        for name, value, kind in (("model", model, nn.Module), ("optimizer", optimizer, Optimizer)):
            if value is not None and not isinstance(value, kind):
                raise ArgumentError(f"{name}: expected a torch {kind.__name__}, got {type(value).__name__}")
        if guard and optimizer is None:
            raise ArgumentError("guard: expected an optimizer to guard, got none; pass it as watch(model, optimizer)")
        self.store = Store.create(None) if store is None else store
        self.steps = 0
        self._optimizer, self._stepped_by_hand = _at_the_bottom(optimizer), model is not None and optimizer is None
        self._guard = guard
        names = Names(model)
        self._observer, self._ledger = Observer(self.store, names), Ledger(self.store, names)
        self._sentinel = Sentinel(names, self._ledger.norms)
        self._budget, self._sampler = budget, self._new_sampler(budget)
        self._pid, self._busy, self._off, self._blind = os.getpid(), False, True, False
        self._stepping = False
        self._kind: str | None = None
        self._window: list[Tensor] = []  # losses of the backward passes since the last optimizer step
        self._written = self._opened = 0.0
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._sampler = self._new_sampler(self._budget)
        self._off, self._written = False, time.perf_counter()
        self._replace(torch.autograd, "backward", self._around)
        self._replace(torch, "compile", self._noting_what_is_compiled)
        ledger, scaler = self._ledger, torch.amp.GradScaler
        self._listen(clip_grad, "_clip_grads_with_norm_", ledger.heard_clip_norm)  # called by clip_grad_norm_
        self._listen(torch.nn.utils, "clip_grads_with_norm_", ledger.heard_clip_norm)
        self._listen(torch.nn.utils, "clip_grad_value_", ledger.heard_clip_value)
        self._listen(clip_grad, "clip_grad_value_", ledger.heard_clip_value)
        self._listen(scaler, "scale", ledger.scaler.heard_scale)
        if not self._stepped_by_hand:
            owner = self._optimizer
            before = owner.register_step_pre_hook if owner else register_optimizer_step_pre_hook
            after = owner.register_step_post_hook if owner else register_optimizer_step_post_hook
            self._undo += [before(before_use(self._before_step)).remove, after(self._after_step).remove]
            self._listen(scaler, "step", ledger.scaler.after_step, before=ledger.scaler.before_step)
        if self._guard and self._optimizer is not None:
            from longreach.remedies.guard import stand_guard

            # behind the hooks above: what it holds back has been seen
            self._undo.append(stand_guard(self._optimizer))
        with self._guarded():
            self._open_window()
        return self

    def _new_sampler(self, budget: float) -> Sampler:
        sequences = Store.DEEP_SEQUENCES if self.store.deep else SEQUENCES
        return Sampler(budget, together=ranks.world() > 1, sequences=sequences)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        while self._undo:
            self._undo.pop()()
        # under `longreach run` the interpreter is at its end, and has told of what ended the script
        if kind is not None or getattr(sys, "last_value", None) is not None:
            with self._guarded():
                self._sentinel.at_a_crash(self.store)
        with self._guarded():
            self._close_window()
        with self._guarded():
            if not self._blind:
                self._observer.finish()
            self._ledger.finish()
            self._explain()
            self._write(wait=True)
        self._off = True

    def learn_names(self, model: nn.Module) -> None:
        """Modules are called what they are called in this model, for a watch that was given none."""
        self._observer.names.learn([model])

    def step(self, loss: Tensor | None = None) -> None:
        """End of a training step, for a watch that was given no optimizer; call it after backward."""
        if loss is not None and not self._window:
            self._window.append(loss.detach())
        self._after_step()

    def record(self) -> Record:
        """All that has been measured so far, as plain data. Cost: the need tests, about a second each."""
        with self._guarded():
            self._write(wait=True)
        from longreach.conclude import conclude  # scipy behind it takes longer to import than a watch to attach

        return conclude(self.store)

    def diagnose(self) -> "Diagnosis":
        """The verdict on what has been measured so far; print it."""
        from longreach.diagnosis import diagnose

        return diagnose(self.record())

    # What the script's own calls set off.

    def _replace(self, home: Any, name: str, wrap: Callable[[Callable], Callable]) -> None:
        real = getattr(home, name)
        setattr(home, name, wrap(real))
        self._undo.append(lambda: setattr(home, name, real))

    def _listen(self, home: Any, name: str, heard: Callable, *, before: Callable | None = None) -> None:
        """`before` is told what a function of torch's is given, `heard` what it has returned and was given."""

        def wrap(real: Callable) -> Callable:
            @functools.wraps(real)
            def call(*arguments: Any, **options: Any) -> Any:
                if self._resting():
                    return real(*arguments, **options)
                if before is not None:
                    with self._guarded():
                        before(*arguments, **options)
                result = real(*arguments, **options)
                with self._guarded():
                    heard(result, *arguments, **options)
                return result

            return call

        if hasattr(home, name):  # some of these names are torch's own affair
            self._replace(home, name, wrap)

    def _noting_what_is_compiled(self, real: Callable) -> Callable:
        @functools.wraps(real)
        def compile(model: Any = None, *arguments: Any, **options: Any) -> Any:
            if model is not None and not self._resting():
                self._observer.names.learn_compiled(model)
                self._observer.spare_compiled_code()
            return real(model, *arguments, **options)

        return compile

    def _around(self, real: Callable) -> Callable:
        @functools.wraps(real)
        def backward(*arguments: Any, **options: Any) -> None:
            if self._resting():
                return real(*arguments, **options)
            with self._guarded():
                self._before_backward(*arguments, **options)
            result = real(*arguments, **options)
            with self._guarded():
                self._observer.after_backward()
                sampled, worth = self._kind is not None, self._ledger.alarmed
                if sampled or worth or self._sampler.can_afford(self._sentinel.cost):
                    self._sampler.charge("upkeep", self._look_at_gradients())
            return result

        return backward

    def _before_backward(self, tensors: Any, grad_tensors: Any = None, *_: Any, **__: Any) -> None:
        roots, gradients = tensors_in(tensors), tensors_in(grad_tensors)
        if roots:
            self._window.append(self._ledger.loss_of(roots[0]))
            scale = self._ledger.scale
            self._observer.before_backward(roots[0], gradients[0] if gradients else None, scale=scale)
            self._sentinel.look_at_loss(roots[0], self.steps, self.store, may_wait=self._kind is not None)

    def _before_step(self, optimizer: Optimizer) -> None:
        self._ledger.scaler.optimizer_steps()
        # a step may call its closure again and again: only the first time are the weights those from before the step
        if not self._resting() and self._window and not self._stepping:
            self._stepping = True
            with self._guarded():
                if self._sentinel.meets(optimizer):
                    self._sampler.charge("upkeep", self._look_at_gradients())
                self._sentinel.before_step()
                self._ledger.before_step(optimizer, may_wait=self._kind is not None)
                self._observer.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer | None = None, *_: Any) -> None:
        self._stepping = False
        # a step without a backward of its own belongs to the window that is open
        if not self._resting() and self._window:
            with self._guarded():
                self._sentinel.after_step(self.store)
                self._observer.after_step(optimizer)
                self._ledger.after_step(optimizer)
                self._sampler.charge("upkeep", self._ledger.seconds)
                self._ledger.seconds = 0.0
                self._close_window()
                self._ledger.step_over(self._window)
                self._window = []
                self.steps += 1
                if time.perf_counter() - self._written > COMMIT_EVERY:
                    self._write()
                self._open_window()

    def _look_at_gradients(self) -> float:
        return self._sentinel.look_at_gradients(self.steps, scale=self._ledger.scale, may_wait=self._kind is not None)

    def _resting(self) -> bool:
        return self._off or self._busy or os.getpid() != self._pid

    # One window: from an optimizer step to the next.

    def _open_window(self) -> None:
        fruitful = self._observer.fruitless < GIVE_UP_AFTER
        company = self._observer.wants_company(self.steps)
        self._kind = None if self._blind else self._sampler.due(self.steps, fruitful=fruitful, company=company)
        self._opened = time.perf_counter()
        if self._kind is not None:
            self._observer.open(self.steps, with_curves=self._kind == "curves")

    def _close_window(self) -> None:
        booked = self._observer.close()
        self._sampler.step_took(time.perf_counter() - self._opened, self._kind, booked)
        if self._kind is not None:
            self._sampler.collected(self._observer.sequences)

    def _write(self, *, wait: bool = False) -> None:
        began = time.perf_counter()
        self._ledger.write(wait=wait)
        self.store.put_meta(steps=self.steps, seconds=self._sampler.elapsed, spent=self._sampler.total_spent)
        self.store.commit()
        self._written = time.perf_counter()
        self._sampler.charge("upkeep", self._written - began)

    def _explain(self) -> None:
        """Sentences for what could not be seen."""
        if self.steps == 0:
            self.store.note(
                "no optimizer step was seen: expected a call of step() on a torch.optim optimizer; a script that "
                "updates its parameters by hand can call longreach.watch(model) and watch.step(loss)"
            )
        if self._observer.deaf and not self.store.curves():
            self.store.note(
                f"no gradient came back to {', '.join(sorted(self._observer.deaf))}: a recurrent layer that is to "
                "learn must run with gradients, and what it gives must not be detached before the loss"
            )
        if self._observer.names.compiled:
            self.store.note(
                "the model is compiled by torch.compile: only its nn.RNN, nn.GRU and nn.LSTM layers could be seen, no "
                "loop inside compiled code; run with TORCH_COMPILE_DISABLE=1 to see all"
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Nothing that goes wrong in here may reach the training; and our own calls are not watched."""
        self._busy = True
        try:
            yield
        except Exception as error:
            self._give_up(error)
        finally:
            self._busy = False

    def _give_up(self, error: Exception) -> None:
        """First give up measuring; if that was not enough, everything. Either way say so, here and in the record."""
        self._off, self._blind = self._blind, True
        self._observer.abandon()
        what = "the run folder" if isinstance(error, RunFolderError) else "reach and need"
        told = f"watching {what} stopped at step {self.steps}, training goes on: {type(error).__name__}: {error}"
        print(f"longreach: {told}", file=sys.stderr)
        with contextlib.suppress(RunFolderError):  # the folder may be what failed; then stderr has it
            self.store.note(told)


def _at_the_bottom(optimizer: Optimizer | None) -> Optimizer | None:
    """The optimizer itself, where it was handed to something that steps it: torch's hooks are called there alone."""
    inner = getattr(optimizer, "optimizer", None)
    return _at_the_bottom(inner) if isinstance(inner, Optimizer) else optimizer


def watch(model: nn.Module, optimizer: Optimizer | None = None, *, budget: float = 0.02, guard: bool = False) -> Watch:
    """Watch a model while it trains:

        with longreach.watch(model, optimizer) as watch:
            for x, y in batches: ...
        print(watch.diagnose())

    Without an optimizer, call `watch.step(loss)` after each backward.

    budget  share of the wall time that watching may cost; a run of less than a minute may take a little more, for the
            few samples that a verdict needs
    guard   as long as it watches, longreach.remedies.guard skips steps that would break the run
    Raises  ArgumentError if an argument is not what its name says, or there is no optimizer to guard
    """
    return Watch(model, optimizer, budget=budget, guard=guard)
