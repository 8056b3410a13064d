"""What a layer does in the place of its own forward."""

from typing import Any

from torch import nn

from longreach.remedies.remedy import remember


class Instead:
    """Called as the layer's own forward is, which it has below it, or what another remedy has put there.

    `put_in` makes it the layer's; `undo` takes it off.
    """

    def __init__(self, layer: Any):
        self._layer, self._present = layer, vars(layer).get("forward")

    def put_in(self, name: str) -> None:
        """From now on the layer does this."""
        remember(self._layer, name, _put_back, self._present)
        self._layer.forward = self

    def plain(self, *given: Any, **options: Any) -> Any:
        """What would be called without."""
        if self._present is not None:
            return self._present(*given, **options)
        return type(self._layer).forward(self._layer, *given, **options)


def below(layer: nn.Module, kind: type[Instead]) -> Any:
    """What of this kind stands in the place of a layer's forward, under others or not; None if there is none."""
    present = vars(layer).get("forward")
    while isinstance(present, Instead) and not isinstance(present, kind):
        present = present._present
    return present if isinstance(present, kind) else None


def _put_back(layer: Any, present: Any) -> None:
    del vars(layer)["forward"]
    if present is not None:
        layer.forward = present
