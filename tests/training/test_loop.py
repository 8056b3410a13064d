"""The loop: what a run ends in does not depend on where it was stopped, nor on batches that are no data."""

import os
import signal

import pytest
import torch
from tests.training.small import Heard, Killed, Killing, adding, assert_same, loop_of, planned, resumed, words

from longreach.nn.cell import entries
from longreach.remedies import undo
from longreach.training import loop as looping
from longreach.training.loop import Interrupted
from longreach.training.network import detached
from longreach.training.trouble import Diverged

PROBLEMS = {"stream": words, "task": lambda folder: adding()}
NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=PROBLEMS)
def problem(request, tmp_path):
    return PROBLEMS[request.param](tmp_path)


# Going on


@pytest.mark.parametrize("cell", ["lstm", "min-gru+phases"])
@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(problem, tmp_path, monkeypatch, step, cell):
    monkeypatch.setattr(looping, "SOUND_EVERY", 4)
    clean = loop_of(problem, tmp_path / "clean", cell=cell)
    clean.run()
    with pytest.raises(Killed):
        loop_of(problem, tmp_path / "killed", Killing(step + 1), cell=cell, checkpoint_every=0.0).run()
    other = resumed(problem, tmp_path / "killed", cell=cell)
    assert other.step == step
    other.run()
    assert_same(clean, other)
    names = ["model.safetensors", "checkpoints/000000012/weights.safetensors"]
    assert all((clean.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in names)


class Breaking(Heard):
    """Breaks the weights after an update, once."""

    def __init__(self, step, poison):
        super().__init__()
        self.step, self.poison = step, poison

    def updated(self, step, loss, length, lr):
        super().updated(step, loss, length, lr)
        if step == self.step and not self.events:
            self.loop.inner.head.weight.data.fill_(self.poison)

    def of(self, loop):
        self.loop = loop
        return loop


def test_a_run_goes_back_to_the_same_moment_whether_it_was_stopped_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(looping, "SOUND_EVERY", 4)
    clean = (told := Breaking(7, NAN)).of(loop_of(adding(), tmp_path / "clean", told))
    clean.run()
    with pytest.raises(Killed):
        loop_of(adding(), tmp_path / "killed", Killing(6), checkpoint_every=0.0).run()
    other = (told := Breaking(7, NAN)).of(resumed(adding(), tmp_path / "killed", told))
    other.run()
    assert [event.why[:9] for event in told.events if event.what == "went back"] == ["to step 4"]
    assert_same(clean, other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_that_goes_on_where_it_was(problem, tmp_path, number):
    class Signalling(Heard):
        def updated(self, step, *_):
            if step == 7:
                os.kill(os.getpid(), number)

    clean = loop_of(problem, tmp_path / "clean")
    clean.run()
    with pytest.raises(Interrupted, match=r"at step 7; go on with `longreach train --resume .*stopped`") as stop:
        loop_of(problem, tmp_path / "stopped", Signalling()).run()
    assert stop.value.code == 128 + number
    other = resumed(problem, tmp_path / "stopped")
    assert other.step == 7
    other.run()
    assert_same(clean, other)


def test_a_run_that_was_over_is_over(problem, tmp_path):
    loop = loop_of(problem, tmp_path / "run")
    loop.run()
    other = resumed(problem, tmp_path / "run", told := Heard())
    other.run()
    assert_same(loop, other)
    assert not told.losses


def test_patience_ends_a_run_as_early_in_two_legs_as_in_one(tmp_path):
    own = {"updates": 40, "judge_every": 2, "patience": 3, "lr": 0.0}  # nothing is learned: the first judgement stays
    clean = loop_of(adding(), tmp_path / "clean", **own)
    clean.run()
    assert clean.step == 2 * (1 + 3)
    with pytest.raises(Killed):
        loop_of(adding(), tmp_path / "killed", Killing(6), checkpoint_every=0.0, **own).run()
    other = resumed(adding(), tmp_path / "killed", **own)
    other.run()
    assert_same(clean, other)


STARTED_LATE = ["forget-bias", "flossing"]
DRAWING = ["variational-dropout", "zoneout", "fast-dropout"]


@pytest.mark.parametrize("remedy", [*STARTED_LATE, *DRAWING, "random-steps", "rmsprop", "nesterov"])
def test_a_run_with_remedies_goes_on_too(tmp_path, remedy):
    own = {"remedies": (remedy,), "updates": 6}
    clean = loop_of(adding(), tmp_path / "clean", **own)
    clean.run()
    with pytest.raises(Killed):
        loop_of(adding(), tmp_path / "killed", Killing(4), checkpoint_every=0.0, **own).run()
    other = resumed(adding(), tmp_path / "killed", **own)
    other.run()
    assert_same(clean, other)
    undo(None)


# Broken batches


@pytest.mark.parametrize("poison", [("x", NAN), ("x", INF), ("y", NAN), ("y", INF), ("y", 1e30)])
@pytest.mark.parametrize("numbers", [(0,), (0, 1, 2), (5, 9), (3, 4, 5, 6, 7, 8)])
def test_batches_that_are_no_data_leave_no_trace(tmp_path, numbers, poison):
    """The weights are those of a twin that has never seen these batches."""
    problem = adding(dict.fromkeys(numbers, poison[1]))
    problem.of = poison[0]
    hurt, twin = loop_of(problem, tmp_path / "hurt", told := Heard()), loop_of(adding(), tmp_path / "twin")
    update = twin._update

    def without(asked):
        twin.step += twin.step in numbers
        if twin.step not in numbers:
            update(asked)

    twin._update = without
    hurt.run()
    twin.run()
    assert all(torch.equal(one, other) for one, other in zip(hurt.parameters, twin.parameters, strict=True))
    assert [event.step - 1 for event in told.events if event.what == "skipped"] == list(numbers)
    assert hurt.trouble.returns == 0


@pytest.mark.parametrize("cell", ["lstm", "rnn", "min-gru+phases"])
def test_a_number_that_is_far_too_large_does_no_harm_even_where_gates_take_it(tmp_path, cell):
    loop = loop_of(adding(dict.fromkeys(range(0, 20, 4), 1e30)), tmp_path / "run", cell=cell, updates=20)
    loop.run()
    state = [value for held in loop.optimizer.state.values() for value in held.values()]
    assert all(value.isfinite().all() for value in (*loop.parameters, *state))
    assert loop.best < 1


def test_a_state_that_is_poisoned_alone_is_not_carried_on(tmp_path, monkeypatch):
    """Loss and gradient are sound; what the next window would start from is not."""
    loop = loop_of(words(tmp_path), tmp_path / "run", told := Heard())

    def poisoned(state):
        state = detached(state)
        if loop.step == 4:
            entries(state)[0][0, 0] = NAN
        return state

    monkeypatch.setattr(looping, "detached", poisoned)
    loop.run()
    assert [(event.step, event.why) for event in told.events] == [(5, "the state to carry on is not finite")]
    assert all(entry.isfinite().all() for entry in entries(loop.state))


@pytest.mark.parametrize("poison", [NAN, 1e20])
def test_broken_weights_go_back_to_sound_ones_and_on_in_smaller_steps(tmp_path, monkeypatch, poison):
    monkeypatch.setattr(looping, "SOUND_EVERY", 5)
    told = Breaking(10, poison)  # just when the next moment to go back to is due
    loop = told.of(loop_of(adding(), tmp_path / "run", told, updates=30))
    loop.run()
    assert [event.what for event in told.events] == ["skipped"] * 3 + ["went back"]
    assert told.events[-1].why == "to step 5; steps are 0.5 of their size from here"
    assert all(own.isfinite().all() for own in loop.parameters)
    assert loop.trouble.pace == 0.5


def test_a_run_that_breaks_again_and_again_ends_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(looping, "SOUND_EVERY", 1)

    class AlwaysBreaking(Heard):
        def updated(self, step, loss, length, lr):
            loop.inner.head.weight.data.fill_(NAN)

    loop = loop_of(adding(), tmp_path / "run", AlwaysBreaking(), updates=100)
    with pytest.raises(Diverged, match=r"training broke 11 times, .* step 44: the loss is nan.* --lr ten"):
        loop.run()


def test_data_that_never_are_any_end_a_run_with_a_reason(tmp_path):
    loop = loop_of(adding(dict.fromkeys(range(300), NAN)), tmp_path / "run", updates=300, judge_every=300)
    with pytest.raises(Diverged, match="100 batches in a row could not be learned from, the last one at step 100"):
        loop.run()


# A full disk


def test_training_goes_on_where_the_disk_takes_nothing(tmp_path, monkeypatch):
    problem = adding()
    clean = loop_of(problem, tmp_path / "clean")
    clean.run()
    loop = loop_of(problem, tmp_path / "full", told := Heard(), checkpoint_every=0.0)
    real = os.fsync

    def full(descriptor):
        if loop.step in range(3, 9):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    loop.run()
    assert told.sentences == ["no checkpoint could be written at step 3: No space left on device; training goes on"]
    assert_same(clean, loop)
    assert (loop.folder / "model.safetensors").read_bytes() == (clean.folder / "model.safetensors").read_bytes()


def test_a_disk_that_stays_full_leaves_earlier_checkpoints_and_goes_on_later(tmp_path, monkeypatch):
    problem = adding()
    clean = loop_of(problem, tmp_path / "clean")
    clean.run()
    with pytest.raises(Killed):
        loop_of(problem, tmp_path / "full", Killing(4), checkpoint_every=0.0).run()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        late = resumed(problem, tmp_path / "full")
        late.run()
        assert late.deliver() == "No space left on device"
        assert late.best_weights() == (clean.folder / "model.safetensors").read_bytes()
    other = resumed(problem, tmp_path / "full")
    assert other.step == 3
    other.run()
    assert_same(clean, other)


def test_the_plan_is_what_the_loop_goes_by(tmp_path):
    loop = loop_of(adding(), tmp_path / "run", updates=9)
    loop.run()
    plan = planned(adding(), updates=9)
    assert loop.optimizer.param_groups[0]["lr"] == pytest.approx(plan.lr * plan.pace(8))
    assert loop.step == 9
    assert torch.isfinite(torch.tensor(loop.best))
