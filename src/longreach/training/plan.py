"""What is asked of a training run, and what became of it: settings, and the plan in which nothing is open."""

from dataclasses import dataclass, field, replace
from typing import Self

from longreach.errors import ArgumentError
from longreach.training.devices import Devices
from longreach.training.network import Architecture, choices
from longreach.training.problem import Sizes

COUNTS = ("hidden", "layers", "lag", "batch", "window", "hop", "steps", "patience")


@dataclass(frozen=True)
class Settings:
    """What the user may say; what is None is chosen by the data (`memory.prescribe`).

    cell ... dropout  of the network, as in `Architecture`; lag: steps that the cell starts to remember
    batch ... hop     as in `Sizes`
    lr                largest step size
    steps             updates at most
    patience          judgements without a better validation loss after which training ends
    clip              longest gradient; None: told by the run's own norms; 0: no limit
    remedies          names of longreach.remedies to train with
    deep              look for what two inputs tell only together, too
    checkpoint_every   seconds between two checkpoints
    accelerator, devices, precision, strategy   as in `Devices`
    """

    cell: str | None = None
    hidden: int | None = None
    layers: int | None = None
    lag: int | None = None
    dropout: float | None = None
    batch: int | None = None
    window: int | None = None
    hop: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    steps: int | None = None
    patience: int | None = None
    clip: float | None = None
    remedies: tuple[str, ...] = ()
    seed: int = 0
    deep: bool = True
    checkpoint_every: float = 30.0
    accelerator: str = "auto"
    devices: str = "1"
    precision: str = "32-true"
    strategy: str = "auto"

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in COUNTS}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ArgumentError(f"--{name}: expected a whole number above 0, got {count}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ArgumentError(f"--dropout: expected a share from 0 to below 1, got {self.dropout}")
        if self.lr is not None and not 0 < self.lr < 10:
            raise ArgumentError(f"--lr: expected a step size between 0 and 10, got {self.lr}; 0.001 is usual")
        if not self.checkpoint_every >= 0:
            raise ArgumentError(
                f"--checkpoint-every: expected seconds, 0 or above, got {self.checkpoint_every}; 0: after every update"
            )
        if self.clip is not None and not self.clip >= 0:
            raise ArgumentError(f"--clip: expected a length above 0, or 0 for no limit, got {self.clip}")
        if self.hop is not None and self.window is not None and self.hop > self.window:
            raise ArgumentError(
                f"--hop: expected at most the window of {self.window} steps, got {self.hop}; steps between two windows "
                "would never be learned from"
            )
        if self.cell is not None:
            choices(self.cell)
        if self.remedies:
            from longreach.remedies import named

            for name in self.remedies:
                named(name)
                if name in ("clip-auto", "guard"):
                    raise ArgumentError(f"--remedies {name}: training does that by itself; leave it out, see --clip")
        self.machine  # noqa: B018  (raises)

    @property
    def machine(self) -> Devices:
        """What is trained on."""
        return Devices(self.accelerator, self.devices, self.precision, self.strategy)


@dataclass(frozen=True)
class Plan:
    """A training run in which nothing is left open; kept in the run folder.

    updates      in all; the step size falls to 0 towards them
    judge_every  updates between two looks at the validation data
    checkpoint_every  seconds
    reasons      why the network is what it is, in sentences for the user
    reach, need  of the network at its start and of the data; steps, None: none found, or not measured
    """

    architecture: Architecture
    sizes: Sizes
    lr: float
    weight_decay: float
    updates: int
    judge_every: int
    patience: int
    clip: float | None
    remedies: tuple[str, ...]
    checkpoint_every: float = 30.0
    machine: Devices = field(default_factory=Devices)
    reasons: tuple[str, ...] = field(default=())
    reach: int | None = None
    need: int | None = None

    def on(self, rank: int, world: int) -> Self:
        """The share of one process of several."""
        return replace(self, sizes=replace(self.sizes, rank=rank, world=world))

    def pace(self, step: int) -> float:
        """Share of `lr` at an update: all of it, then down to 0 over the last third.

        Without a warm-up: after one of a hundred updates an LSTM learned Nottingham's tunes less well, to the end.
        """
        rest = (self.updates - step) / max(self.updates / 3, 1)
        return min(1.0, max(rest, 0.0))
