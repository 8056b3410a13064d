"""A training run's folder: what is needed to go on with it, and to use what it has learned."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_of

from longreach.errors import RunReadError
from longreach.training.devices import Devices
from longreach.training.network import Architecture, Network
from longreach.training.plan import Plan
from longreach.training.problem import Shape, Sizes
from longreach.whole import write_whole

SCHEMA = "longreach.training/1"
PLAN, MODEL, OUTCOME = "train.json", "model.safetensors", "outcome.json"


def write_plan(folder: Path, kind: str, source: dict[str, Any], recipe: dict[str, Any], plan: Plan) -> None:
    """Keep what a run is about: the kind of data and how they were read, and the plan."""
    facts = {"schema": SCHEMA, "kind": kind, "source": source, "recipe": recipe, "plan": asdict(plan)}
    write_whole(folder / PLAN, (json.dumps(facts, indent=1) + "\n").encode())


def read_plan(folder: Path) -> tuple[str, dict[str, Any], dict[str, Any], Plan]:
    """Kind, source, recipe and plan of a run.

    Raises  RunReadError where it is no folder of `longreach train`, or of another version
    """
    try:
        facts = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA:
            raise RunReadError(
                f"{folder / PLAN}: expected schema {SCHEMA}, got {facts['schema']!r}; use the version of longreach "
                "that wrote it"
            )
        plan = dict(facts["plan"])
        architecture = dict(plan.pop("architecture"))
        shape = Shape(**architecture.pop("shape"))
        sizes, machine = Sizes(**plan.pop("sizes")), Devices(**plan.pop("machine"))
        lists = {name: tuple(plan.pop(name)) for name in ("remedies", "reasons")}
        whole = Plan(
            architecture=Architecture(shape=shape, **architecture), sizes=sizes, machine=machine, **lists, **plan
        )
        return facts["kind"], facts["source"], facts["recipe"], whole
    except FileNotFoundError:
        raise RunReadError(
            f"{folder}: expected the run folder of a `longreach train`, found no {PLAN} in it; pass the folder that "
            "the training named in its last line"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunReadError(
            f"{folder / PLAN}: expected the plan of a training run, got {type(error).__name__}: {error}; it was cut "
            "off or changed by hand: train anew"
        ) from None


def load(folder: Path) -> tuple[str, dict[str, Any], Network]:
    """Kind and recipe of a run, and the network that it has trained, ready to be used.

    Raises  RunReadError where there is none yet, or its file is not whole
    """
    kind, _, recipe, plan = read_plan(folder)
    network = built(plan)
    try:
        weights = tensors_of((folder / MODEL).read_bytes())
    except FileNotFoundError:
        raise RunReadError(
            f"{folder}: expected a trained network, found no {MODEL}; the training has not come to its first "
            f"judgement: go on with `longreach train --resume {folder}`"
        ) from None
    except (OSError, SafetensorError) as error:
        raise RunReadError(
            f"{folder / MODEL}: expected the weights of a network, got {type(error).__name__}: {error}; the file was "
            f"cut off or is not ours: `longreach train --resume {folder}` writes it again"
        ) from None
    fitted(network, weights, folder / MODEL)
    return kind, recipe, network.eval()


def built(plan: Plan) -> Network:
    """The network of a plan, with those remedies that change its structure."""
    from longreach.remedies import named

    network = Network(plan.architecture)
    for remedy in map(named, plan.remedies):
        if remedy.moment == "module":
            remedy.verb(network)
    return network


def fitted(network: Network, weights: dict[str, Any], where: Path) -> None:
    """Put weights into a network. Raises RunReadError where they are those of another one."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RunReadError(
            f"{where}: expected the weights of the network in {PLAN}, got others ({str(error).splitlines()[-1].strip()}"
            "); the folder mixes two runs: train anew"
        ) from None
