"""Remedies: verbs that change a module, an optimizer or the arithmetic, give back what they were given, and are undone.

    model = remedies.identity_init(model)                # before the optimizer is made
    optimizer = remedies.clip_norm(torch.optim.Adam(model.parameters()))
    remedies.undo(model)

One file each; a new one is a file, and its line in REMEDIES: the names that the command line knows.
"""

from longreach.errors import ArgumentError
from longreach.remedies.clip_norm import REMEDY as CLIP_NORM
from longreach.remedies.clip_norm import clip_norm
from longreach.remedies.identity_init import REMEDY as IDENTITY_INIT
from longreach.remedies.identity_init import identity_init
from longreach.remedies.lstm import REMEDY as LSTM
from longreach.remedies.lstm import lstm
from longreach.remedies.random_steps import REMEDY as RANDOM_STEPS
from longreach.remedies.random_steps import random_steps
from longreach.remedies.random_weights import REMEDY as RANDOM_WEIGHTS
from longreach.remedies.random_weights import random_weights
from longreach.remedies.relu import REMEDY as RELU
from longreach.remedies.relu import relu
from longreach.remedies.remedy import Remedy, applied, undo
from longreach.remedies.vanishing_regulariser import REMEDY as VANISHING_REGULARISER
from longreach.remedies.vanishing_regulariser import vanishing_regulariser

__all__ = [
    "CONTROLS",
    "REMEDIES",
    "Remedy",
    "applied",
    "clip_norm",
    "identity_init",
    "lstm",
    "named",
    "random_steps",
    "random_weights",
    "relu",
    "undo",
    "vanishing_regulariser",
]

REMEDIES: tuple[Remedy, ...] = (
    CLIP_NORM,
    IDENTITY_INIT,
    RELU,
    LSTM,
    VANISHING_REGULARISER,
)

# Changes that mean nothing: what a remedy has to be better than.
CONTROLS: tuple[Remedy, ...] = (RANDOM_WEIGHTS, RANDOM_STEPS)


def named(name: str) -> Remedy:
    """The remedy of this name, or the control.

    Raises  ArgumentError if there is none
    """
    for remedy in (*REMEDIES, *CONTROLS):
        if remedy.name == name:
            return remedy
    known = ", ".join(remedy.name for remedy in REMEDIES)
    raise ArgumentError(f"remedy {name!r}: expected one of {known}")
