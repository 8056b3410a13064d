"""The network of `longreach train`: stacks, windows and states."""

import pytest
import torch

from longreach.errors import ArgumentError
from longreach.nn.cell import entries
from longreach.training.network import CELLS, Architecture, Network, detached
from longreach.training.problem import Shape

BATCH, TIME = 3, 12


def network_of(cell: str, *, symbols: bool = False, layers: int = 1) -> Network:
    torch.manual_seed(0)
    return Network(Architecture(Shape(5, 4, symbols), cell, hidden=8, layers=layers, lag=6)).double()


def data(symbols: bool = False):
    torch.manual_seed(1)
    x = torch.randint(5, (BATCH, TIME, 1)) if symbols else torch.randn(BATCH, TIME, 5, dtype=torch.float64)
    return x, torch.rand(BATCH, TIME) < 0.5


@pytest.mark.parametrize("cell", [*(one.name for one in CELLS), "min-gru+phases"])
@pytest.mark.parametrize("symbols", [False, True])
def test_a_window_in_two_parts_is_the_window(cell, symbols):
    network, (x, asked) = network_of(cell, symbols=symbols, layers=2), data(symbols)
    whole, _ = network(x, asked)
    parted, carried = network(x, asked, hop=5)
    torch.testing.assert_close(parted, whole)
    _, ended = network(x[:, :5], asked[:, :5])
    for there, here in zip(entries(carried), entries(ended), strict=True):
        torch.testing.assert_close(there, here)


def test_the_carried_state_goes_on_where_it_was():
    network, (x, asked) = network_of("min-gru+phases"), data()
    whole, _ = network(x, asked)
    _, state = network(x[:, :7], asked[:, :7])
    rest, _ = network(x[:, 7:], asked[:, 7:], detached(state))
    later = asked.clone()
    later[:, :7] = False
    torch.testing.assert_close(rest, network(x, later)[0])
    assert not any(entry.requires_grad for entry in entries(detached(state)))
    assert len(whole) == asked.sum()


def test_answers_come_sequence_after_sequence():
    network, (x, asked) = network_of("lstm"), data()
    answers, _ = network(x, asked)
    alone = [network(x[row : row + 1], asked[row : row + 1])[0] for row in range(BATCH)]
    torch.testing.assert_close(answers, torch.cat(alone))


def test_stacks_side_by_side_are_two_networks_over_the_same_input():
    both, (x, asked) = network_of("min-gru+phases"), data()
    shown = torch.cat([stack(x)[0] for stack in both.stacks], dim=2)
    torch.testing.assert_close(both(x, asked)[0], both.head(shown[asked]))
    assert [stack.hidden_size for stack in both.stacks] == [4, 4]


def test_a_reset_forgets():
    network, (x, asked) = network_of("min-gru+phases"), data()
    resets = torch.zeros(BATCH, TIME, dtype=torch.bool)
    resets[:, 4] = True
    later = asked.clone()
    later[:, :4] = False
    torch.testing.assert_close(network(x, later, resets=resets)[0], network(x[:, 4:], later[:, 4:])[0])


def test_a_cell_that_does_not_exist():
    with pytest.raises(ArgumentError, match="cell 'min-gro': expected one of lstm, gru, min-gru"):
        network_of("lstm+min-gro")
