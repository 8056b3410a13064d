"""A trial in this process: a model trained without, with a random change, and with every remedy, seed by seed."""

import itertools
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from longreach.errors import ArgumentError, NotApplicable
from longreach.measurement import measure
from longreach.probes.randomness import untouched_randomness
from longreach.remedies import CONTROLS, REMEDIES, Remedy, named
from longreach.remedies.outside import treat_modules, treat_optimizer
from longreach.trial.proof import FEWEST_SEEDS, Arm, Outcome, Proof, at_end, survivors, thinned
from longreach.trial.random_change import random_change
from longreach.trial.seeding import FAR

Treatment = str | Remedy | Callable[..., Any]
Loss = Callable[[Any, Any], Tensor]


def prove(
    make_model: Callable[[], nn.Module],
    batches: Iterable[Any] | Callable[[], Iterable[Any]],
    loss: Loss,
    *,
    remedies: Sequence[Treatment],
    seeds: int = 5,
    steps: int | None = None,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
    level: float = 0.01,
    worth: float = 0.1,
) -> Proof:
    """Train the model without and with each remedy, from the same start on the same batches, and say what is proven.

    make_model  gives a new model, drawn from torch's generator
    batches     pairs (x, y), x a tensor or a tuple of arguments: a list, a DataLoader, or a function that gives them
                anew. What it draws from torch's, numpy's or Python's generator is the same for the same seed and step
    loss        of (model(x), y)
    remedies    names, "identity-init+clip-norm" for two together, verbs of longreach.remedies, or Remedy rows
    seeds       runs of each arm at most; arms that fall behind get fewer, and all end when it is decided
    steps       of each run; if None, once through the batches
    optimizer   made of the parameters; if None, Adam with a step size of 1e-3
    level       chance that anything is called proven though nothing helps
    worth       the least effect worth having, as a share of the control's loss
    Leaves      the caller's random numbers as they were
    Cost        (2 + remedies) · seeds runs at most, one after the other
    Is not      for scripts: `longreach treat` runs them as they are, many at a time
    Raises      ArgumentError before anything is trained, or where the batches are not the same again
    """
    arms = [_Treated.of(one) for one in remedies]
    _check(make_model, batches, arms, seeds, steps, level, worth)
    steps = len(batches) if steps is None else steps  # type: ignore[arg-type]
    kinds = [remedy for arm in arms for remedy in arm.remedies]
    control, shaken = _Treated("control", ()), _Treated.together(random_change(kinds))
    training = _Training(make_model, batches, loss, optimizer or _adam, steps)
    alive, proof = list(arms), None
    for seed in range(seeds):
        for arm in (control, shaken, *alive):
            arm.run(training, seed)
        proof = Proof(
            control.arm, shaken.arm, tuple(arm.arm for arm in arms), steps=steps, level=level, worth=worth,
            looks=seeds - FEWEST_SEEDS + 1,
        )  # fmt: skip
        staying = {arm.name for arm in survivors(proof, keep=math.ceil(len(alive) / 2))}
        alive = [arm for arm in alive if arm.name in staying]
        if not alive or (seed + 1 >= FEWEST_SEEDS and proof.decided):
            break
    assert proof is not None
    return proof


class _OtherBatches(ArgumentError):
    """No fault of a remedy."""


@dataclass
class _Treated:
    """One arm, and what its runs gave so far."""

    name: str
    remedies: tuple[Remedy, ...]
    outcomes: list[Outcome] = field(default_factory=list)
    refusal: str | None = None

    @classmethod
    def of(cls, given: Treatment) -> "_Treated":
        if isinstance(given, Remedy):
            return cls.together([given])
        if isinstance(given, str):
            return cls.together([named(name) for name in given.split("+")])
        known = [remedy for remedy in (*REMEDIES, *CONTROLS) if remedy.verb is given]
        if not known:
            raise ArgumentError(
                f"remedies: expected names, verbs of longreach.remedies or Remedy rows, got {given!r}; "
                "make a Remedy of a verb of your own"
            )
        return cls.together(known)

    @classmethod
    def together(cls, remedies: Iterable[Remedy]) -> "_Treated":
        remedies = tuple(remedies)
        return cls("+".join(remedy.name for remedy in remedies), remedies)

    @property
    def arm(self) -> Arm:
        return Arm(self.name, tuple(self.outcomes), self.refusal)

    def run(self, training: "_Training", seed: int) -> None:
        """One more run. A remedy that does not fit is told; one that breaks the training has a run that failed."""
        if self.refusal is not None:
            return
        try:
            self.outcomes.append(training.run(seed, self.remedies))
        except NotApplicable as refusal:
            self.refusal = str(refusal)
        except _OtherBatches:
            raise
        except Exception as error:
            if not self.remedies:
                raise  # the caller's own
            failed = f"{type(error).__name__}: {error}"
            self.outcomes.append(Outcome(seed, math.nan, (), 0.0, 0.0, failed=failed))


