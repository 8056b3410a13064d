"""Records written by hand, for rules to fire on or not."""

import math

from longreach.quantities.inputs import Input
from longreach.quantities.precision import HalfGradients
from longreach.quantities.spikes import Spike
from longreach.quantities.units import Units
from longreach.quantities.updates import Updates
from longreach.quantities.weights import Weight
from longreach.record import Layer, LossCurve, Need, Reach, Record

CHANCE = LossCurve(tuple(range(0, 1000, 10)), (0.8, 0.5, 0.3, *[0.17, 0.16, 0.18] * 32, 0.17))
LEARNT = LossCurve(tuple(range(0, 1000, 10)), tuple(0.8 * 0.95**i for i in range(100)))


def reach(lag=11, horizon=149, threshold=0.01, growth=None, log_gain=None):
    """A straight fade that crosses the threshold at `lag`, or any gain of your own."""
    growth = math.log(threshold) / max(lag, 1) if growth is None else growth
    lags = (0, horizon // 2, horizon)
    return Reach(lag, threshold, horizon, growth, lags, log_gain or tuple(growth * k for k in lags), None, 6)


def need(lag=140, detectable=0.08, strength=None):
    """Significant up to `lag`; its strength is 0.34 there."""
    lags, shares = ((lag,), (0.34,)) if lag is not None else ((0,), (0.0,))
    p_value = 0.6 if lag is None else 0.0004
    return Need(lag, p_value, 0.01, detectable, 384, lags, strength or shares)


def layer(
    module="rnn", index=0, direction="forward", kind="RNN tanh", reach=None, need=None, start=None, denormals=None
):
    """One layer, as a probe would leave it."""
    return Layer(module, kind, index, direction, 64, reach, need, start, denormals)


def record(*layers, loss=CHANCE, nonfinite=None, steps=1000):
    """A run at chance, unless told otherwise."""
    return Record({"script": "train.py"}, steps, 84.2, 0.013, layers, loss, nonfinite)


def updates(moved=1.0, early=0.01, ratio=1e-3, unmoved=0.0, optimizer="Adam", dtype="float32", parameter="head.weight"):
    """One matrix of weights that moves as those of a network that learns."""
    module = parameter.rpartition(".")[0]
    return Updates(parameter, module, 4096, dtype, optimizer, 1e-3, ratio, early, moved, unmoved, 20)


def inputs(module="fc", scale=1.0, mean=0.1, deviation=1.0, largest=1.0, smaller=1.0):
    """What the first module reads, of a size that suits it."""
    return Input(module, 5, scale, abs(mean) / deviation, mean, deviation, largest / smaller, largest, smaller, 3)


def weight(parameter="fc.weight", size_start=0.1, size=0.1, rank_start=20.0, rank=18.0, clones=0.1, shape=(32, 32)):
    """A matrix of weights that is as it began."""
    return Weight(parameter, shape, size_start, size, rank_start, rank, clones, 200, 5)


def units(module="fc1", kind="ReLU", dead=0.0, saturated=0.0, since=0, hidden=True, cut=False):
    """The units behind one module, all of them at work."""
    return Units(module, kind, 64, 500, dead, saturated, since, hidden, cut, 5)


def half(lost, largest=1e-6, module="net.0"):
    """The gradient at outputs of 16 bits, of which a share is lost."""
    return HalfGradients(module, lost, 0.1, 0.0, largest, 1.0, 3)


def jump(step, *, lasted=9, over=True, module="rnn", rose=None, factor=33.0, lag=-1, height=6.0):
    """The loss jumps to twenty times its level, after the gradient of a module has risen."""
    rose = step - 1 if rose is None else rose
    return Spike("", step, 0.3, height, lasted, over, module, rose, factor, lag)
