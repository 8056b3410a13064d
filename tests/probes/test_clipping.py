"""Clipping, counted at every call."""

import torch

from longreach.probes.clipping import ClipCounter
from longreach.quantities.clipping import NORM, Clip
from longreach.store import Store


class DTensor(torch.Tensor):
    """Named as torch's own, whose numbers nobody has alone."""

    def item(self):
        raise AssertionError("to read it would ask the other processes")

    @property
    def data(self):
        return self


def test_a_norm_that_is_spread_over_processes_is_not_read():
    counter, store = ClipCounter(), Store.create(None)
    counter.heard_norm(0, 1.0, torch.tensor(3.0).as_subclass(DTensor))
    counter.write(store, wait=True)
    assert store.samples(Clip) == {}
    counter.heard_norm(1, 1.0, torch.tensor(3.0))
    counter.write(store, wait=True)
    assert [clip.calls for clip in store.samples(Clip)[NORM]] == [1]
