"""What a step is judged by, what is told, and what is kept of it."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from longreach.training.trouble import FIRST, IN_A_ROW, LONGEST, Diverged, Trouble, length_of

SIZES = st.floats(1e-3, 1e3)
STEPS = st.lists(st.tuples(SIZES, SIZES, SIZES) | st.just((math.nan, 1.0, 1.0)), max_size=60)


def settled(count=FIRST, loss=1.0, length=1.0, width=1.0) -> Trouble:
    trouble = Trouble(None)
    for _ in range(count):
        assert trouble.judge(loss, length, width) is None
        trouble.shorten([], torch.tensor(length))
    return trouble


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ((math.nan, 1.0, 0.0), "the loss is nan"),
        ((-math.inf, 1.0, 0.0), "the loss is -inf"),
        ((1.0, math.nan, 0.0), "the gradient is not finite"),
        ((1.0, 1.0, math.inf), "the state to carry on is not finite"),
        ((1.0, 2 * LONGEST, 0.0), "the gradient is 2e+15 long"),
    ],
)
@pytest.mark.parametrize("count", [0, 1, FIRST])
def test_what_no_run_can_mean_is_seen_from_the_first_step_on(step, why, count):
    assert settled(count).judge(*step) == why


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ((250.0, 1.0, 1.0), "the loss is 250, 125 times the usual of the first ones"),
        ((2.0, 5e7, 1.0), "the gradient is 5e+07 long, 1e+07 times the usual"),
        ((2.0, 1.0, 7e7), "the state to carry on grew to 7e+07, from 7"),
        ((199.0, 4e6, 6e6), None),  # what clipping and further steps make up for
    ],
)
@pytest.mark.parametrize("count", [3, FIRST])
def test_what_is_far_from_the_usual_is_not_taken(step, why, count):
    assert settled(count, loss=2.0, length=5.0, width=7.0).judge(*step) == why


def test_a_first_loss_that_is_broken_does_not_make_others_look_usual():
    trouble = Trouble(None)
    assert trouble.judge(1e30, 1.0, 0.0) is None
    for _ in range(4):
        trouble.judge(1.0, 1.0, 0.0)
    assert trouble.judge(1e4, 1.0, 0.0) is not None


@pytest.mark.parametrize("loss", [-5.0, 0.0])
def test_losses_that_are_no_distance_are_taken_as_they_come(loss):
    trouble = settled(loss=loss)
    assert trouble.judge(0.9 * loss, 1.0, 1.0) is None
    assert trouble.judge(loss + 4.0, 1.0, 1.0) is None


def test_long_gradients_are_usual_where_they_were_at_first():
    """A run that has nearly learned everything may still be surprised."""
    trouble = settled(length=1.0)
    for _ in range(300):
        trouble.judge(1.0, 1e-7, 1.0)
        trouble.shorten([], torch.tensor(1e-7))
    assert trouble.judge(1.0, 0.5, 1.0) is None


@given(STEPS, STEPS)
def test_what_was_kept_judges_as_what_was_not_stopped(before, after):
    def through(trouble, steps):
        told = []
        for number, (loss, length, width) in enumerate(steps):
            why = trouble.judge(loss, length, width)
            told.append(why)
            if why is None:
                weight = nn.Parameter(torch.zeros(1))
                weight.grad = torch.tensor([length])
                trouble.shorten([weight], torch.tensor(length))
                told.append(weight.grad.item())
            elif trouble.skip(number, why) and trouble.returns < 10:
                trouble.go_back(number, 0)
        return told

    whole, later = Trouble(None), Trouble(None)
    through(whole, before)
    later.recall(json.loads(json.dumps(whole.facts())))
    assert later.facts() == whole.facts()
    assert through(whole, after) == through(later, after)
    assert later.facts() == whole.facts()


@pytest.mark.parametrize(("clip", "expected"), [(None, 10.0), (2.0, 2.0), (0.0, 1000.0)])
def test_a_gradient_is_held_to_the_limit(clip, expected):
    trouble = Trouble(clip)
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(1))]
    for length in (1.0, 1.0, 1000.0):
        for own in weights[:2]:
            own.grad = torch.full_like(own, length / math.sqrt(7))
        assert length_of(weights).item() == pytest.approx(length)
        trouble.shorten(weights, length_of(weights))
    assert length_of(weights).item() == pytest.approx(expected, rel=1e-5)


def test_it_is_time_to_look_at_the_weights_once_in_a_row_of_bad_steps():
    trouble = settled()
    assert [trouble.skip(step, "why") for step in range(6)] == [False, False, True, False, False, False]
    trouble.judge(1.0, 1.0, 1.0)
    assert [trouble.skip(step, "why") for step in range(IN_A_ROW)] == [False, False, True]


def test_every_way_back_halves_the_steps_until_there_is_none():
    trouble = settled()
    for number in range(10):
        trouble.skip(number, "the loss is nan")
        trouble.go_back(number, 0)
        assert trouble.pace == 0.5 ** (number + 1)
    trouble.skip(10, "the loss is nan")
    with pytest.raises(Diverged, match="training broke 11 times, the last time at step 10: the loss is nan"):
        trouble.go_back(10, 0)
