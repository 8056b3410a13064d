"""What every task promises, whatever it is."""

import dataclasses
import math

import pytest
import torch

from longreach.errors import ArgumentError
from longreach.tasks import TASKS, Task, make, named

CASES = [
    *(("adding", {"length": 30, "variant": v}) for v in ("le", "hochreiter", "pascanu", "bai", "skip-rnn")),
    *(("multiplication", {"length": 30, "variant": v}) for v in ("hochreiter", "pascanu")),
    *((f"temporal-order{n}", {"length": 20, "variant": v}) for n in ("", "-3") for v in ("hochreiter", "pascanu")),
    ("temporal-order", {"length": 10, "longest": 40}),
    ("copying", {"length": 12}),
    ("memorisation", {"length": 12}),
    ("memorisation", {"length": 0, "positions": 3, "values": 2}),
    ("permutation", {"length": 12}),
    *(("two-sequence", {"length": 20, "variant": v}) for v in ("3a", "3b", "3c")),
    *(("long-lag", {"length": 8, "variant": v}) for v in ("2a", "2b", "2c")),
    ("reber", {}),
    ("delayed-xor", {"length": 12, "delay": 3}),
    ("time-indicator", {"length": 9}),
    ("narma10", {"length": 30}),
    ("mackey-glass", {"length": 30}),
    ("digits", {}),
    ("digits", {"permuted": True, "part": "test"}),
]


@pytest.fixture(params=CASES, ids=lambda case: " ".join([case[0], *(str(value) for value in case[1].values())]))
def task(request, mnist):
    name, fields = request.param
    return named(name)(**fields, **({"folder": mnist} if name == "digits" else {}))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def oracle(task, batch):
    """The answers of whoever knows them: y itself, or all scores on it."""
    if batch.y.is_floating_point():
        return batch.y.clone()
    return torch.where(torch.nn.functional.one_hot(batch.y, task.outputs) == 1, 0.0, -50.0)


def test_all_tasks_are_tried_here():
    assert {name for name, _ in CASES} == {task.name for task in TASKS}
    assert len({task.name for task in TASKS}) == len(TASKS)


def test_a_batch_is_what_the_task_says(task):
    x, y, asked, resets = task.draw(7, generator())
    assert x.shape == (7, asked.shape[1], task.inputs)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    assert asked.any(dim=1).all()
    assert len(y) == asked.sum()
    assert resets is None
    if y.is_floating_point():
        assert y.shape[1] == task.outputs
    else:
        assert y.dtype == torch.int64
        assert (y >= 0).all()
        assert (y < task.outputs).all()


def test_behind_the_last_answer_there_is_nothing(task):
    x, _, asked, _ = task.draw(50, generator())
    behind = asked.flip(1).cumsum(dim=1).flip(1) == 0  # no answer from here on
    assert not x[behind].any()
    assert asked[:, -1].any()  # and no step too many


def test_the_generator_decides_everything(task):
    torch.manual_seed(1)
    first, source = task.draw(5, generator(3)), generator(3)
    torch.manual_seed(2)
    again, further, other = task.draw(5, source), task.draw(5, source), task.draw(5, generator(4))
    for a, b in zip(first, again, strict=True):
        assert a is b is None or torch.equal(a, b)
    for another in (further, other):
        assert another.x.shape != first.x.shape or not torch.equal(another.x, first.x)


def test_whoever_knows_the_answers_is_never_wrong(task):
    batch = task.draw(40, generator())
    if task.name == "two-sequence" and task.variant == "3c":
        batch = batch._replace(y=task._target(batch.x[:, 0, 0] > 0))  # the targets without their noise
    answer = oracle(task, batch)
    if task.name != "reber":  # there, what may come instead must score as high
        assert not task.wrong(answer, batch).any()
        assert task.loss(answer, batch.y) < 1e-12


def test_only_the_sequence_that_errs_is_wrong(task):
    batch = task.draw(12, generator())
    if task.name == "reber" or (task.name == "two-sequence" and task.variant == "3c"):
        return
    answer = oracle(task, batch)
    last = batch.asked.sum(dim=1).cumsum(dim=0)[4] - 1  # the fifth sequence's last answer
    answer[last] = answer[last] + (5 if answer[last, 0] < 1 else -5) if batch.y.is_floating_point() else -answer[last]
    assert task.wrong(answer, batch).tolist() == [place == 4 for place in range(12)]


