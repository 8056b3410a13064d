"""A training run at one moment, and back again."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longreach.nn.cell import State, entries, rebuilt
from longreach.training.checkpoint import Snapshot

if TYPE_CHECKING:
    from longreach.training.loop import Loop


def snapshot(loop: "Loop") -> Snapshot:
    """Weights, optimizer, random state, carried state, and the numbers that a run goes by. Copies, all of them."""
    shared = {f"network.{name}": value for name, value in loop.inner.state_dict().items()}
    for number, own in enumerate(_trained(loop)):
        held = loop.optimizer.state.get(own, {})
        shared |= {f"optimizer.{number}.{name}": value for name, value in held.items() if isinstance(value, Tensor)}
    own = {"random": torch.get_rng_state()}
    if torch.cuda.is_available():
        own["random.cuda"] = torch.cuda.get_rng_state()
    if loop.state is not None:
        own |= {f"state.{number}": _real(entry) for number, entry in enumerate(entries(loop.state))}
    facts = {
        "step": loop.step,
        "best": None if loop.best == float("inf") else loop.best,
        "waited": loop.waited,
        "trouble": loop.trouble.facts(),
    }
    return Snapshot(*({name: value.detach().clone() for name, value in part.items()} for part in (shared, own)), facts)


def put_back(loop: "Loop", kept: Snapshot) -> None:
    """Weights, optimizer, random state and carried state as they were; not the numbers."""
    weights = {
        name.removeprefix("network."): value for name, value in kept.shared.items() if name.startswith("network.")
    }
    loop.inner.load_state_dict(weights)
    loop.optimizer.state.clear()
    for number, own in enumerate(_trained(loop)):
        prefix = f"optimizer.{number}."
        held = {name.removeprefix(prefix): value for name, value in kept.shared.items() if name.startswith(prefix)}
        if held:
            # Adam counts its steps on the CPU
            loop.optimizer.state[own] = {
                name: value.clone() if value.dim() == 0 else value.to(own.device, copy=True)
                for name, value in held.items()
            }
    torch.set_rng_state(kept.own["random"].cpu())
    if "random.cuda" in kept.own and torch.cuda.is_available():
        torch.cuda.set_rng_state(kept.own["random.cuda"].cpu())
    loop.state = _state(loop, kept)


def _state(loop: "Loop", kept: Snapshot) -> State | None:
    count = sum(name.startswith("state.") for name in kept.own)
    if not count:
        return None
    like = next(loop.inner.parameters())
    structure = loop.inner.zeros(0, like=like)
    found = []
    for number, zero in enumerate(entries(structure)):
        value = kept.own[f"state.{number}"].to(like.device, copy=True)
        found.append(torch.view_as_complex(value) if zero.is_complex() else value)
    return rebuilt(structure, tuple(found))


def _real(entry: Tensor) -> Tensor:
    """Complex numbers as pairs: not every file format has a word for them."""
    return torch.view_as_real(entry) if entry.is_complex() else entry


def _trained(loop: "Loop") -> list[Tensor]:
    return [own for group in loop.optimizer.param_groups for own in group["params"]]
