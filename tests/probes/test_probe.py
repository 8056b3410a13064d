"""Probes on sampled steps: called in order, and taken off when they fail, with the training none the wiser."""

import torch
from torch import nn

from longreach.probes import observe
from longreach.probes.probe import Probe
from longreach.watching import Watch


class Diary(Probe):
    """Writes down what it was told."""

    told: list[str]

    def opened(self, look):
        self.told.append("opened")

    def saw(self, look, module, arguments, results):
        self.told.append(type(module).__name__)

    def before_backward(self, look, root, gradient):
        self.told.append(f"before backward {root.dim()}")

    def after_backward(self, look):
        self.told.append("after backward")

    def before_step(self, look, optimizer):
        self.told.append("before step")

    def after_step(self, look, optimizer):
        self.told.append("after step")

    def closed(self, look):
        self.told.append("closed")


class Clumsy(Probe):
    """Falls over."""

    def after_backward(self, look):
        raise ZeroDivisionError("no step to divide by")


def train(steps=1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watch(model, optimizer) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
    return model, watch


def test_the_moments_come_in_order(monkeypatch):
    Diary.told = []
    monkeypatch.setattr(observe, "PROBES", (Diary,))
    train()
    first = Diary.told[: Diary.told.index("closed") + 1]
    assert first == [
        *("opened", "Linear", "Tanh", "Linear", "Sequential", "before backward 0", "after backward"),
        *("before step", "after step", "closed"),
    ]


def test_a_probe_that_fails_is_taken_off_alone(monkeypatch):
    Diary.told = []
    monkeypatch.setattr(observe, "PROBES", (Clumsy, Diary))
    watched, watch = train(3)
    monkeypatch.setattr(observe, "PROBES", ())
    plain, _ = train(3)
    assert "after backward" in Diary.told
    (note,) = watch.store.notes()
    assert note == "clumsy could not be followed beyond step 0: ZeroDivisionError: no step to divide by"
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
