"""For every rule a record on which it fires: the pages on findings draw them."""

import math
from dataclasses import replace

from tests.diagnosis.literals import (
    CHANCE,
    LEARNT,
    half,
    inputs,
    jump,
    layer,
    need,
    reach,
    record,
    units,
    updates,
    weight,
)

from longreach import diagnosis
from longreach.diagnosis import Rule
from longreach.quantities.clipping import NORM, Clipping
from longreach.quantities.crosscheck import Crosscheck
from longreach.quantities.depth import Depth
from longreach.quantities.windows import Windows
from longreach.record import Denormals, LossCurve, Need, NonFinite, Record

SIGMOID = (0.0, -4.0, -8.0, -12.0, -16.0)
STEEP = (0.0, 1.5, 3.0, 4.5, 6.0)
NAMES = ("head", "blocks.3", "blocks.2", "blocks.1", "blocks.0")
BROKE = LossCurve(LEARNT.steps, (*LEARNT.values[:31], *[math.nan] * 69))
OVERFLOW = NonFinite(312, "backward", "overflow", "rnn", "MmBackward0", 41, "inf")
FORWARD = NonFinite(312, "forward", "overflow", "blocks.0", None, None, "inf")
WRONG = Crosscheck("net.act", "FastTanh", "differences", "x", "64x128", "float32", 0.62, 0.31, "", 5)
STEPS = LossCurve(CHANCE.steps, (*CHANCE.values[:20], 6.0, *CHANCE.values[21:40], 6.0, *CHANCE.values[41:60], 6.0,
                                 *CHANCE.values[61:]))  # fmt: skip


def bump(centre, last, horizon=149):
    """A need that lies around one lag."""
    lags = tuple(range(horizon + 1))
    return replace(need(last), lags=lags, strength=tuple(0.34 * math.exp(-(((k - centre) / 10) ** 2)) for k in lags))


def depth(log_gain):
    """A network of five layers."""
    return Depth("blocks.0 to head", "layers", NAMES, log_gain, log_gain, log_gain[-1] / 4, 6)


def moving(*others: tuple[str, float], optimizer: str = "Adam"):
    """Matrices of weights, and how far they have come."""
    return tuple(updates(moved, parameter=name, optimizer=optimizer) for name, moved in others)


def no_need() -> Need:
    """Nothing was found, in a test of enough power."""
    return need(None)


FIRING: dict[Rule, Record] = {
    diagnosis.vanishing_in_time: record(layer(reach=reach(11), need=bump(130, 140))),
    diagnosis.exploding_in_time: record(
        layer(reach=reach(149, growth=0.1, log_gain=(0.0, 7.45, 14.9)), need=None), loss=STEPS
    ),
    diagnosis.short_reach_harmless: record(layer(reach=reach(11), need=no_need()), loss=LEARNT),
    diagnosis.truncated_too_short: replace(
        record(layer(reach=reach(19, 19, growth=-0.01), need=bump(60, 63, 150))),
        windows=(Windows("rnn", 20, 160, 50),),
    ),
    diagnosis.vanishing_in_depth: replace(record(), depth=(depth(SIGMOID),), chance=0.17),
    diagnosis.exploding_in_depth: replace(record(nonfinite=FORWARD, loss=BROKE), depth=(depth(STEEP),)),
    diagnosis.non_finite: record(layer(reach=reach(60), need=no_need()), nonfinite=OVERFLOW, loss=BROKE),
    diagnosis.wrong_gradient: replace(record(), crosschecks=(WRONG,)),
    diagnosis.denormals: record(
        layer(reach=reach(11), need=None, denormals=Denormals(60, 149, 0.6, False)), loss=LEARNT
    ),
    diagnosis.precision_loss: replace(record(), half=(half(1.0),)),
    diagnosis.unstable_loss: replace(
        record(loss=STEPS), spikes=(jump(200), jump(400, height=9.0, lag=12), jump(600)), updates=(updates(),)
    ),
    diagnosis.reached_but_unlearned: record(layer(reach=reach(60), need=bump(40, 40))),
    diagnosis.no_signal: record(layer(reach=reach(11), need=no_need())),
    diagnosis.no_signal_by_exclusion: replace(record(), chance=0.17, updates=moving(("fc.weight", 0.7))),
    diagnosis.step_size: replace(record(), updates=moving(("fc.weight", 0.004), ("head.weight", 0.002))),
    diagnosis.clipping_always_binds: replace(
        record(),
        updates=moving(("fc.weight", 0.05), optimizer="SGD"),
        clipping=Clipping(NORM, 1e-3, 900, 1.0, 300.0),
    ),
    diagnosis.dead_units: replace(record(), units=(units(dead=1.0, cut=True),)),
    diagnosis.saturated_units: replace(
        record(layer(reach=reach(3), need=None)), units=(units("rnn", "RNN tanh", saturated=0.95),)
    ),
    diagnosis.collapsed_weights: replace(record(), weights=(weight(rank_start=1.0, rank=1.0, clones=1.0),)),
    diagnosis.badly_scaled_input: replace(record(), inputs=(inputs(mean=-40.0, largest=3.0),)),
}
