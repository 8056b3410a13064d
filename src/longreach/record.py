"""What was measured: frozen plain data, without torch and without an opinion.

A `Record` is all that rules may look at and all that renderers may draw. It goes to JSON and comes back equal:
`Record.from_json(record.to_json()) == record`, NaN and infinities included.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Self

from longreach.plain import build, plain
from longreach.quantities.clipping import Clipping
from longreach.quantities.crosscheck import Crosscheck
from longreach.quantities.depth import Depth
from longreach.quantities.gradients import Gradients
from longreach.quantities.inputs import Input
from longreach.quantities.precision import HalfGradients, LossScale
from longreach.quantities.restless import Restless
from longreach.quantities.spikes import Spike
from longreach.quantities.units import Units
from longreach.quantities.updates import Updates
from longreach.quantities.weights import Weight
from longreach.quantities.windows import Windows

SCHEMA = "longreach.record/1"


@dataclass(frozen=True)
class Reach:
    """How far back a gradient survives in one recurrent layer and direction, pooled over sampled training steps.

    lag        the largest lag k whose gain(k) >= threshold, interpolated between the measured lags; steps
    threshold  the gain at which reach ends; 1
    horizon    the longest lag that the data offered; steps
    growth     slope of ln gain(k) over k; nats per step; < 0 vanishes, > 0 explodes
    lags       the measured lags, ascending, lags[0] == 0; steps
    log_gain   ln gain(k) at those lags; median over anchors; -inf where nothing at all is left
    log_signal ln signal(k) at those lags, for the loss of the run; None where no error arrived at the layer
    samples    how many sampled training steps were pooled
    """

    lag: int
    threshold: float
    horizon: int
    growth: float
    lags: tuple[int, ...]
    log_gain: tuple[float, ...]
    log_signal: tuple[float, ...] | None
    samples: int


@dataclass(frozen=True)
class Need:
    """How far back the error still depends on the input, given what the network uses already (the shortcut test).

    lag         the largest lag with significant need; None if there is none; steps
    p_value     family-wise p-value of the strongest lag, or, where one is given, of that lag
    level       the family-wise level of the test
    detectable  the smallest need(k) that would have been found with a probability of 80 %; share of variance
    sequences   how many sequences the test saw
    lags        lags at which strength is given, ascending; steps
    strength    need(k), the share of the variance of the error that x_{t-k} explains, corrected for chance; in [0, 1]
    tokens      the inputs were token ids, seen through an embedding
    """

    lag: int | None
    p_value: float
    level: float
    detectable: float
    sequences: int
    lags: tuple[int, ...]
    strength: tuple[float, ...]
    tokens: bool = False


@dataclass(frozen=True)
class DeepNeed:
    """What the error asks for of two inputs read together (the deep test).

    need     as of one input: lag is that of the further of the two, strength the share that the two explain together
    partner  lag at which the nearer of the two begins; None where no need was found; steps
    scanned  share of all pairs of lags that there was time for, the furthest first
    seconds  what the test took
    """

    need: Need
    partner: int | None
    scanned: float
    seconds: float


@dataclass(frozen=True)
class LongMemory:
    """How slowly the autocorrelation of the inputs dies away: as lag^(2d - 1).

    d          memory parameter, mean over the series ("total memory"): 0 short memory, in (0, 1/2) long, from 1/2 on
               not stationary, below 0 each swing is taken back
    error      standard error of d, the series' dependence on each other included
    p_value    of d = 0 against d > 0
    bandwidth  Fourier frequencies used, from the lowest one on
    length     steps of each sequence
    sequences  how many there were
    series     input features that vary
    """

    d: float
    error: float
    p_value: float
    bandwidth: int
    length: int
    sequences: int
    series: int


@dataclass(frozen=True)
class Denormals:
    """Where the gradient, on its way back through time, consists of subnormal numbers of the layer's own dtype.

    first_lag, last_lag  the lags between which at least half of the entries are subnormal; steps
    share                the part of all lags up to the horizon that lies between them; in [0, 1]
    flushed              whether the processor was told to treat subnormal numbers as 0 (then they cost nothing)
    """

    first_lag: int
    last_lag: int
    share: float
    flushed: bool


@dataclass(frozen=True)
class Layer:
    """One recurrent layer in one direction, or a whole model.

    module      dotted name within the model, as in `model.named_modules()`
    kind        "RNN tanh", "RNN relu", "GRU", "LSTM", or the class name of a cell called in a loop
    index       the layer's place in a stack, 0 the lowest; need is the module's and stands in each of its layers
    direction   "forward" or "reverse"; lags of a reverse layer count forward in time
    hidden      number of its units
    need_start  the same test on the first sequences of the run: what the data offer an untrained network
    blind       why something could not be measured here; None if everything was
    whole       reach and need are those of a whole model, from its output back to its embedded input; hidden is then
                the number of its outputs at a step
    deep        what two inputs tell together; None unless it was asked for
    memory      how long the layer's inputs remember; None unless it was asked for
    """

    module: str
    kind: str
    index: int
    direction: str
    hidden: int
    reach: Reach | None
    need: Need | None
    need_start: Need | None = None
    denormals: Denormals | None = None
    blind: str | None = None
    whole: bool = False
    deep: DeepNeed | None = None
    memory: LongMemory | None = None


@dataclass(frozen=True)
class LossCurve:
    """The loss over the run, thinned to a bounded number of points.

    steps    training step (count of optimizer steps) at which each stretch begins
    values   mean loss of the stretch; NaN and infinities are kept
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class NonFinite:
    """The first NaN or infinity of the run.

    step       training step, counted from 0
    direction  "forward" or "backward"
    cause      "data" (an input was not finite), "overflow" (finite inputs and weights gave a non-finite number),
               "weights" (the weights were non-finite already when the step began), or "unknown"
    module     name of the first module it appeared in; None if it could not be told
    operation  the torch operation or parameter it first appeared in; None if it could not be told
    time_step  index in time at which it first appeared; None where there is no time axis
    value      "nan" or "inf"
    """

    step: int
    direction: str
    cause: str
    module: str | None
    operation: str | None
    time_step: int | None
    value: str


