"""In which units the data come: what modules with parameters get from outside of the model."""

import torch
from torch import Tensor, nn

from longreach.probes.probe import Look, Probe
from longreach.quantities.inputs import InputSample

# Evenly spaced: rows of a call, features. Of a module called in a loop: the first calls, then each at twice the count.
MOST_ROWS, MOST_FEATURES, FIRST_CALLS = 1024, 256, 8
# Fewer rows tell no feature's deviation; what changes by less than this share of its size is rounding.
FEWEST_ROWS, ROUNDING = 8, 1e-6
NORMALISING = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Inputs(Probe):
    """Offsets and scales of features, as the first module with parameters of its own gets them.

    From outside comes what is not the result of anything that is trained. Preprocessing in a script or in a `forward`
    is done by then. A normalisation layer that comes first makes units indifferent, and is left out.

    Cost  one copy of at most 1024 x 256 numbers for each call of such a module
    """

    def __init__(self):
        self._kept: dict[nn.Module, list[Tensor]] = {}
        self._calls: dict[nn.Module, int] = {}

    def opened(self, look: Look) -> None:
        """A new step."""
        self._kept, self._calls = {}, {}

    def saw(self, look: Look, module: nn.Module, arguments: list[Tensor], results: list[Tensor]) -> None:
        """A module's call has returned."""
        if not arguments or not _reads_data(module, arguments[0], results):
            return
        calls = self._calls[module] = self._calls.get(module, 0) + 1
        if calls <= FIRST_CALLS or calls & (calls - 1) == 0:
            self._kept.setdefault(module, []).append(_rows(module, arguments[0].detach()))

    def closed(self, look: Look) -> None:
        """All calls of the step have been seen."""
        kept, self._kept, self._calls = self._kept, {}, {}
        for module, parts in kept.items():
            same = [part for part in parts if part.shape[1] == parts[0].shape[1]]
            sample = measure(torch.cat(same), look.names.of(module), look.step)
            if sample is not None:
                look.store.add(sample)


def measure(values: Tensor, name: str, step: int) -> InputSample | None:
    """Rows of features; None where too few rows came, nothing changed, or something is not finite."""
    values = values.double()
    low, high = values.aminmax(dim=0)
    changed = high - low > ROUNDING * torch.maximum(low.abs(), high.abs())
    if len(values) < FEWEST_ROWS or not bool(values.isfinite().all()) or not bool(changed.any()):
        return None
    deviation = torch.maximum(values.std(dim=0), (high - low) / 8)[changed]
    mean = values.mean(dim=0)[changed]
    furthest = (mean.abs() / deviation).argmax()
    return InputSample(
        name,
        step,
        features=len(mean),
        scale=values.square().mean().sqrt().item(),
        mean=mean[furthest].item(),
        deviation=deviation[furthest].item(),
        largest=deviation.max().item(),
        smaller=deviation.quantile(0.25, interpolation="lower").item(),
    )


def _reads_data(module: nn.Module, given: Tensor, results: list[Tensor]) -> bool:
    own = next(iter(module._parameters.values()), None) is not None
    data = given.is_floating_point() and not given.requires_grad and given.dim() > 1 and given.numel() > 1
    trained = any(result.requires_grad for result in results)
    return own and data and trained and not isinstance(module, NORMALISING) and not given.is_meta


def _rows(module: nn.Module, values: Tensor) -> Tensor:
    """Some of the values as (row, feature): the features lie along the last axis, before a convolution the second."""
    images = any(own is not None and own.dim() > 2 for own in module._parameters.values()) and values.dim() > 2
    flat = values.movedim(1 if images else -1, -1)
    if flat.dim() > 2:
        flat = flat[:: max(1, flat.numel() // (8 * MOST_ROWS * MOST_FEATURES))].flatten(0, -2)
    return flat[:: -(-flat.shape[0] // MOST_ROWS), :: -(-flat.shape[1] // MOST_FEATURES)].clone()
