"""The stack of layers and directions, of scans whose arithmetic can be seen through."""

import torch
from torch.nn import functional

from longreach.nn.stack import apply_stack


def adds(number):
    """A scan that adds `number` to its rows, and to its state."""

    def scan(x, state, *, reverse, probe, **steps):
        calls.append((number, reverse, probe, steps))
        return x + number, tuple(entry + number for entry in state)

    calls = scan.calls = []
    return scan


def test_each_layer_is_given_what_the_one_below_gives():
    x, state = torch.zeros(4, 2), (torch.zeros(2, 3, 2), torch.ones(2, 3, 5))
    output, (h, c) = apply_stack([[adds(1)], [adds(10)]], x, state)
    assert torch.equal(output, torch.full((4, 2), 11.0))
    assert torch.equal(h[:, 0, 0], torch.tensor([1.0, 10.0]))
    assert torch.equal(c[:, 0, 0], torch.tensor([2.0, 11.0]))


def test_both_directions_see_the_same_rows_and_lie_side_by_side():
    x, state = torch.zeros(4, 2), (torch.zeros(2, 3, 2),)
    forward, backward = adds(1), adds(5)
    output, _ = apply_stack([[forward, backward]], x, state, batch_sizes=None, resets=None)
    assert torch.equal(output, torch.tensor([1.0, 1.0, 5.0, 5.0]).expand(4, 4))
    assert forward.calls == [(1, False, None, {"batch_sizes": None, "resets": None})]
    assert backward.calls == [(5, True, None, {"batch_sizes": None, "resets": None})]


def test_every_place_has_its_probe():
    scans = [[adds(1), adds(2)], [adds(3), adds(4)]]
    apply_stack(scans, torch.zeros(4, 2), (torch.zeros(4, 3, 2),), probes=["a", "b", "c", "d"])
    assert [scan.calls[0][2] for layer in scans for scan in layer] == ["a", "b", "c", "d"]


def test_residual_adds_the_input_from_the_second_layer_on():
    x, state = torch.zeros(4, 2), (torch.zeros(3, 3, 2),)
    output, _ = apply_stack([[adds(1)], [adds(10)], [adds(100)]], x, state, residual=True)
    # 1, then 1 + (1 + 10), then 12 + (12 + 100)
    assert torch.equal(output, torch.full((4, 2), 124.0))


def test_dropout_falls_between_layers_only():
    x, state = torch.ones(50, 4), (torch.zeros(2, 3, 4),)
    torch.manual_seed(1)
    output, _ = apply_stack([[adds(0)], [adds(0)]], x, state, dropout=0.5)
    torch.manual_seed(1)
    assert torch.equal(output, functional.dropout(x, 0.5))
    torch.manual_seed(1)
    assert torch.equal(apply_stack([[adds(0)]], x, (state[0][:1],), dropout=0.5)[0], x)
