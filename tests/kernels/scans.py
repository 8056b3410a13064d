"""Random arguments for the scans, every way of walking through time, and values with all gradients to compare."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GATES = {"elman": 1, "gru": 3, "lstm": 4, "cornn": 1, "lem": 4}
STATES = {"elman": ("h0",), "gru": ("h0",), "lstm": ("h0", "c0"), "cornn": ("y0", "z0"), "lem": ("y0", "z0")}
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
LENGTHS = [9, 6, 6, 2]  # of four sequences, falling

# every way of walking; `lengths` stands for batch_sizes and `resets` for random ones
WALKS: dict[str, dict[str, Any]] = {
    "dense": {},
    "reverse": {"reverse": True},
    "packed": {"lengths": LENGTHS},
    "packed reverse": {"lengths": LENGTHS, "reverse": True},
    "resets": {"resets": True},
    "packed reverse resets": {"lengths": LENGTHS, "reverse": True, "resets": True},
    "cut": {"cut": 2},
    "packed cut": {"lengths": LENGTHS, "cut": 3},
    "packed reverse cut": {"lengths": LENGTHS, "reverse": True, "cut": 3},
    "clip": {"clip": 0.3},
    "packed reverse clip": {"lengths": LENGTHS, "reverse": True, "clip": 0.3},
    "all": {"lengths": LENGTHS, "reverse": True, "resets": True, "cut": 4, "clip": 0.3},
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("elman", {"activation": name}) for name in ("tanh", "relu", "sigmoid", "elu", "selu", "identity")},
    "leaky_relu": ("elman", {"activation": "leaky_relu", "decay": 1.0, "rate": 0.3}),
    "leaky tanh": ("elman", {"decay": 0.7, "rate": 0.3}),
    "prelu": ("elman", {"activation": "prelu", "slope": "units"}),
    "leaky prelu": ("elman", {"activation": "prelu", "slope": "one", "decay": 0.7, "rate": 0.3}),
    "gru": ("gru", {}),
    "lstm": ("lstm", {}),
    "peephole": ("lstm", {"peephole": True}),
    "cornn": ("cornn", {"dt": 0.3, "gamma": 1.5, "epsilon": 0.8}),
    "lem": ("lem", {"dt": 0.7}),
}


@dataclass(frozen=True)
class Problem:
    """One call of one scan: its tensors that have gradients, and everything else."""

    family: str
    tensors: dict[str, Tensor | None]
    options: dict[str, Any]

    def to(self, dtype: torch.dtype) -> "Problem":
        tensors = {name: None if tensor is None else tensor.to(dtype) for name, tensor in self.tensors.items()}
        return Problem(self.family, tensors, self.options)


def problem(
    name: str,
    *,
    steps: int = LENGTHS[0],
    batch: int = len(LENGTHS),
    inputs: int = 3,
    hidden: int = 5,
    bias: bool = True,
    projected: bool = False,
    probed: bool = True,
    dtype: torch.dtype = torch.float64,
    lengths: list[int] | None = None,
    resets: bool = False,
    **walk: Any,
) -> Problem:
    """A problem of the family `name` in FAMILIES; with `projected` there is no weight_ih."""
    family, options = FAMILIES[name]
    gates = GATES[family] * hidden
    rows = steps * batch if lengths is None else sum(lengths)

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return (torch.randn(shape, dtype=torch.float64) * std).to(dtype)

    squares = {"cornn": {"weight_hh": (1, 2)}, "lem": {"weight_y": (3, 1), "weight_z": (1, 1)}}
    biases = ["bias"] if family in squares else ["bias_ih", "bias_hh"]
    tensors: dict[str, Tensor | None] = {
        "x": normal(rows, gates if projected else inputs),
        "weight_ih": None if projected else normal(gates, inputs, std=0.7),
        **{
            name: normal(down * hidden, across * hidden, std=1 / math.sqrt(hidden))
            for name, (down, across) in squares.get(family, {"weight_hh": (GATES[family], 1)}).items()
        },
        **{name: normal(gates, std=0.3) if bias else None for name in biases},
        **{name: normal(batch, hidden) for name in STATES[family]},
    }
    if "slope" in options:
        tensors["slope"] = normal(1 if options["slope"] == "one" else hidden, std=0.3)
        options = {key: value for key, value in options.items() if key != "slope"}
    if probed:
        tensors["probe"] = torch.zeros(len(STATES[family]), rows, dtype=dtype)
    if options.get("peephole"):
        tensors["peephole"] = normal(3 * hidden, std=0.5)
        options = {}
    if lengths is not None:
        walk["batch_sizes"] = batch_sizes(lengths)
    if resets:
        walk["resets"] = torch.rand(rows) < 0.3
    return Problem(family, tensors, {**options, **walk})


def batch_sizes(lengths: list[int]) -> Tensor:
    running = [sum(length > t for length in lengths) for t in range(max(lengths, default=0))]
    return torch.tensor(running, dtype=torch.int64)


def fixed(like: Tensor) -> Tensor:
    """An error to send back that is the same for every implementation, in float32 and float64."""
    return torch.cos(torch.arange(like.numel(), dtype=torch.float64) + 1).float().view(like.shape).to(like.dtype)


def results(scan: Callable[..., tuple[Tensor, ...]], problem: Problem) -> Mapping[str, Tensor]:
    """What a scan gives, and the gradient of every tensor in it."""
    leaves = {name: t.clone().requires_grad_() for name, t in problem.tensors.items() if t is not None}
    nothing = dict.fromkeys(problem.tensors)
    outputs = scan(**{**nothing, **leaves}, **problem.options)
    sum((output * fixed(output)).sum() for output in outputs).backward()
    values = {f"output {n}": output.detach() for n, output in enumerate(outputs)}
    return values | {f"gradient of {name}": gradient(leaf) for name, leaf in leaves.items()}


def gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def assert_same(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], **tolerance: float) -> None:
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            got[name], expected[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )
