"""Gradients in float16: how many of them are too small for it, and whether a larger loss would have saved them."""

from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from longreach.probes.probe import Look, Probe
from longreach.probes.repeatable import packing
from longreach.quantities.precision import HalfGradient

# Entries of one gradient that are looked at, evenly spaced; results of modules in one step.
MOST_ENTRIES, MOST_RESULTS = 4096, 256
# Below this, float16 has less than its full precision; below 2^-24 it has none.
SMALLEST = torch.finfo(torch.float16).smallest_normal
# The loss is tried with so much more, the first that leaves all gradients finite.
FACTORS = (2.0**16, 2.0**8)


@dataclass
class Result:
    """One float16 output of a module, and what came back to it.

    counts  entries looked at, and of them: not zero, below full precision, not finite; the largest finite one
    lost    see HalfGradient
    """

    module: nn.Module
    tensor: Tensor | None
    counts: list[Tensor] = field(default_factory=list)
    lost: float = float("nan")


class Precision(Probe):
    """The gradient at every float16 output of a module, counted as it comes back.

    Cost    a few passes over at most 4096 entries an output; where no loss scaling is in use, up to two more backward
            passes on the rare samples that may cost something
    Blind   to what happens between module outputs, and to parts that are computed again on the way back (checkpoints)
    """

    def __init__(self):
        self._results: list[Result] = []
        self._packed = False

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Ask for the gradient of what a module without parts has returned."""
        half = [found for found in results if found.dtype == torch.float16 and found.requires_grad]
        if not half or len(self._results) >= MOST_RESULTS or next(module.children(), None) is not None:
            return
        # saved tensors that are packed: unpacking them may compute the script's own forward once more
        self._packed |= packing()
        for tensor in half:
            result = Result(module, tensor)
            self._results.append(result)
            tensor.register_hook(lambda gradient, result=result: self._came(result, gradient))

    def before_backward(self, look: Look, root: Tensor, gradient: Tensor | None) -> None:
        """Try the same backward pass with a larger loss."""
        tried = {id(result): result.tensor for result in self._results if result.tensor is not None}
        if not tried or self._packed or look.scale > 1:
            return
        look.silence()
        with suppress(RuntimeError):  # what can be sent back in other ways only, or only once
            plain = self._sent_back(root, gradient, 1.0)
            tries = (self._sent_back(root, gradient, factor) for factor in FACTORS)
            more = next((found for found in tries if _all_finite(found)), plain)
            for result, now, then in zip(self._results, plain, more, strict=True):
                if now is not None and then is not None and bool(then.any()):
                    result.lost = float(1 - (now != 0)[then != 0].float().mean())
        for result in self._results:
            result.counts = []

    def after_backward(self, look: Look) -> None:
        """Read what came back."""
        came = [result for result in self._results if result.counts]
        counts = torch.stack([torch.stack(result.counts) for result in came]).tolist() if came else []
        by_module: dict[nn.Module, list[tuple[Result, list[float]]]] = {}
        for result, found in zip(came, counts, strict=True):
            by_module.setdefault(result.module, []).append((result, found))
        for module, several in by_module.items():
            entries, there, tiny, broken = (sum(found[place] for _, found in several) for place in range(4))
            look.store.add(
                HalfGradient(
                    place=look.names.of(module),
                    step=look.step,
                    lost=max(result.lost for result, _ in several),
                    tiny=tiny / there if there else 0.0,
                    infinite=broken / entries,
                    largest=max(found[4] for _, found in several),
                    scale=look.scale,
                )
            )
        self._results = []

    def closed(self, look: Look) -> None:
        """A backward pass that never came is over as well."""
        self._results, self._packed = [], False

    def _sent_back(self, root: Tensor, gradient: Tensor | None, factor: float) -> list[Tensor | None]:
        tensors = [result.tensor for result in self._results if result.tensor is not None]
        start = torch.full_like(root, factor) if gradient is None else gradient * factor
        found = torch.autograd.grad(root, tensors, start, retain_graph=True, allow_unused=True)
        return [None if part is None else _some(part) for part in found]

    def _came(self, result: Result, gradient: Tensor) -> None:
        some = _some(gradient).float()
        size, finite = some.abs(), some.isfinite()
        there = (size > 0) & finite
        counts = [torch.tensor(float(len(some)), device=some.device), there.sum(), (there & (size < SMALLEST)).sum()]
        largest = torch.where(finite, size, 0.0).max() if len(some) else size.sum()
        result.counts = [part.float() for part in (*counts, (~finite).sum(), largest)]


def _some(gradient: Tensor) -> Tensor:
    flat = gradient.detach().reshape(-1)
    return flat[:: -(-len(flat) // MOST_ENTRIES) or 1]


def _all_finite(gradients: list[Tensor | None]) -> bool:
    return all(part is None or bool(part.isfinite().all()) for part in gradients)
