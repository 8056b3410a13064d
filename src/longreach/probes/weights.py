"""Size, rank and sameness of weight matrices, read from a few hundred of their rows and columns."""

import torch
from torch import Tensor, nn

from longreach.probes.probe import Look, Probe
from longreach.quantities.weights import WeightSample

# Evenly spaced: matrices of a model; rows and columns of a matrix.
MOST_MATRICES, MOST_ROWS, MOST_COLUMNS = 128, 64, 256


class Weights(Probe):
    """All matrices that a gradient has come to. Embeddings are left out: rows that nobody looks up stay as they are.

    Cost  one product of 64 x 256 numbers with themselves for each of at most 128 matrices
    """

    def after_backward(self, look: Look) -> None:
        """The gradients are there, the weights still as they were."""
        lookups = {look.names.of(module) for module in look.trace.lookups}
        matrices = {
            f"{module}.{own}".lstrip("."): parameter
            for parameter, (module, own) in look.names.owners().items()
            if module not in lookups and _is_trained_matrix(parameter)
        }
        for name in list(matrices)[:: max(1, -(-len(matrices) // MOST_MATRICES))]:
            look.store.add(measure(matrices[name], name, look.step))


def measure(weight: Tensor, name: str, step: int) -> WeightSample:
    """One matrix, as far as it is looked at; of more than two dimensions, the first are its rows."""
    matrix = weight.detach().flatten(1)
    matrix = matrix[:: -(-matrix.shape[0] // MOST_ROWS), :: -(-matrix.shape[1] // MOST_COLUMNS)].double()
    rows, columns = matrix.shape
    largest = matrix.abs().amax()
    unit = matrix / torch.where(largest > 0, largest, 1.0)
    energy = unit.square().sum()
    shared_by_rows = rows * unit.mean(dim=0).square().sum() if rows > 1 else energy * 0
    shared_by_columns = columns * unit.mean(dim=1).square().sum() if columns > 1 else energy * 0
    spread = (unit @ unit.T).square().sum()
    found = [largest * (energy / unit.numel()).sqrt(), energy**2 / spread]
    found.append(torch.maximum(shared_by_rows, shared_by_columns) / energy)
    # all at once, because each look at a number waits for the device
    size, rank, clones = torch.stack(found).nan_to_num(0.0, torch.inf).tolist()
    return WeightSample(name, step, (rows, columns), size, rank, clones)


def _is_trained_matrix(parameter: Tensor) -> bool:
    whole = type(parameter) in (nn.Parameter, Tensor) and parameter.layout is torch.strided and not parameter.is_meta
    return (
        whole
        and parameter.is_floating_point()
        and parameter.dim() > 1
        and parameter.numel() > 1
        and parameter.requires_grad
        and parameter.grad is not None
    )
