"""Remedies: verbs that change a module, an optimizer or the arithmetic, give back what they were given, and are undone.

    model = remedies.identity_init(model)                # before the optimizer is made
    optimizer = remedies.clip_norm(torch.optim.Adam(model.parameters()))
    remedies.undo(model)

One file each; a new one is a file, and its line in REMEDIES: the names that the command line knows.
"""

from longreach.errors import ArgumentError
from longreach.remedies.batch_norm import REMEDY as BATCH_NORM
from longreach.remedies.batch_norm import batch_norm
from longreach.remedies.clip_auto import REMEDY as CLIP_AUTO
from longreach.remedies.clip_auto import Clipping, clip_auto, clipping
from longreach.remedies.clip_norm import REMEDY as CLIP_NORM
from longreach.remedies.clip_norm import clip_norm
from longreach.remedies.clip_state_gradient import REMEDY as CLIP_STATE_GRADIENT
from longreach.remedies.clip_state_gradient import clip_state_gradient
from longreach.remedies.dilated import REMEDY as DILATED
from longreach.remedies.dilated import dilated
from longreach.remedies.elu import REMEDY as ELU
from longreach.remedies.elu import elu
from longreach.remedies.fast_dropout import REMEDY as FAST_DROPOUT
from longreach.remedies.fast_dropout import fast_dropout
from longreach.remedies.flossing import REMEDY as FLOSSING
from longreach.remedies.flossing import flossing
from longreach.remedies.flush_denormals import REMEDY as FLUSH_DENORMALS
from longreach.remedies.flush_denormals import flush_denormals
from longreach.remedies.forget_bias import REMEDY as FORGET_BIAS
from longreach.remedies.forget_bias import forget_bias
from longreach.remedies.gru import REMEDY as GRU
from longreach.remedies.gru import gru
from longreach.remedies.guard import REMEDY as GUARD
from longreach.remedies.guard import Guarded, guard, guarded
from longreach.remedies.identity_init import REMEDY as IDENTITY_INIT
from longreach.remedies.identity_init import identity_init
from longreach.remedies.layer_norm import REMEDY as LAYER_NORM
from longreach.remedies.layer_norm import layer_norm
from longreach.remedies.layerwise_pretraining import REMEDY as LAYERWISE_PRETRAINING
from longreach.remedies.layerwise_pretraining import layerwise_pretraining
from longreach.remedies.leaky_integration import REMEDY as LEAKY_INTEGRATION
from longreach.remedies.leaky_integration import leaky_integration
from longreach.remedies.leaky_relu import REMEDY as LEAKY_RELU
from longreach.remedies.leaky_relu import leaky_relu
from longreach.remedies.linear_recurrent import REMEDY as LINEAR_RECURRENT
from longreach.remedies.linear_recurrent import linear_recurrent
from longreach.remedies.lstm import REMEDY as LSTM
from longreach.remedies.lstm import lstm
from longreach.remedies.nesterov import REMEDY as NESTEROV
from longreach.remedies.nesterov import nesterov
from longreach.remedies.orthogonal import REMEDY as ORTHOGONAL
from longreach.remedies.orthogonal import orthogonal
from longreach.remedies.orthogonal_init import REMEDY as ORTHOGONAL_INIT
from longreach.remedies.orthogonal_init import orthogonal_init
from longreach.remedies.prelu import REMEDY as PRELU
from longreach.remedies.prelu import prelu
from longreach.remedies.random_steps import REMEDY as RANDOM_STEPS
from longreach.remedies.random_steps import random_steps
from longreach.remedies.random_weights import REMEDY as RANDOM_WEIGHTS
from longreach.remedies.random_weights import random_weights
from longreach.remedies.relu import REMEDY as RELU
from longreach.remedies.relu import relu
from longreach.remedies.remedy import Remedy, applied, undo
from longreach.remedies.residual import REMEDY as RESIDUAL
from longreach.remedies.residual import residual
from longreach.remedies.rmsprop import REMEDY as RMSPROP
from longreach.remedies.rmsprop import rmsprop
from longreach.remedies.scaled_init import REMEDY as SCALED_INIT
from longreach.remedies.scaled_init import scaled_init
from longreach.remedies.selu import REMEDY as SELU
from longreach.remedies.selu import selu
from longreach.remedies.skip import REMEDY as SKIP
from longreach.remedies.skip import skip
from longreach.remedies.sparsity import REMEDY as SPARSITY
from longreach.remedies.sparsity import sparsity
from longreach.remedies.truncated_bptt import REMEDY as TRUNCATED_BPTT
from longreach.remedies.truncated_bptt import truncated_bptt
from longreach.remedies.vanishing_regulariser import REMEDY as VANISHING_REGULARISER
from longreach.remedies.vanishing_regulariser import vanishing_regulariser
from longreach.remedies.variational_dropout import REMEDY as VARIATIONAL_DROPOUT
from longreach.remedies.variational_dropout import variational_dropout
from longreach.remedies.wider import REMEDY as WIDER
from longreach.remedies.wider import wider
from longreach.remedies.zoneout import REMEDY as ZONEOUT
from longreach.remedies.zoneout import zoneout

__all__ = [
    "CONTROLS",
    "REMEDIES",
    "Clipping",
    "Guarded",
    "Remedy",
    "applied",
    "batch_norm",
    "clip_auto",
    "clip_norm",
    "clip_state_gradient",
    "clipping",
    "dilated",
    "elu",
    "fast_dropout",
    "flossing",
    "flush_denormals",
    "forget_bias",
    "gru",
    "guard",
    "guarded",
    "identity_init",
    "layer_norm",
    "layerwise_pretraining",
    "leaky_integration",
    "leaky_relu",
    "linear_recurrent",
    "lstm",
    "named",
    "nesterov",
    "orthogonal",
    "orthogonal_init",
    "prelu",
    "random_steps",
    "random_weights",
    "relu",
    "residual",
    "rmsprop",
    "scaled_init",
    "selu",
    "skip",
    "sparsity",
    "truncated_bptt",
    "undo",
    "vanishing_regulariser",
    "variational_dropout",
    "wider",
    "zoneout",
]

REMEDIES: tuple[Remedy, ...] = (
    CLIP_NORM,
    CLIP_STATE_GRADIENT,
    FLUSH_DENORMALS,
    WIDER,
    NESTEROV,
    RMSPROP,
    CLIP_AUTO,
    GUARD,
    TRUNCATED_BPTT,
    IDENTITY_INIT,
    ORTHOGONAL_INIT,
    SCALED_INIT,
    FORGET_BIAS,
    FLOSSING,
    ORTHOGONAL,
    RELU,
    LEAKY_RELU,
    PRELU,
    ELU,
    SELU,
    LSTM,
    VANISHING_REGULARISER,
    RESIDUAL,
    LAYER_NORM,
    BATCH_NORM,
    LAYERWISE_PRETRAINING,
    DILATED,
    GRU,
    LEAKY_INTEGRATION,
    SKIP,
    VARIATIONAL_DROPOUT,
    ZONEOUT,
    SPARSITY,
    FAST_DROPOUT,
    LINEAR_RECURRENT,
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
