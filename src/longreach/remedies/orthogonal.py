"""Recurrence that stays orthogonal while it learns (Lezcano-Casado & Martínez-Rubio 2019, arXiv 1901.08428)."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from longreach.remedies.anatomy import become_ours, check_parameters, recurrent_layers
from longreach.remedies.remedy import Remedy, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)


@wholly
def orthogonal(module: M) -> M:
    """Keep every W_hh of layers without gates orthogonal throughout training: it neither shrinks nor stretches.

    W_hh = B exp(A - Aᵀ), A learned. B is the orthogonal matrix closest to the W_hh that was there, its polar factor.

    Promises   W_hhᵀ W_hh = I after every step of the optimizer; in a linear network gain(k) = 1 for every k
    Changes    the function, once, unless W_hh was orthogonal already; the parameter weight_hh_l0 becomes
               parametrizations.weight_hh_l0.original, so make the optimizer after it. torch's RNN becomes ours
    Twice      is the same as once
    Undo       the weights from before it, whatever was learned since
    Price      a matrix exponential, of order H³, once in a forward pass: not once a step
    Is not     a cure for saturation: W_hh is only one factor of diag(f') W_hh. Such a layer is saved by its state_dict,
               not pickled
    Raises     NotApplicable where there is no layer without gates: what gates carry is not a matter of W_hh alone; or
               where W_hh is computed from other weights already
    """
    for layer in recurrent_layers(module, "orthogonal", "rnn"):
        if _is_orthogonal(layer):
            continue
        check_parameters(layer, "orthogonal")
        remember_weights(layer, "orthogonal")
        become_ours(layer, "orthogonal")
        for name in [name for name in layer._parameters if name.startswith("weight_hh")]:
            with torch.no_grad():
                getattr(layer, name).copy_(nearest_orthogonal(getattr(layer, name)))
            parametrizations.orthogonal(layer, name, orthogonal_map="matrix_exp")
        layer.train(layer.training)
    return module


def _is_orthogonal(layer: Any) -> bool:
    """Also where a copy does not know it."""
    if not parametrize.is_parametrized(layer):
        return False
    chains = [chain for name, chain in layer.parametrizations.items() if name.startswith("weight_hh")]
    return bool(chains) and all(isinstance(chain[0], parametrizations._Orthogonal) for chain in chains)


def nearest_orthogonal(square: Tensor) -> Tensor:
    """The polar factor U Vᵀ of U Σ Vᵀ (Higham 1986, SIAM J. Sci. Stat. Comput. 7:1160-1174)."""
    u, _, v = torch.linalg.svd(square.double())
    return (u @ v).to(square)


REMEDY = Remedy(
    "orthogonal",
    orthogonal,
    "module",
    preserves=False,
    answers=("vanishing-in-time", "exploding-in-time"),
    cost="a matrix exponential of order H³ a forward pass",
    source="Lezcano-Casado & Martínez-Rubio 2019, arXiv 1901.08428",
)
