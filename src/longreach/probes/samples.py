"""What one sampled training step leaves behind: plain numpy data, ready to be stored, pooled and tested."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Num


@dataclass(frozen=True)
class Sample:
    """What one sampled step says about one quantity at one place; each quantity derives its own.

    place  dotted name of a module or parameter, or "" for the whole run
    step   training step, counted from 0
    """

    place: str
    step: int


@dataclass(frozen=True)
class LayerKey:
    """Which recurrent layer, or which whole model, a sample belongs to; the fields are those of `record.Layer`."""

    module: str
    kind: str
    index: int
    direction: str
    hidden: int
    whole: bool = False


@dataclass(frozen=True)
class Curve:
    """Gain and signal of one layer at one sampled training step.

    step         training step, counted from 0
    lags         measured lags, ascending from 0; steps
    log_gain     ln gain(k), median over this step's anchors; -inf where nothing is left
    log_signal   ln signal(k); None where no error arrived
    subnormal    share of the entries of ∂L_t/∂s_{t-k} that the layer's dtype holds as subnormals; None without an error
    flushed      whether subnormal numbers were being flushed to 0 when the step ran
    """

    step: int
    lags: tuple[int, ...]
    log_gain: tuple[float, ...]
    log_signal: tuple[float, ...] | None
    subnormal: tuple[float, ...] | None
    flushed: bool


@dataclass(frozen=True)
class Pairs:
    """Inputs and direct errors of some sequences of one sampled step, for the need test.

    Sequences end together (right-aligned); what lies before a sequence's first step is 0 and not part of it.

    step      training step, counted from 0
    inputs    x_t: real features, or whole token ids with a feature axis of length 1
    errors    g_t on its leading directions, in units of the step's root mean square error
    lengths   number of valid steps of each sequence, counted from the end
    tokens    whether the inputs are token ids
    """

    step: int
    inputs: Num[np.ndarray, "sequence time feature"]
    errors: Float32[np.ndarray, "sequence time direction"]
    lengths: Int[np.ndarray, " sequence"]
    tokens: bool
