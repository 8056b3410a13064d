"""The course of a run, as its store kept it: by hand, with the numbers known."""

import math

import pytest

from longreach.history import History, Mark, history
from longreach.probes.reach import reach_of
from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.clipping import NORM, VALUE, Clip
from longreach.quantities.gradients import GradientNorm
from longreach.quantities.spikes import Spike
from longreach.quantities.units import UnitsSample
from longreach.quantities.updates import Update
from longreach.record import NonFinite
from longreach.store import Store


@pytest.fixture
def store():
    store = Store.create(None)
    yield store
    store.close()


def test_nothing_seen_is_an_empty_history(store):
    assert history(store) == History()
    assert history(store).empty


def test_losses_keep_their_steps_and_what_is_not_a_number(store):
    store.add_losses([(0, 1.0), (1, math.nan), (2, math.inf), (7, 0.5)])
    losses = history(store).losses
    assert losses.steps == (0, 1, 2, 7)
    assert losses.values[0] == 1.0
    assert math.isnan(losses.values[1])
    assert losses.values[2:] == (math.inf, 0.5)
    assert not history(store).empty


def test_each_step_of_a_linear_network_has_its_own_reach(store):
    """gain(k) = r^k falls below a hundredth after ln 0.01 / ln r steps."""
    key = LayerKey("rnn", "RNN tanh", 0, "forward", 8)
    lags = tuple(range(0, 200, 3))
    for step, rate in ((0, 0.5), (10, 0.9), (20, 0.97)):
        gain = tuple(k * math.log(rate) for k in lags)
        store.add_curve(key, Curve(step, lags, gain, None, None, False))
    (track,) = history(store).reach
    assert track.layer == key
    assert track.steps == (0, 10, 20)
    assert (
        track.reach == tuple(math.floor(math.log(0.01) / math.log(rate)) for rate in (0.5, 0.9, 0.97)) == (6, 43, 151)
    )
    assert track.reach == tuple(map(reach_of, track.lags, track.log_gain))


def test_gradients_are_told_as_they_came_and_as_they_were_used(store):
    store.add(GradientNorm("", 3, 5.0, 1.0))
    store.add(GradientNorm("", 4, math.inf, math.nan))
    told = history(store)
    assert (told.before.steps, told.before.values) == ((3, 4), (5.0, math.inf))
    assert told.after.values[0] == 1.0
    assert math.isnan(told.after.values[1])


def test_the_limit_is_that_of_the_norm_and_not_of_single_entries(store):
    store.add(Clip(VALUE, 1, 0.1, 1, 0, 0.0))
    assert history(store).limit.steps == ()
    store.add(Clip(NORM, 2, 1.5, 1, 1, 0.3))
    store.add(Clip(NORM, 5, 2.5, 4, 1, 0.3))
    assert (history(store).limit.steps, history(store).limit.values) == ((2, 5), (1.5, 2.5))


def test_units_are_shares_of_those_looked_at(store):
    store.add(UnitsSample("fc", 0, "ReLU", 8, 100, 0b1, 0b1111, True, False))
    store.add(UnitsSample("fc", 5, "ReLU", 8, 100, 0b11, 0, True, False))
    store.add(UnitsSample("fc", 6, "ReLU", 0, 100, 0, 0, True, False))  # nothing was looked at
    told = history(store)
    assert [(track.name, track.steps, track.values) for track in told.dead] == [("fc ReLU", (0, 5), (0.125, 0.25))]
    assert told.saturated[0].values == (0.5, 0.0)


def test_updates_are_one_track_a_matrix(store):
    for step, ratio in ((0, 0.01), (1, math.nan)):
        store.add(Update("a.weight", step, "a", 4, "float32", "Adam", 1e-3, ratio, 0.1, 0.0))
    store.add(Update("b.weight", 0, "b", 4, "float32", "Adam", 1e-3, 0.5, 0.1, 0.0))
    a, b = history(store).updates
    assert (a.name, a.steps, b.name, b.values) == ("a.weight", (0, 1), "b.weight", (0.5,))
    assert math.isnan(a.values[1])


def test_what_happened_stands_in_the_order_of_the_run(store):
    store.add(Spike("", 40, 1.0, 9.0, 64, False, "rnn", 39, 12.0))
    store.add(Spike("", 20, 1.0, math.inf, 3, True, "", -1, 0.0))
    store.set_nonfinite(NonFinite(30, "backward", "overflow", "rnn", None, 4, "nan"))
    assert history(store).marks == (
        Mark(20, "spike", "the loss rose from 1 to NaN or infinity; it was back after 3 steps"),
        Mark(30, "NaN or infinity", "the first NaN in rnn at time step 4, on the way backward; cause: overflow"),
        Mark(
            40, "spike", "the loss rose from 1 to 9; it did not come back; the gradient of rnn rose first, at step 39"
        ),
    )


def test_a_run_that_is_being_written_is_read_as_far_as_it_is(tmp_path):
    writer = Store.create(tmp_path / "run")
    writer.add_losses([(0, 1.0)])
    writer.commit()
    writer.add_losses([(1, 2.0)])  # not committed: nobody else sees it
    reader = Store.open(tmp_path / "run")
    assert history(reader).losses.steps == (0,)
    writer.commit()
    assert history(reader).losses.steps == (0, 1)
    reader.close()
    writer.close()