@dataclass
class _Training:
    """What is the same in all runs."""

    make_model: Callable[[], nn.Module]
    batches: Iterable[Any] | Callable[[], Iterable[Any]]
    loss: Loss
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    steps: int
    first: dict[int, Any] = field(default_factory=dict)  # of each seed: the first batch

    def run(self, seed: int, remedies: Sequence[Remedy]) -> Outcome:
        """Make the model, treat it, train it; nothing of it stays."""
        with untouched_randomness():
            _seed(seed)
            model = self.make_model()
            treat_modules(remedies, [model])
            optimizer = self.optimizer(model.parameters())
            treat_optimizer(remedies, optimizer)
            return self._train(seed, model, optimizer)

    def _train(self, seed: int, model: nn.Module, optimizer: Optimizer) -> Outcome:
        held, losses, seconds = _Held(), [], 0.0
        x, y = None, None
        for step, (x, y) in enumerate(itertools.islice(self._stream(seed), self.steps)):
            began = time.perf_counter()
            optimizer.zero_grad()
            with held.counting() if step == 0 else nullcontext():
                value = self.loss(model(*(x if isinstance(x, tuple) else (x,))), y)
            value.backward()
            optimizer.step()
            losses.append(value.item())  # waits for the device
            seconds += time.perf_counter() - began
        memory = held.mebibytes(model, optimizer)
        reach = _reach(model, (x, y), self.loss)  # last: it runs the model, and what a remedy counts would count it
        return Outcome(seed, at_end(losses), thinned(losses), seconds, memory, reach)

    def _stream(self, seed: int) -> Iterator[Any]:
        """Batches without end, each drawn from a seed of its own: whatever the model draws, they are the same."""
        iterator: Iterator[Any] = iter(())
        for step in itertools.count():
            with untouched_randomness():
                _seed(FAR * (seed + 1) + step)
                batch = next(iterator, None)
                if batch is None:
                    iterator = iter(self.batches() if callable(self.batches) else self.batches)
                    batch = next(iterator, None)
            if batch is None:
                raise ArgumentError("batches: expected pairs (x, y), got none")
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise ArgumentError(f"batches: expected pairs (x, y), got {type(batch).__name__}; see longreach.prove")
            if step == 0 and not _same(self.first.setdefault(seed, batch), batch):
                raise _OtherBatches(
                    "batches: expected the same batches for the same seed, got others the second time; draw them from "
                    "torch's, numpy's or Python's own generator, or make a new generator in the function"
                )
            yield batch


class _Held:
    """What one training step holds: weights, gradients, the optimizer's state, and what the backward pass needs."""

    def __init__(self):
        self._saved: dict[int, int] = {}

    def counting(self) -> torch.autograd.graph.saved_tensors_hooks:
        """Within, what is kept for the backward pass is counted, each storage once."""
        return torch.autograd.graph.saved_tensors_hooks(self._count, lambda kept: kept)

    def _count(self, tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided:
            self._saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # itself would be a cycle

    def mebibytes(self, model: nn.Module, optimizer: Optimizer) -> float:
        """Weights are held once, also where the backward pass needs them."""
        weights = [*model.parameters(), *model.buffers()]
        places = {own.untyped_storage().data_ptr() for own in weights}
        grads = [own.grad for own in model.parameters() if own.grad is not None]
        state = [kept for of_one in optimizer.state.values() for kept in of_one.values() if isinstance(kept, Tensor)]
        saved = sum(size for place, size in self._saved.items() if place not in places)
        return (sum(own.nbytes for own in (*weights, *grads, *state)) + saved) / 2**20


def _check(
    make_model: Any, batches: Any, arms: list[_Treated], seeds: int, steps: int | None, level: float, worth: float
) -> None:
    if not callable(make_model) or isinstance(make_model, nn.Module):
        raise ArgumentError(
            f"make_model: expected a function that gives a new model, got {type(make_model).__name__}; every run has a "
            "new one: lambda: Net()"
        )
    if not arms:
        raise ArgumentError("remedies: expected at least one, got none; longreach.diagnose says which are meant")
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise ArgumentError(f"remedies: expected each once, got {', '.join(names)}")
    for remedy in (remedy for arm in arms for remedy in arm.remedies):
        if remedy.moment == "process":
            raise ArgumentError(
                f"remedies: expected changes of a model or an optimizer, got {remedy.name}, which changes the process, "
                "and all runs are made in one; longreach treat has a process for each"
            )
    if seeds < FEWEST_SEEDS:
        raise ArgumentError(f"seeds: expected at least {FEWEST_SEEDS}, got {seeds}: fewer prove nothing")
    if not 0 < level < 1:
        raise ArgumentError(f"level: expected a chance between 0 and 1, got {level}")
    if not worth >= 0:
        raise ArgumentError(f"worth: expected a share of at least 0, got {worth}")
    if not callable(batches) and not isinstance(batches, Iterable):
        raise ArgumentError(f"batches: expected pairs (x, y) or a function, got {type(batches).__name__}")
    if isinstance(batches, Iterator):
        raise ArgumentError(
            "batches: expected something that can be read again for every run, got an iterator; pass a list, or the "
            "function that makes it"
        )
    if steps is None and not isinstance(batches, Sized):
        raise ArgumentError("steps: expected a number, got None, and the batches do not say how many they are")
    if steps is not None and steps < 1:
        raise ArgumentError(f"steps: expected at least 1, got {steps}")


def _adam(params: Iterable[nn.Parameter]) -> Optimizer:
    return Adam(params, lr=1e-3)


def _seed(number: int) -> None:
    """All generators; CUDA's only where it is in use, as it would be asked for with every call otherwise."""
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 (the caller's)
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool(((one == other) | (one != one)).all())
    if isinstance(one, (tuple, list)) and isinstance(other, (tuple, list)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return not isinstance(one, Tensor) and (isinstance(one, dict) or type(one) is type(other))


def _reach(model: nn.Module, batch: Any, loss: Loss) -> float | None:
    """Of the recurrent layer that reaches furthest; None without one."""
    reaches = [layer.reach.lag for layer in measure(model, batch, loss).layers if layer.reach is not None]
    return float(max(reaches)) if reaches else None
