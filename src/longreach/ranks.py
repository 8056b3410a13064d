"""One training in several processes, started by `torchrun` or in another way: who this process is. No torch.

All ranks watch at the same training steps, and the first of them measures, writes and judges. The others join in where
no rank can do it alone (the weights of a layer may be spread over all of them), and are silent.
"""

import os
import sys
from pathlib import Path
from typing import Any

# What starts the processes of one training: `-m` modules, and the programs that call them.
LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch", "torchrun")


def rank() -> int:
    """The number of this process within its training; 0 for the first, and where there is but one."""
    group = _group()
    return group.get_rank() if group else _number("RANK", 0)


def world() -> int:
    """How many processes train together."""
    group = _group()
    return group.get_world_size() if group else max(_number("WORLD_SIZE", 1), 1)


def starts_ranks(program: str) -> bool:
    """Whether a script or module is a launcher, whose workers are what there is to be watched."""
    return program in LAUNCHERS or Path(program).name in LAUNCHERS


def _group() -> Any:
    """torch.distributed, where the processes have found each other: not everything that starts them sets RANK."""
    group = sys.modules.get("torch.distributed")
    return group if group and group.is_available() and group.is_initialized() else None


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
