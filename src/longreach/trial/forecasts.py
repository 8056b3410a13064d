"""What each remedy would do to the reach of a script's own model on its own data: measured, before any training.

A script is run up to where it makes its optimizer. There the process forks, once for each course: the copy is treated,
goes on for one watched step, and ends; the original goes on to the next. So all remedies see the same weights, the same
random numbers and the same first batch, and the script is started once.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.distributed as dist

from longreach.remedies.outside import Told, Treatment
from longreach.remedies.remedy import Remedy

PATIENCE = 120.0  # seconds for one step


class Host(Told, Protocol):
    """The session of a script's process."""

    def become(self, name: str) -> None:
        """This process is a copy now, with a record of its own under this name."""


class Forecasts(Treatment):
    """In the place of one treatment: all of them, one after the other, each in a copy of the process.

    courses   remedies by the name of their course
    """

    def __init__(self, courses: Mapping[str, Sequence[Remedy]], host: Host):
        super().__init__((), host)
        self._courses, self._host, self._made = courses, host, False

    def before(self, params: Any) -> Any:
        """In each copy the treatment of its course; the original ends here."""
        if self._made:
            return super().before(params)
        self._made = True
        if torch.cuda.is_initialized() or (dist.is_available() and dist.is_initialized()):
            os._exit(0)  # neither outlives a fork: `Runs.forecast` starts the script anew for each course
        params = params if isinstance(params, (list, dict)) else list(params)  # a generator serves one copy only
        for name, remedies in self._courses.items():
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            copy = os.fork()
            if copy == 0:
                self._host.become(name)
                self._remedies = remedies
                return super().before(params)
            _wait(copy)
        os._exit(0)


def _wait(process: int) -> None:
    until = time.monotonic() + PATIENCE
    while os.waitpid(process, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
