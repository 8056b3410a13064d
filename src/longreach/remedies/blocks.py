"""One layer of a deep net, as seen from outside: a linear map, and the activation behind it.

Modules are taken in the order in which they were registered, which is that in which nearly all models call them. An
activation that is called as a function (F.relu) is not seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Plain = nn.Linear | Convolution

NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LocalResponseNorm,
)
ACTIVATIONS = (
    *(nn.Tanh, nn.Sigmoid, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU),
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.LogSigmoid),
)
PASSING = (*NORMS, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
# called in an order of their own, and with shortcuts of their own
CLOSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass(frozen=True)
class Block:
    """A linear map, what stands between (norms, dropout), and the activation; one activation may belong to many."""

    layer: Plain
    between: tuple[nn.Module, ...]
    activation: nn.Module

    @property
    def normed(self) -> bool:
        """Whether a norm stands between, or was put into the linear map by layer-norm or batch-norm."""
        return any(isinstance(part, NORMS) for part in (*self.between, *self.layer.children()))

    def compute(self, x: Tensor) -> Tensor:
        """What the block makes of x, norms that were put into the linear map included; no hook hears of it."""
        for part in (self.layer, *self.layer.children(), *self.between, self.activation):
            x = part.forward(x)
        return x

    @property
    def keeps_shape(self) -> bool:
        """Whether what comes out has the shape of what goes in."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return layer.in_features == layer.out_features
        same = layer.padding == "same" or all(
            2 * int(pad) == dilation * (size - 1)
            for pad, dilation, size in zip(layer.padding, layer.dilation, layer.kernel_size, strict=True)
        )
        return same and layer.in_channels == layer.out_channels and set(layer.stride) == {1}


def blocks(module: nn.Module) -> list[Block]:
    """All blocks within a module, from the first to the last; each linear map once."""
    parts, found = list(_parts(module)), dict[int, Block]()
    for place, part in enumerate(parts):
        between = []
        for later in parts[place + 1 :]:
            if isinstance(part, Plain) and isinstance(later, ACTIVATIONS):
                found.setdefault(id(part), Block(part, tuple(between), later))
            if not isinstance(later, PASSING):
                break
            between.append(later)
    return list(found.values())


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """What is called, as often as it is registered."""
    inner = [part for part in module._modules.values() if part is not None]
    if isinstance(module, (*CLOSED, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)) or not inner:
        yield module
    else:
        for part in inner:
            yield from _parts(part)
