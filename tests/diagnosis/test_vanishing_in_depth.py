import dataclasses
import math

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, record

from longreach.diagnosis.vanishing_in_depth import vanishing_in_depth
from longreach.quantities.depth import Depth
from longreach.quantities.updates import Updates
from longreach.record import LossCurve

LAYERS = ("head", "blocks.2", "blocks.1", "blocks.0")
SIGMOID = (0.0, -4.0, -8.0, -12.0)


def depth(log_gain=SIGMOID, axis="layers"):
    return Depth("blocks.0 to head", axis, LAYERS, log_gain, log_gain, -4.0, 6)


def updates(low, high):
    made = [("blocks.0.linear", low), ("head", high)]
    return tuple(
        Updates(
            parameter=name + ".weight",
            module=name,
            size=64,
            dtype="float32",
            optimizer="SGD",
            lr=0.1,
            ratio=ratio,
            early=ratio,
            moved=0.1,
            unmoved=0.0,
            samples=8,
        )
        for name, ratio in made
    )


def run(*depths, loss=CHANCE, chance=0.17, moved=()):
    return dataclasses.replace(record(loss=loss), depth=depths, chance=chance, updates=moved)


@pytest.mark.parametrize(
    ("log_gain", "fires"),
    [
        ((0.0, -2.0, -4.0, math.log(1e-3) - 1e-9), True),
        ((0.0, -2.0, -4.0, math.log(1e-3) + 1e-9), False),
        ((0.0, -5.0, -10.0, -20.0 + 1e-9), True),
        ((0.0, -5.0, -10.0, -20.0 - 1e-9), False),  # one layer that takes more than all others together
        ((0.0, -4.0, -8.0, -math.inf), False),
        ((0.0, -4.0, -8.0, math.nan), False),
        ((0.0,), False),
    ],
)
def test_less_than_a_thousandth_and_not_by_one_layer_alone(log_gain, fires):
    assert bool(vanishing_in_depth(run(depth(log_gain)))) is fires


def test_says_how_much_is_left_and_how_far_the_weights_move():
    (finding,) = vanishing_in_depth(run(depth(), moved=updates(1e-9, 0.02)))
    assert (finding.severity, finding.where) == ("critical", "blocks.0 to head")
    assert finding.summary == (
        "Of a gradient at head, 6.1e-6 of its size is left at blocks.0, 3 layers below: what lies there hardly hears "
        "of the error. A step moves the weights there by 1.0e-09 of their size, those at the top by 2.0e-02. In this "
        "run the loss is no better than that of an answer that never looks at the input."
    )


def test_a_tree_is_counted_in_hops():
    (finding,) = vanishing_in_depth(run(depth(axis="hops")))
    assert finding.summary.startswith(
        "Of a gradient at the root, 6.1e-6 of its size is left at the leaves, 3 hops below"
    )
    assert finding.evidence["hops"] == 3


@pytest.mark.parametrize(
    ("chance", "moved", "severity"),
    [
        (0.17, (), "critical"),
        (0.17, updates(0.01, 0.01), "critical"),  # an optimizer that scales its steps moves weights on noise
        (0.25, updates(1e-6, 0.01), "warning"),
        (0.25, updates(1e-4, 0.01), None),
        (0.25, (), None),
        (0.50, updates(1e-6, 0.01), None),
    ],
)
def test_severity_by_what_the_run_has_learned(chance, moved, severity):
    found = vanishing_in_depth(run(depth(), chance=chance, moved=moved))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("loss", "fires"),
    [
        (LEARNT, False),
        (LossCurve(tuple(range(100)), (0.18, *[0.17] * 99)), True),
        (LossCurve(tuple(range(100)), (0.40, *[0.17] * 99)), False),  # all that there was to learn, in a few steps
    ],
)
def test_where_chance_is_not_known_the_loss_must_never_have_fallen(loss, fires):
    assert bool(vanishing_in_depth(run(depth(), loss=loss, chance=None))) is fires
