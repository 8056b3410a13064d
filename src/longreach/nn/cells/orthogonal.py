"""Recurrence that stays orthogonal while it learns (Lezcano-Casado & Martínez-Rubio 2019, arXiv 1901.08428)."""

from typing import Any

from torch import Tensor
from torch.nn.utils import parametrizations

from longreach.nn.cells.elman import Elman


class Orthogonal(Elman):
    """Elman's network with W_hhᵀ W_hh = I after every step of the optimiser.

    hₜ = f(W_hh hₜ₋₁ + b_hh + W_ih xₜ + b_ih),   W_hh = Q exp(A - Aᵀ), Q fixed and A learned

    Jacobian   diag(f') W_hh: neither shrinks nor stretches a gradient but by f'
    Carries    everything with activation="identity"; else what f' lets through: W_hh is only one factor
    Equals     Elman with torch.nn.utils.parametrizations.orthogonal on its weight_hh
    Is not     unitary (Arjovsky, Shah & Bengio 2016, arXiv 1511.06464): real, and of full dimension
    Cost       Elman's, by the same kernel, and the map, of order H³, once in a forward pass: not once a step

    orthogonal_map   "matrix_exp", "cayley" or "householder", as torch has them
    """

    def __init__(self, input_size: int, hidden_size: int, *, orthogonal_map: str = "matrix_exp", **options: Any):
        options = {"start": "orthogonal", **options}
        super().__init__(input_size, hidden_size, **options)
        self.arguments = (input_size, hidden_size, {"orthogonal_map": orthogonal_map, **options})
        parametrizations.orthogonal(self, "weight_hh", orthogonal_map=orthogonal_map)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # torch makes a class of its own for each parametrized module, which pickle cannot find
        return _restored, (*self.arguments, self.state_dict(), self.training)


def _restored(
    input_size: int, hidden_size: int, options: dict[str, Any], state: dict[str, Tensor], training: bool
) -> Orthogonal:
    like = state["weight_ih"]
    cell = Orthogonal(input_size, hidden_size, **{**options, "device": like.device, "dtype": like.dtype})
    cell.load_state_dict(state)
    return cell.train(training)
