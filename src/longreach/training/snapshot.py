"""A training run at one moment, and back again."""

from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from longreach.errors import ArgumentError, RunReadError
from longreach.nn.cell import State, entries, rebuilt
from longreach.training.checkpoint import Snapshot

if TYPE_CHECKING:
    from longreach.training.loop import Loop

BACK = "back."  # before the names of what the last sound moment held


def snapshot(loop: "Loop") -> Snapshot:
    """Weights, optimizer, random state, carried state, and the numbers that a run goes by. Copies, all of them."""
    shared = {f"network.{name}": value for name, value in loop.inner.state_dict().items()}
    for number, weight in enumerate(loop.parameters):
        held = loop.optimizer.state.get(weight, {})
        shared |= {f"optimizer.{number}.{name}": value for name, value in held.items() if isinstance(value, Tensor)}
    own = {"random": torch.get_rng_state()}
    own |= {f"random.{number}": one.get_state() for number, one in enumerate(loop.generators)}
    if loop.fabric.device.type == "cuda":
        own["random.cuda"] = torch.cuda.get_rng_state()
    if loop.state is not None:
        own |= {f"state.{number}": _real(entry) for number, entry in enumerate(entries(loop.state))}
    facts = {
        "step": loop.step,
        "taken": loop.taken,
        "best": None if loop.best == inf else loop.best,
        "waited": loop.waited,
        "over": loop.over,
        "threads": torch.get_num_threads(),
        "trouble": loop.trouble.facts(),
    }
    return Snapshot(_copied(shared), (_copied(own),), facts)


def put_back(loop: "Loop", kept: Snapshot) -> None:
    """Weights, optimizer, random state and carried state as they were; not the numbers."""
    loop.inner.load_state_dict(_under("network.", kept.shared))
    loop.optimizer.state.clear()
    for number, weight in enumerate(loop.parameters):
        if held := _under(f"optimizer.{number}.", kept.shared):
            # Adam counts its steps on the CPU
            loop.optimizer.state[weight] = {
                name: value.clone() if value.dim() == 0 else value.to(weight.device, copy=True)
                for name, value in held.items()
            }
    (own,) = kept.own
    torch.set_rng_state(own["random"].cpu())
    for number, generator in enumerate(loop.generators):
        generator.set_state(own[f"random.{number}"].cpu())
    if "random.cuda" in own and loop.fabric.device.type == "cuda":
        torch.cuda.set_rng_state(own["random.cuda"].cpu())
    loop.state = _state(loop, own)


def resume(loop: "Loop", kept: Snapshot) -> None:
    """Go on from a checkpoint of this run, of which `kept` holds what all processes had for themselves.

    Raises  ArgumentError where there are more or fewer processes now; RunReadError where it is of another network
    """
    world, facts = loop.fabric.world_size, kept.facts
    if len(kept.own) != world:
        raise ArgumentError(
            f"{loop.folder}: expected {len(kept.own)} processes, as the run began with, got {world}; resume with as "
            "many, each has its own part of the data"
        )
    mine = kept.own[loop.fabric.global_rank]
    try:
        now, back = ((_under(name, kept.shared), (_under(name, mine),)) for name in ("", BACK))
        put_back(loop, Snapshot(*now, facts))
        loop.sound = Snapshot(*back, {"step": facts["sound"]})
        loop.step, loop.taken = facts["step"], facts["taken"]
        loop.waited, loop.over = facts["waited"], facts["over"]
        loop.best = inf if facts["best"] is None else facts["best"]
        loop.trouble.recall(facts["trouble"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise RunReadError(
            f"{loop.folder}: expected checkpoints of the network in train.json, got others "
            f"({type(error).__name__}: {str(error).splitlines()[-1].strip()}); the folder mixes two runs: train anew"
        ) from None


def checkpointed(loop: "Loop") -> Snapshot:
    """The run as it is now, and the moment that it would go back to: all that its future depends on."""
    now, back = snapshot(loop), loop.sound
    own = now.own[0] | _over(back.own[0])
    return Snapshot(now.shared | _over(back.shared), _gathered(own, loop), now.facts | {"sound": back.facts["step"]})


def _gathered(own: dict[str, Tensor], loop: "Loop") -> tuple[dict[str, Tensor], ...]:
    """What each process has for itself, on the first of them."""
    if loop.fabric.world_size == 1:
        return (own,)
    here = {name: value.cpu() for name, value in own.items()}
    every: list[Any] | None = [None] * loop.fabric.world_size if loop.fabric.is_global_zero else None
    torch.distributed.gather_object(here, every)
    return tuple(every or [here])


def _state(loop: "Loop", own: dict[str, Tensor]) -> State | None:
    if "state.0" not in own:
        return None
    like = loop.parameters[0]
    structure = loop.inner.zeros(0, like=like)
    found = []
    for number, zero in enumerate(entries(structure)):
        value = own[f"state.{number}"].to(like.device, copy=True)
        found.append(torch.view_as_complex(value) if zero.is_complex() else value)
    return rebuilt(structure, tuple(found))


def _real(entry: Tensor) -> Tensor:
    """Complex numbers as pairs: not every file format has a word for them."""
    return torch.view_as_real(entry) if entry.is_complex() else entry


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


def _over(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{BACK}{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