@dataclass(frozen=True)
class Record:
    """Everything that was measured of one run.

    run        what was run: script, arguments, versions, times; whatever JSON can hold
    steps      optimizer steps seen
    seconds    wall time from the first to the last step
    overhead   share of that time spent watching
    layers     one per recurrent layer and direction
    loss       None if no loss was seen
    nonfinite  the first NaN or infinity; None if there was none
    windows    one per recurrent module whose gradient is cut while its state goes on
    crosschecks  hand-written gradients and modules against a second computation of the same
    notes      what could not be seen, and why, in sentences for the user
    updates    one per matrix of weights that an optimizer updates
    gradients  the norm of the whole gradient; None if it was never looked at
    clipping   None if no clipping was seen
    spikes     jumps of the loss that last
    restless   how the loss behaves from step to step; None where it cannot be told
    half       one per module with float16 outputs
    loss_scale what a loss scaler has done; None without one
    units      one per activation behind a module, and per layer and direction of a fused recurrent module
    weights    one per matrix of weights that a gradient came to
    inputs     one per module that reads the data
    chance     the loss of the best answer that never looks at its input; None if it could not be told
    depth      one per network with at least three layers, and per recursive one
    """

    run: dict[str, Any]
    steps: int
    seconds: float
    overhead: float
    layers: tuple[Layer, ...]
    loss: LossCurve | None
    nonfinite: NonFinite | None
    notes: tuple[str, ...] = ()
    updates: tuple[Updates, ...] = ()
    gradients: Gradients | None = None
    clipping: Clipping | None = None
    spikes: tuple[Spike, ...] = ()
    restless: Restless | None = None
    half: tuple[HalfGradients, ...] = ()
    loss_scale: LossScale | None = None
    units: tuple[Units, ...] = ()
    weights: tuple[Weight, ...] = ()
    inputs: tuple[Input, ...] = ()
    chance: float | None = None
    crosschecks: tuple[Crosscheck, ...] = ()
    windows: tuple[Windows, ...] = ()
    depth: tuple[Depth, ...] = ()
    schema: str = field(default=SCHEMA)

    def to_json(self) -> str:
        """One line of strict JSON; non-finite numbers become the strings "nan", "inf" and "-inf"."""
        return json.dumps(plain(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return build(cls, json.loads(text))

    def _repr_html_(self) -> str:
        from longreach.report import notebook  # drawing lies above measuring: known here only when asked to draw

        return notebook.of_record(self)
