"""What is taken for the start of a run and what for its end, and what the record says of the whole."""

import math

import numpy as np
import pytest

from longreach.conclude import conclude, late_curves
from longreach.probes.samples import Curve, LayerKey, Pairs
from longreach.store import Store

KEY = LayerKey("rnn", "GRU", 0, "forward", 8)


def curve(step, rate=0.5):
    return Curve(step, (0, 1, 2), (0.0, -rate, -2 * rate), None, None, False)


def sample(step, depends, rows=64, length=12):
    """Sequences whose error is the input `depends` steps back, or noise."""
    rng = np.random.default_rng(step)
    inputs = rng.standard_normal((rows, length, 1)).astype(np.float32)
    errors = np.zeros((rows, length, 1), np.float32)
    errors[:, -1, 0] = rng.standard_normal(rows) if depends is None else inputs[:, -1 - depends, 0]
    return Pairs(step, inputs, errors, np.full(rows, length), False)


def stored(*, curves=(), pairs=(), losses=(), **meta):
    store = Store.create(None)
    for found in curves:
        store.add_curve(KEY, found)
    for found in pairs:
        store.add_pairs(KEY.module, KEY.direction, found)
    store.add_losses(list(losses))
    store.put_meta(**meta)
    return store


def test_reach_is_read_in_the_second_half_of_the_run():
    record = conclude(stored(curves=[curve(0, 5.0), curve(40, 5.0), curve(60), curve(100)]))
    (layer,) = record.layers
    assert layer.reach.samples == 2
    assert layer.reach.log_gain == (0.0, -0.5, -1.0)
    assert layer.need is None
    assert "need could not be tested" in layer.blind


def test_curves_that_are_not_finite_are_passed_over_but_a_dead_gradient_is_not():
    broken = Curve(90, (0, 1, 2), (0.0, math.nan, math.nan), None, None, False)
    dead = Curve(80, (0, 1, 2), (0.0, -math.inf, -math.inf), None, None, False)
    assert late_curves([curve(10), dead, broken]) == [dead]
    assert late_curves([broken]) == []
    assert conclude(stored(curves=[broken])).layers[0].reach is None


def test_what_an_untrained_network_lacked_is_told_from_what_a_trained_one_lacks():
    pairs = [sample(step, 7) for step in range(8)] + [sample(step, None) for step in range(50, 60)]
    (layer,) = conclude(stored(curves=[curve(0)], pairs=pairs, steps=60)).layers
    assert layer.need_start.lag == 7
    assert layer.need.lag is None
    assert layer.need.sequences == 640
    assert layer.blind is None


def test_a_need_that_the_start_did_not_show_is_held_to_a_stricter_level():
    def judged(depends):
        pairs = [sample(step, None) for step in range(8)] + [sample(step, depends) for step in range(50, 60)]
        return conclude(stored(curves=[curve(0)], pairs=pairs, steps=60)).layers[0].need

    assert (judged(7).lag, judged(7).level) == (7, 0.001)
    assert judged(7).p_value <= 0.001
    assert (judged(None).lag, judged(None).level) == (None, 0.01)


def test_a_record_without_anything_is_a_record():
    record = conclude(stored())
    assert (record.steps, record.layers, record.loss, record.overhead) == (0, (), None, 0.0)


def test_losses_are_thinned_by_means_and_the_cost_is_a_share():
    record = conclude(stored(losses=[(step, float(step)) for step in range(2048)], steps=2048, seconds=50.0, spent=0.5))
    assert record.loss.steps[:3] == (0, 4, 8)
    assert record.loss.values[:2] == (1.5, 5.5)
    assert record.overhead == pytest.approx(0.01)


@pytest.mark.parametrize(("rate", "kept"), [(0.5, ["rnn"]), (0.2, ["rnn", "net"])])
def test_a_whole_model_is_told_of_if_it_reaches_more_than_twice_as_far_as_its_recurrent_layers(rate, kept):
    """ln 100 is 4.6: the layer reaches 9 steps, the model 9 or 23."""
    lags = tuple(range(41))
    store = stored(curves=[Curve(0, lags, tuple(-0.5 * lag for lag in lags), None, None, False)])
    whole = Curve(0, lags, tuple(-rate * lag for lag in lags), None, None, False)
    store.add_curve(LayerKey("net", "Net", 0, "forward", 2, whole=True), whole)
    assert [(layer.module, layer.whole) for layer in conclude(store).layers] == [(name, name == "net") for name in kept]
    assert [layer.reach.lag for layer in conclude(store).layers] == [9, 23][: len(kept)]
