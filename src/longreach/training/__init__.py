"""Training on the user's own data: the loop, what it is asked to learn, and how it comes through trouble.

    Settings, Outcome what may be asked of `longreach.train`, what it gives
    Problem, Batch    what a kind of data has to be; Advice, Shape, Sizes: what it is told and tells
    load              a run's folder -> kind, recipe, trained network

Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longreach.batch import Batch
    from longreach.training.outcome import Outcome
    from longreach.training.plan import Settings
    from longreach.training.problem import Advice, Problem, Shape, Sizes
    from longreach.training.run import load

__all__ = ["Advice", "Batch", "Outcome", "Problem", "Settings", "Shape", "Sizes", "load"]

_HOMES = {
    "Advice": "longreach.training.problem",
    "Batch": "longreach.batch",
    "Outcome": "longreach.training.outcome",
    "Problem": "longreach.training.problem",
    "Settings": "longreach.training.plan",
    "Shape": "longreach.training.problem",
    "Sizes": "longreach.training.problem",
    "load": "longreach.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longreach.training' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
