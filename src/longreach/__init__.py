"""longreach: how far back a network's gradient reaches, and how far back its data needs it to.

    watch      attach to a training loop                 diagnose  a record -> its verdict
    measure    one batch, forward and backward -> record
    nn         RNN, GRU and LSTM in the place of torch's, and every other cell
    accelerate a model's recurrent layers become ours    observe   the norms of all states' gradients
    lyapunov, singular_values, carousel                  the spectrum of a recurrent layer
    prove      runs with remedies and without -> what is proven
    train      data of your own -> a trained network; longreach.training has what it is asked
    Watch, Record, Diagnosis, Finding, Proof             what these give
    LongreachError                                       the root of all errors

Nothing heavy is imported before it is used: reading a run folder needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longreach import nn
    from longreach.diagnosis import Diagnosis, Finding, diagnose
    from longreach.errors import LongreachError
    from longreach.measurement import measure
    from longreach.nn import accelerate, observe
    from longreach.record import Record
    from longreach.spectrum.carousel import carousel
    from longreach.spectrum.lyapunov import lyapunov
    from longreach.spectrum.singular import singular_values
    from longreach.training.train import train
    from longreach.trial.proof import Proof
    from longreach.trial.prove import prove
    from longreach.watching import Watch, watch

__version__ = "0.1.0"
__all__ = [
    "Diagnosis",
    "Finding",
    "LongreachError",
    "Proof",
    "Record",
    "Watch",
    "accelerate",
    "carousel",
    "diagnose",
    "lyapunov",
    "measure",
    "nn",
    "observe",
    "prove",
    "singular_values",
    "train",
    "watch",
]

_HOMES = {
    "Diagnosis": "longreach.diagnosis",
    "Finding": "longreach.diagnosis",
    "LongreachError": "longreach.errors",
    "Proof": "longreach.trial.proof",
    "Record": "longreach.record",
    "Watch": "longreach.watching",
    "accelerate": "longreach.nn",
    "carousel": "longreach.spectrum.carousel",
    "diagnose": "longreach.diagnosis",
    "lyapunov": "longreach.spectrum.lyapunov",
    "measure": "longreach.measurement",
    "nn": "longreach.nn",
    "observe": "longreach.nn",
    "prove": "longreach.trial.prove",
    "singular_values": "longreach.spectrum.singular",
    "train": "longreach.training.train",
    "watch": "longreach.watching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longreach' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = import_module(_HOMES[name])
    return home if home.__name__ == f"longreach.{name}" else getattr(home, name)