def test_what_is_no_number_is_wrong(task):
    batch = task.draw(5, generator())
    if batch.y.is_floating_point():
        assert task.wrong(torch.full_like(batch.y, math.nan), batch).all()


def test_a_loss_has_a_gradient(task):
    batch = task.draw(5, generator())
    answer = torch.randn(len(batch.y), task.outputs, requires_grad=True)
    task.loss(answer, batch.y).backward()
    assert answer.grad is not None
    assert answer.grad.isfinite().all()
    assert answer.grad.any()


def test_one_sequence_is_a_batch_too(task):
    batch = task.draw(1, generator())
    assert len(batch.x) == len(batch.asked) == 1
    assert task.wrong(oracle(task, batch), batch).shape == (1,)


def test_what_it_says_of_itself(task):
    assert 0 < task.allowed <= 0.03
    assert task.chance > 0
    assert task.criterion
    assert task.source
    for figure in task.published:
        assert figure.source
        assert figure.net
        assert figure.reached
        assert figure.variant in ("", "in order", "permuted") or type(task)(
            length=figure.length, variant=figure.variant
        )
    names = [field.name for field in dataclasses.fields(task)]
    assert hash(task) == hash(type(task)(**{field: getattr(task, field) for field in names}))


def test_named_knows_every_name_and_lists_them_where_it_does_not():
    for task in TASKS:
        assert named(task.name) is task
        assert issubclass(task, Task)
    with pytest.raises(ArgumentError, match=r"task: expected one of adding, multiplication, .*; got 'addition'"):
        named("addition")


def test_make_takes_the_fields_of_the_task_and_no_others():
    assert make("delayed-xor", delay=3) == named("delayed-xor")(length=100, delay=3)
    with pytest.raises(ArgumentError, match="copying: expected fields among length; got 'variant'"):
        make("copying", variant="le")
    with pytest.raises(ArgumentError, match="got 'copy'"):
        make("copy")


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("adding", {"length": 100, "variant": "hinton"}, "adding: variant: expected one of le, hochreiter, .*'hinton'"),
        ("adding", {"length": 21, "variant": "hochreiter"}, "adding: length: expected at least 22 steps .* got 21"),
        ("adding", {"length": 1}, "at least 2 steps"),
        ("multiplication", {"length": 9}, "at least 10 steps"),
        ("multiplication", {"length": 100, "variant": "le"}, "one of hochreiter, pascanu, got 'le'"),
        ("temporal-order", {"length": 9}, "at least 10 steps"),
        ("temporal-order", {"length": 50, "longest": 40}, "longest: expected .* from 50 on, got 40"),
        ("temporal-order-3", {"length": 50, "variant": "hochreiter", "longest": 60}, "longest: expected None"),
        ("copying", {"length": 0}, "at least 1 step"),
        ("memorisation", {"length": -1}, "0 steps of silence or more"),
        ("memorisation", {"length": 5, "values": 1}, "at least 2 symbols"),
        ("memorisation", {"length": 5, "positions": 0}, "at least 1 symbol"),
        ("permutation", {"length": 0}, "at least 1 step"),
        ("two-sequence", {"length": 3}, "more than the 3 that tell the class"),
        ("two-sequence", {"length": 30, "informative": 0}, "at least 1 input"),
        ("two-sequence", {"length": 30, "variant": "3d"}, "one of 3a, 3b, 3c"),
        ("long-lag", {"length": 1}, "at least 2"),
        ("long-lag", {"length": 10, "variant": "2"}, "one of 2a, 2b, 2c"),
        ("long-lag", {"length": 10, "distractors": 5}, "None, or in variant 2c"),
        ("reber", {"length": 8}, "at least the 9 symbols"),
        ("delayed-xor", {"length": 20}, "more than twice the delay, 20"),
        ("delayed-xor", {"length": 20, "delay": 0}, "at least 1 step"),
        ("time-indicator", {"length": 1}, "a lag of at least 2"),
        ("time-indicator", {"length": 40, "noise": 1.0}, "between 0 and 1"),
        ("narma10", {"length": 0}, "at least 1 step"),
        ("mackey-glass", {"length": 0}, "at least 1 step"),
        ("mackey-glass", {"length": 10, "horizon": 0}, "at least 1 step ahead"),
        ("digits", {}, "folder: expected the folder that holds MNIST's four files"),
        ("digits", {"length": 100}, "784"),
        ("digits", {"part": "dev"}, "one of train, validation, test"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(name, fields, message):
    with pytest.raises(ArgumentError, match=message):
        named(name)(**fields)
