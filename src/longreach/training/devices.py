"""What a network is trained on: one processor, several, or the workers that torchrun has started."""

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longreach import ranks
from longreach.errors import ArgumentError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = ("32-true", "bf16-mixed")
STRATEGIES = ("auto", "ddp")


@dataclass(frozen=True)
class Devices:
    """As in lightning.fabric.Fabric; kept in the run folder, so that a run goes on as it began.

    accelerator  cpu, cuda, mps, or auto
    devices      how many, or auto: all; under torchrun each worker has one
    precision    one of PRECISIONS
    strategy     ddp: every process has the whole network and its part of each batch; auto: that, if there are several
    """

    accelerator: str = "auto"
    devices: str = "1"
    precision: str = "32-true"
    strategy: str = "auto"

    def __post_init__(self) -> None:
        if self.devices != "auto" and not (self.devices.isdecimal() and int(self.devices) > 0):
            raise ArgumentError(f"--devices: expected a number above 0, or auto, got {self.devices!r}")
        if self.strategy not in STRATEGIES:
            raise ArgumentError(
                f"--strategy: expected {' or '.join(STRATEGIES)}, got {self.strategy!r}; the networks are small enough "
                "for every device to hold one whole: use ddp"
            )
        if self.precision not in PRECISIONS:
            raise ArgumentError(
                f"--precision: expected {', '.join(PRECISIONS)}, got {self.precision!r}; bf16-mixed needs no scale "
                "of the loss that has to be searched for on the way, as 16 bits of another kind do"
            )

    def launch(self) -> "Fabric":
        """The processes, ready to train; from here on they all run.

        Raises  ArgumentError where this machine has no such devices
        """
        from lightning_fabric import Fabric

        own: dict[str, Any] = {"accelerator": self.accelerator, "precision": self.precision, "strategy": self.strategy}
        if is_elastic():
            each = int(os.environ["LOCAL_WORLD_SIZE"])
            own |= {"devices": each, "num_nodes": ranks.world() // each, "strategy": "ddp"}
        else:
            own |= {"devices": self.devices if self.devices == "auto" else int(self.devices)}
        try:
            fabric = Fabric(**own)
        except (ValueError, TypeError, RuntimeError, ImportError) as error:
            raise ArgumentError(
                f"--accelerator {self.accelerator}, --devices {self.devices}: expected devices of this machine, got: "
                f"{str(error).splitlines()[0]}"
            ) from None
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # it would name every process
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        if is_elastic() and is_restarted():
            _meet_again(fabric)
        fabric.launch()
        return fabric


def _meet_again(fabric: "Fabric") -> None:
    """Connect the processes under keys of this attempt: torchrun's store still holds addresses of those that died."""
    from torch import cuda
    from torch.distributed import PrefixStore, TCPStore, init_process_group  # type: ignore[attr-defined]

    world, is_cuda = ranks.world(), fabric.device.type == "cuda"
    if is_cuda:
        cuda.set_device(fabric.device)
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(*place, world, is_master=not hosted and ranks.rank() == 0)
    store = PrefixStore(f"restart-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    init_process_group("nccl" if is_cuda else "gloo", store=store, rank=ranks.rank(), world_size=world)


def is_elastic() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "LOCAL_WORLD_SIZE" in os.environ


def is_restarted() -> bool:
    """Whether torchrun has started it again after a worker has died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def may_be_restarted() -> bool:
    """Whether torchrun would start it again."""
    return is_elastic() and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
