"""The swap to a linear recurrence: the LRU (Orvieto et al. 2023, arXiv 2303.06349) between two activations."""

from typing import Any, TypeVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from longreach.errors import ArgumentError, NotApplicable
from longreach.nn import cells
from longreach.nn.weights import uniform
from longreach.remedies.apart import apart
from longreach.remedies.remedy import Remedy, wholly
from longreach.remedies.substitute import like, places, put_in_place

M = TypeVar("M", bound=nn.Module)


@wholly
def linear_recurrent(module: M, *, r_min: float = 0.9, r_max: float = 0.999) -> M:
    """Put a linear recurrence in the place of every RNN, GRU and LSTM: uₜ = relu(W xₜ + b), hₜ = λ hₜ₋₁ + γ B uₜ, and
    yₜ = tanh(Re(C hₜ) + c) is shown. λ is complex, one number for each unit, |λ| within [r_min, r_max] at the start.

    Promises   ∂hₜ/∂hₜ₋₁ = diag(λ), whatever comes in, and |λ| < 1 throughout training: nothing blows up. At the start
               half of a gradient is left after 7 steps in the fastest unit and 700 in the slowest
    Changes    the function and the weights, which are drawn anew; make the optimizer after it
    Keeps      how the layer is called and what it gives, numbers within ±1; λ's h follows the y that the script sees
    Twice      is the same as once
    Undo       the layer from before, with the weights that it had then
    Price      on one core, for 32 sequences and 64 units, 1.6 times the time of torch's RNN, half of its GRU's, about
               its LSTM's: all steps at once, no product with W_hh, but complex numbers
    Is not     able to let what it remembers decide what it takes up, as gates do: that is left to the next layer. A
               state that the script chooses, changes or learns cannot be followed
    Raises     NotApplicable where there is no recurrent layer; in a later call, for such a state; ArgumentError unless
               0 <= r_min < r_max <= 1
    """
    if not 0 <= r_min < r_max <= 1:
        raise ArgumentError(f"r_min, r_max: expected 0 <= r_min < r_max <= 1, got {r_min} and {r_max}")
    for layer in places(module, "linear-recurrent"):
        dtype = next(layer.parameters()).dtype
        if dtype not in (torch.float32, torch.float64):
            raise NotApplicable(
                f"linear-recurrent: expected weights of float32 or float64, got {dtype}, of which no complex numbers "
                "are made; use torch.autocast"
            )
        with apart("linear-recurrent"):
            inner = like(layer, BetweenActivations, r_min=r_min, r_max=r_max)
        put_in_place(layer, inner, "linear-recurrent")
    return module


class BetweenActivations(cells.LRU):
    """An LRU of relu(W xₜ + b), which shows tanh of its output: without them all would be linear in x.

    Of the angles of λ, one half starts over the whole circle, which tells moments apart (copying), the other within
    π/10 of 0, which sums up (adding): each alone learns one of the two tasks several times slower.
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(hidden_size, hidden_size, **options)
        place: Any = {"device": self.nu.device, "dtype": self.nu.dtype}
        self.weight = uniform(hidden_size, input_size, within=input_size**-0.5, **place)
        self.bias = nn.Parameter(torch.zeros(hidden_size, **place))
        self.bias_shown = nn.Parameter(torch.zeros(hidden_size, **place))
        with torch.no_grad():
            self.theta[: hidden_size // 2].exp_().div_(20).log_()  # from within 2π to within π/10

    def project(self, x: Float[Tensor, "row input"]) -> Complex[Tensor, "row hidden"]:
        """γ B relu(W xₜ + b)."""
        return super().project(torch.relu(linear(x, self.weight, self.bias)))

    def output(self, state: Complex[Tensor, "row hidden"]) -> Float[Tensor, "row hidden"]:
        """tanh(Re(C hₜ) + c)."""
        return torch.tanh(super().output(state) + self.bias_shown)


REMEDY = Remedy(
    "linear-recurrent",
    linear_recurrent,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "exploding-in-time"),
    cost="1.6 times the time of torch's RNN, half of its GRU's, about its LSTM's",
    source="Orvieto et al. 2023, arXiv 2303.06349",
)
