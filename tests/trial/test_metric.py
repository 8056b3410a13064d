"""The number that is compared."""

import math

import pytest

from longreach.trial.metric import Metric, end_of


@pytest.mark.parametrize(
    ("name", "text", "numbers"),
    [
        ("acc", "step 1 acc 0.5 loss 2\nstep 2 acc 0.75 loss 1\n", [0.5, 0.75]),
        ("val_loss", "val_loss: 1e-3, loss: 7", [1e-3]),
        ("loss", "val_loss=3 loss=4 loss4 loss is 5", [4.0, 5.0]),
        ("accuracy", '{"accuracy": .25, "n": 3}', [0.25]),
        ("held-out", "held-out 12% of 30", [12.0]),
        ("Loss", "loss nan\nLOSS -inf", [math.nan, -math.inf]),
        ("test loss", "epoch 3: test loss 0.25 accuracy 1", [0.25]),
        ("f1", "nothing of it", []),
    ],
)
def test_reads_what_a_script_prints(tmp_path, name, text, numbers):
    (tmp_path / "out").write_text(text)
    found = Metric.named(name).read(tmp_path / "out", tmp_path / "none")
    assert found == pytest.approx(numbers, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "larger"),
    [("loss", False), ("val_acc", True), ("perplexity", False), ("AUC", True), ("accuracy_loss", False)],
)
def test_knows_which_way_is_better(name, larger):
    assert Metric.named(name).larger is larger


def test_the_end_is_the_last_tenth():
    assert end_of([(step, float(step >= 90)) for step in range(100)], 100) == 1.0
    assert end_of([(step, float(step >= 90)) for step in range(100)], 100) == end_of([(0, 0.0), (90, 1.0)], 100)


def test_the_end_has_ten_steps_at_least():
    assert end_of([(step, float(step)) for step in range(20)], 20) == pytest.approx(14.5)


def test_losses_that_stand_for_several_steps_count_as_many():
    assert end_of([(0, 1.0), (95, 3.0)], 100) == pytest.approx(2.0)


def test_no_loss_is_nan():
    assert math.isnan(end_of([], 0))
