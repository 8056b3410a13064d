"""longreach: how far back a network's gradient reaches, and how far back its data needs it to.

    watch      attach to a training loop                 diagnose  a record -> its verdict
    measure    one batch, forward and backward -> record
    Watch, Record, Diagnosis, Finding                    what these give
    LongreachError                                       the root of all errors

Nothing heavy is imported before it is used: reading a run folder needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longreach.diagnosis import Diagnosis, Finding, diagnose
    from longreach.errors import LongreachError
    from longreach.measurement import measure
    from longreach.record import Record
    from longreach.watching import Watch, watch

__version__ = "0.1.0"
__all__ = ["Diagnosis", "Finding", "LongreachError", "Record", "Watch", "diagnose", "measure", "watch"]

_HOMES = {
    "Diagnosis": "longreach.diagnosis",
    "Finding": "longreach.diagnosis",
    "LongreachError": "longreach.errors",
    "Record": "longreach.record",
    "Watch": "longreach.watching",
    "diagnose": "longreach.diagnosis",
    "measure": "longreach.measurement",
    "watch": "longreach.watching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longreach' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
