"""Residual connections (He, Zhang, Ren & Sun 2016, arXiv 1512.03385; in stacks of recurrent layers Wu et al. 2016,
arXiv 1609.08144, section 3.1)."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from longreach.errors import NotApplicable
from longreach.remedies.blocks import Block, Plain, blocks
from longreach.remedies.kept import cell_like, torch_layers, with_weights
from longreach.remedies.remedy import Remedy, applied, remember_hooks, wholly
from longreach.remedies.substitute import put_in_place

M = TypeVar("M", bound=nn.Module)


@wholly
def residual(module: M) -> M:
    """Add the input of each block to its output, x + f(x), wherever both have the same shape.

    A block is a linear map or a convolution with its activation module behind it, norms and dropout between; or, from
    the second one on, a layer of a recurrent stack.

    Promises   the Jacobian of each becomes I + J: a gradient comes through any number of blocks, however small J is
    Changes    the function; no weight: a recurrent stack keeps its own, under the names cells.0.weight_ih and so on, so
               make the optimizer after it
    Twice      is the same as once
    Undo       the sums leave; a recurrent stack is back as it was before, with the weights from before
    Price      one addition a block; a recurrent stack runs layer by layer
    Is not     for sigmoids in great depth without a norm: sums of what is always positive grow
    Raises     NotApplicable where no block keeps its shape; in the first call, where the model has such sums already
    """
    if "residual" in applied(module):
        return module
    layers = [layer for layer in torch_layers(module) if isinstance(layer, nn.RNNBase) and layer.num_layers > 1]
    fitting = [block for block in blocks(module) if block.keeps_shape]
    if not layers and not fitting:
        raise NotApplicable(
            "residual: expected a linear map with as many outputs as inputs and an activation module behind it, or two "
            "recurrent layers in one, got none; make hidden layers equally wide, and F.relu an nn.ReLU"
        )
    for layer in layers:
        put_in_place(layer, with_weights(layer, cell_like(layer), residual=True), "residual")
    if fitting:
        remember_hooks(module, "residual", *_Shortcuts(fitting).put_in(module))
    return module


class _Shortcuts:
    """What the hooks of a model share: of the block that is being computed, its activation and its input."""

    def __init__(self, fitting: list[Block]):
        self._ends = {block.layer: block.activation for block in fitting}
        self._called: set[nn.Module] = set()
        self._open: tuple[nn.Module, Tensor] | None = None
        self._look_at: tuple[Tensor, Tensor] | None = None  # x and y of a block that was called for the first time

    def put_in(self, module: nn.Module) -> list[Any]:
        begins = [part.register_forward_pre_hook(self._begin) for part in module.modules() if isinstance(part, Plain)]
        ends = [part.register_forward_hook(self._end) for part in dict.fromkeys(self._ends.values())]
        return [*begins, *ends, module.register_forward_hook(self._finish)]

    def _finish(self, *_: Any) -> None:
        """The model has come to its end: no graph is held any longer."""
        self._open = self._look_at = None

    def _begin(self, layer: Any, given: tuple[Any, ...]) -> None:
        """Any linear map is called: what was open, and did not come to its activation, was no block."""
        self._open = None
        if not given or not isinstance(given[0], Tensor):
            return
        if self._look_at is not None:
            self._look_for_own(*self._look_at, given[0])
            self._look_at = None
        if layer in self._ends:
            self._open = self._ends[layer], given[0]

    def _end(self, activation: nn.Module, _: Any, output: Tensor) -> Tensor | None:
        opened, self._open = self._open, None
        if opened is None or opened[0] is not activation or opened[1].shape != output.shape:
            return None
        y = opened[1] + output
        if activation not in self._called:
            self._called.add(activation)
            self._look_at = opened[1].detach(), y.detach()
        return y

    def _look_for_own(self, x: Tensor, y: Tensor, following: Tensor) -> None:
        """Does the script add the input of a block to its output, too?"""
        if following.shape == y.shape and torch.equal(following, x + y) and bool(x.any()):
            raise NotApplicable(
                "residual: expected a model without residual connections, got one that adds a block's input to its "
                "output already; leave it as it is"
            )


REMEDY = Remedy(
    "residual",
    residual,
    "module",
    preserves=False,
    answers=("vanishing-in-depth",),
    cost="one addition a block",
    source="He, Zhang, Ren & Sun 2016, arXiv 1512.03385; Wu et al. 2016, arXiv 1609.08144",
)
