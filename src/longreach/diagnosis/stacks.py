"""The unit that most rules judge: all layers of one recurrent module, or a whole model, in one direction."""

import math
from dataclasses import dataclass

from longreach.record import DeepNeed, Layer, Need, Reach, Record

USEFUL = 0.25  # share of the error's variance: a test that would miss even a quarter of it has shown nothing


@dataclass(frozen=True)
class Stack:
    """The layers of one module and direction, the lowest first. Need belongs to all of them together."""

    module: str
    direction: str
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """How findings call it."""
        return named(self.module) if self.direction == "forward" else f"{named(self.module)} ({self.direction})"

    @property
    def whole(self) -> bool:
        """Whether it is a whole model, from its output back to its embedded input."""
        return any(layer.whole for layer in self.layers)

    @property
    def need(self) -> Need | None:
        """What the error still asks for, of one input or of two together; None if it was not tested."""
        return next((need for layer in self.layers if (need := asked(layer))), None)

    @property
    def deep(self) -> DeepNeed | None:
        """What it asks for of two inputs together; None if that was not tested."""
        return next((layer.deep for layer in self.layers if layer.deep), None)

    @property
    def partner(self) -> int | None:
        """The lag of the nearer input, where the furthest need is one of two inputs together."""
        return self.deep.partner if self.deep and self.deep.need is self.need else None

    @property
    def need_start(self) -> Need | None:
        """What the data offered at the start of the run; None if it was not tested."""
        return next((layer.need_start for layer in self.layers if layer.need_start), None)

    @property
    def carrier(self) -> Layer | None:
        """The layer of the largest reach: an error that travels down the stack may go back in time in any of them.

        None if one of the layers could not be measured: it might be the one that reaches furthest.
        """
        if not all(measured(layer.reach) for layer in self.layers):
            return None
        return max(self.layers, key=lambda layer: layer.reach.lag if layer.reach else -1)


def stacks(record: Record) -> tuple[Stack, ...]:
    """The layers of a record, grouped by module and direction, in the order of the record."""
    groups: dict[tuple[str, str], list[Layer]] = {}
    for layer in record.layers:
        groups.setdefault((layer.module, layer.direction), []).append(layer)
    return tuple(
        Stack(module, direction, tuple(sorted(layers, key=lambda layer: layer.index)))
        for (module, direction), layers in groups.items()
    )


def asked(layer: Layer) -> Need | None:
    """Of the needs of one input and of two together the one that goes further back; the former where there is none."""
    need, deep = layer.need, layer.deep.need if layer.deep else None
    if deep is None or deep.lag is None:
        return need
    return deep if need is None or need.lag is None or need.lag < deep.lag else need


def named(module: str) -> str:
    """A module's name in sentences; a model that is itself the recurrent layer has the empty name."""
    return module or "model"


def measured(reach: Reach | None) -> bool:
    """Whether a reach can be judged: a curve with a NaN in it ends nowhere."""
    return reach is not None and not any(math.isnan(value) for value in reach.log_gain)


def useful(need: Need | None) -> bool:
    """Whether a need test had enough power for its silence to mean something."""
    return need is not None and need.detectable <= USEFUL
