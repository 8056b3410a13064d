"""Between samples nobody waits for a device: torch itself raises where somebody does."""

import pytest
import torch
from torch import nn

from longreach.watching import Watch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_no_wait_between_samples(monkeypatch):
    device = torch.device("cuda")
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    x = torch.randn(32, 8, device=device)

    def step():
        optimizer.zero_grad()
        net(x).square().mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    with Watch(net, optimizer, budget=1.0) as watch:
        for _ in range(3):
            step()
        monkeypatch.setattr(watch._sampler, "due", lambda *_, **__: None)
        step()  # the last that was sampled
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(50):
                watch._written = 0.0  # as if a second had passed
                step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert not [note for note in watch.store.notes() if "stopped" in note or "could not" in note]
    record = watch.record()
    assert [loss for _, loss in watch.store.losses()][-1] > 0
    assert len(watch.store.losses()) == 54
    assert record.clipping is not None
    assert record.gradients is not None
    assert len(record.gradients.steps) > 3
