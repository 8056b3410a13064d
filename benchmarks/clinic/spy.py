"""What the published rules read, collected while a script trains.

At the first step and at every tenth: gradients as the backward pass left them (before any clipping), weights before and
after the step, inputs of rectifiers and squashing functions, outputs of modules. At every step: the loss. The script's
own lines "... loss L accuracy A held-out H" are its epochs.

It looks and changes nothing, draws no random number, and never sees a run that longreach watches.
"""

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

INTERVAL = 10
EPOCH = re.compile(r"loss (\S+) accuracy (\S+) held-out (\S+)")
KINDS = {"relu": "relu", "relu_": "relu", "tanh": "tanh", "tanh_": "tanh", "sigmoid": "sigmoid", "sigmoid_": "sigmoid"}
LIMITS = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23.0, 16.99999)}  # beyond which SageMaker Debugger calls it saturated


class Calls(TorchFunctionMode):
    """Notes what goes into rectifiers and squashing functions, called by modules or as functions."""

    def __init__(self, noted: list[dict[str, Any]]):
        super().__init__()
        self.noted = noted

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kind = KINDS.get(getattr(func, "__name__", ""))
        if kind and torch.is_grad_enabled() and args and args[0].dim() > 1:
            self.noted.append(activation(kind, args[0].detach()))
        return func(*args, **(kwargs or {}))


class Spy:
    """A diary of one training run.

    diary    "losses": one a step; "epochs": step, loss, accuracy, held-out accuracy; "samples": one a sampled step
    """

    def __init__(self) -> None:
        self.diary: dict[str, list] = {"losses": [], "epochs": [], "samples": []}
        self.step = 0
        self.sample: dict[str, Any] | None = None
        self.calls: Calls | None = None
        self.loss = math.nan
        self.before: dict[int, Tensor] = {}
        self.root: nn.Module | None = None
        self.names: dict[int, str] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> "Spy":
        self.hooks = [
            nn.modules.module.register_module_forward_hook(self.after_module),
            register_optimizer_step_pre_hook(self.before_step),
            register_optimizer_step_post_hook(self.after_step),
        ]
        self.backward, self.print = Tensor.backward, sys.stdout.write
        Tensor.backward = self.around(Tensor.backward)  # pyright: ignore[reportAttributeAccessIssue]
        sys.stdout.write = self.overhear  # pyright: ignore[reportAttributeAccessIssue]
        self.open()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
        for hook in self.hooks:
            hook.remove()
        Tensor.backward = self.backward
        sys.stdout.write = self.print  # pyright: ignore[reportAttributeAccessIssue]

    def open(self) -> None:
        """A sampled step begins."""
        self.sample = {"step": self.step, "calls": [], "outputs": {}}
        self.calls = Calls(self.sample["calls"])
        self.calls.__enter__()

    def close(self) -> None:
        """A sampled step is over."""
        if self.calls is not None:
            self.calls.__exit__(None, None, None)
        self.sample = self.calls = None

    def overhear(self, text: str) -> int:
        if found := EPOCH.search(text):
            self.diary["epochs"].append([self.step, *(float(number) for number in found.groups())])
        return self.print(text)

    def after_module(self, module: nn.Module, _: Any, output: Any) -> None:
        if self.sample is None or not torch.is_grad_enabled():
            return
        if self.root is None or size(module) > size(self.root):
            self.root = module
            self.names = {id(weight): name for name, weight in module.named_parameters()}
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(output, Tensor) and not list(module.children()):
            self.sample["outputs"][id(module)] = float(output.detach().abs().mean())

    def around(self, real: Callable) -> Callable:
        def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            real(loss, *args, **kwargs)
            if self.sample is not None:
                self.sample["gradients"] = {
                    self.names[id(weight)]: gradient(weight.grad)
                    for weight in (self.root.parameters() if self.root else ())
                    if weight.grad is not None and id(weight) in self.names
                }
            self.loss = float(loss.detach())

        return backward

    def before_step(self, *_: Any) -> None:
        if self.sample is not None and self.root is not None:
            self.before = {id(weight): weight.detach().clone() for weight in self.root.parameters()}

    def after_step(self, *_: Any) -> None:
        self.diary["losses"].append(self.loss)
        if self.sample is not None and self.root is not None:
            embeddings = {id(m.weight) for m in self.root.modules() if isinstance(m, nn.Embedding)}
            self.sample["weights"] = {
                self.names[id(weight)]: weights(self.before[id(weight)], weight.detach())
                for weight in self.root.parameters()
                if id(weight) in self.before
            }
            self.sample["kernels"] = [
                self.names[id(weight)]
                for weight in self.root.parameters()
                if weight.dim() > 1 and id(weight) not in embeddings and "weight" in self.names[id(weight)]
            ]
            self.sample["outputs"] = list(self.sample["outputs"].values())
            self.diary["samples"].append(self.sample)
        self.close()
        self.step += 1
        if self.step % INTERVAL == 0:
            self.open()


def size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def activation(kind: str, x: Tensor) -> dict[str, Any]:
    """Of one call: shares of units, judged over the batch, and of entries."""
    found: dict[str, Any] = {"kind": kind, "large": float((x.abs() >= 5).float().mean())}
    if kind == "relu":
        active = (x > 0).float()
        found["dead"] = float((active.mean(0) < 0.01).float().mean())
        found["inactive"] = 1 - float(active.mean())
    else:
        low, high = LIMITS[kind]
        free = ((x >= low) & (x <= high)).float().mean(0)
        found["saturated"] = float((free < 0.01).float().mean())
    return found


def gradient(g: Tensor) -> dict[str, float]:
    g = g.detach().float().flatten()
    low, high = torch.quantile(g[:100_000], torch.tensor([0.05, 0.95])).tolist()
    return {
        "mean": float(g.abs().mean()),
        "norm": float(g.norm()),
        "zeros": float((g == 0).sum()),
        "count": g.numel(),
        "spread": high - low,
        "finite": float(g.isfinite().all()),
    }


def weights(before: Tensor, after: Tensor) -> dict[str, float]:
    before, after = before.float(), after.float()
    return {
        "variance": float(before.var()) if before.numel() > 1 else 0.0,
        "zeros": float((before == 0).float().mean()),
        "ratio": float((after - before).abs().mean() / (before.abs().mean() + 1e-9)),
        "moved": float((after != before).any()),
        "finite": float(after.isfinite().all()),
    }
