import math
from dataclasses import replace

import pytest
from tests.diagnosis.literals import LEARNT, half, record, updates

from longreach.diagnosis.precision_loss import precision_loss
from longreach.quantities.precision import LossScale


@pytest.mark.parametrize(("lost", "fires"), [(0.5, 1), (0.49, 0), (math.nan, 0)])
def test_half_of_a_gradient_that_a_larger_loss_would_save(lost, fires):
    assert len(precision_loss(replace(record(), half=(half(lost), half(0.0, module="net.2"))))) == fires


@pytest.mark.parametrize(("dtype", "unmoved", "fires"), [("bfloat16", 0.5, 1), ("bfloat16", 0.4, 0), ("float32", 1, 0)])
def test_half_of_the_weights_in_16_bits_that_do_not_notice_a_step(dtype, unmoved, fires):
    assert len(precision_loss(replace(record(), updates=(updates(dtype=dtype, unmoved=unmoved),)))) == fires


@pytest.mark.parametrize(
    ("scaling", "fires"),
    [(LossScale(1.0, 100, 90, 0.9), 1), (LossScale(1.0, 100, 50, 0.1), 0), (LossScale(1.0, 9, 9, math.nan), 1)],
)
def test_half_of_the_steps_left_out(scaling, fires):
    assert len(precision_loss(replace(record(), loss_scale=scaling))) == fires


def test_info_where_the_run_learns_and_a_warning_where_some_of_it_is_learned():
    run = replace(record(), half=(half(1.0),))
    severities = [
        precision_loss(told)[0].severity for told in (run, replace(run, chance=0.25), replace(run, loss=LEARNT))
    ]
    assert severities == ["critical", "warning", "info"]


@pytest.mark.parametrize(("chance", "severity"), [(0.5, "warning"), (1.0, "info")])
def test_weights_in_16_bits_are_graver_while_a_fifth_is_left_to_learn(chance, severity):
    (finding,) = precision_loss(replace(record(), chance=chance, updates=(updates(dtype="bfloat16", unmoved=0.9),)))
    assert finding.severity == severity


def test_what_it_says():
    (finding,) = precision_loss(replace(record(), half=(half(0.6), half(0.9, 2e-6, "net.2"), half(0.1, module="head"))))
    assert finding.where == "net.2"
    assert finding.summary == (
        "Of the gradient that comes back to net.2 in float16, 90% is rounded to 0 that a larger loss would save; "
        "so it is in 2 of 3 modules. A loss scaler (torch.amp.GradScaler) multiplies the loss and divides the "
        "gradient again: here 65536 would leave room. In this run the loss hardly falls."
    )
    (finding,) = precision_loss(replace(record(), updates=(updates(dtype="bfloat16", unmoved=0.97),)))
    assert finding.where == "head"
    assert finding.summary == (
        "The weights are kept in bfloat16: of head.weight, 97% of the entries that have a gradient are the same "
        "after a step as before it: the change is lost in rounding. So it is with 1 of 1 matrices. Weights kept "
        "in float32, with autocast for speed, would not. In this run the loss hardly falls."
    )
    (finding,) = precision_loss(replace(record(), loss_scale=LossScale(2.0**-4, 400, 390, 0.98)))
    assert "has left out 98% of the steps" in finding.summary
