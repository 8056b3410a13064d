"""Windows of a stream against a cutter in plain Python, and against one pass over the whole of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from longreach.errors import ArgumentError, DataError
from longreach.training.network import Architecture, Network, detached
from longreach.training.problem import Shape, Sizes
from longreach.training.text.stream import Stream


def stream_of(length, *starts, ahead=1, marks=()):
    return Stream(length, np.array([0, *starts]), ahead, np.array(marks, dtype=np.int64))


def naive_window(stream, number, sizes):
    """(position, asked, reset) of every step, from the definition: rings, and what each window is for."""
    hops = stream.length // (sizes.batch * sizes.hop)
    ring = hops * sizes.hop
    table = []
    for row in range(sizes.rank, sizes.batch, sizes.world):
        begin = stream.length - (sizes.batch - row) * ring
        steps = []
        for back in range(sizes.window, 0, -1):
            time = ((number + 1) * sizes.hop - back) % ring
            position = begin + time
            beyond = [start for start in stream.starts if start > position]
            end = min(beyond, default=stream.length)
            asked = back <= sizes.hop and position + stream.ahead < end
            steps.append((position, asked, time == 0 or position in stream.starts or position in stream.marks))
        table.append(steps)
    return table


def as_table(window):
    resets = np.zeros_like(window.asked) if window.resets is None else window.resets
    return [
        list(zip(*(part[row].tolist() for part in (window.positions, window.asked, resets)), strict=True))
        for row in range(len(window.positions))
    ]


@st.composite
def cut(draw):
    length = draw(st.integers(4, 90))
    starts = sorted(draw(st.sets(st.integers(1, length - 1), max_size=8)))
    marks = sorted(draw(st.sets(st.integers(0, length - 1), max_size=8)))
    batch = draw(st.integers(1, 4))
    hop = draw(st.integers(1, length // batch))
    window = hop + draw(st.integers(0, 40))
    world = draw(st.integers(1, batch))
    sizes = Sizes(batch, window, hop, rank=draw(st.integers(0, world - 1)), world=world)
    return stream_of(length, *starts, ahead=draw(st.integers(1, 3)), marks=marks), sizes


@given(cut(), st.integers(0, 50))
@settings(max_examples=300, deadline=None)
def test_windows_are_those_of_the_naive_cutter(case, number):
    stream, sizes = case
    window = stream.window(number, sizes)
    assert as_table(window) == naive_window(stream, number, sizes)
    assert window.resets is None or window.resets.any()


def test_the_example_of_the_docstring():
    stream, sizes = stream_of(21), Sizes(batch=2, window=8, hop=5)
    assert stream.window(0, sizes).positions[0].tolist() == [8, 9, 10, 1, 2, 3, 4, 5]
    assert stream.window(1, sizes).positions[1].tolist() == [13, 14, 15, 16, 17, 18, 19, 20]
    assert stream.window(2, sizes).positions.tolist() == stream.window(0, sizes).positions.tolist()
    assert stream.window(1, sizes).resets is None


@given(cut())
@settings(deadline=None)
def test_one_round_asks_every_step_of_the_rows_once(case):
    stream, sizes = case
    asked = [
        stream.window(number, Sizes(sizes.batch, sizes.window, sizes.hop, rank=rank, world=sizes.world))
        for number in range(stream.hops(sizes))
        for rank in range(sizes.world)
    ]
    found = sorted(int(p) for window in asked for p in window.positions[window.asked])
    front = stream.length - sizes.batch * stream.hops(sizes) * sizes.hop
    ends = [*stream.starts[1:].tolist(), stream.length]
    silent = {p for end in ends for p in range(end - stream.ahead, end)}
    assert front < sizes.batch * sizes.hop
    assert found == [p for p in range(front, stream.length) if p not in silent]


@given(cut(), st.integers(1, 20))
@settings(deadline=None)
def test_judging_asks_every_step_once_on_one_process_or_several(case, span):
    stream, sizes = case
    asked, counts = [], []
    for rank in range(sizes.world):
        windows = list(stream.windows(Sizes(sizes.batch, span, span, rank=rank, world=sizes.world)))
        counts.append(len(windows))
        asked += [int(p) for window in windows for p in window.positions[window.asked]]
    ends = [*stream.starts[1:].tolist(), stream.length]
    silent = {p for end in ends for p in range(end - stream.ahead, end)}
    assert sorted(asked) == [p for p in range(stream.length) if p not in silent]
    assert len(asked) == stream.answers
    assert len(set(counts)) == 1  # processes wait for each other


@given(cut(), st.data())
@settings(deadline=None)
def test_a_part_is_counted_from_its_own_start(case, data):
    stream, _ = case
    begin = data.draw(st.integers(0, stream.length - 1))
    end = data.draw(st.integers(begin + 1, stream.length))
    part = stream.part(begin, end)
    assert part.length == end - begin
    assert part.starts.tolist() == [0, *(s - begin for s in stream.starts.tolist() if begin < s < end)]
    assert part.marks.tolist() == [m - begin for m in stream.marks.tolist() if begin <= m < end]
    assert part.documents.sum() == part.length


# What the network sees


def network(cell, layers=2):
    return Network(Architecture(Shape(3, 2), cell, 5, layers, lag=8)).double()


def shown(numbers, window):
    resets = None if window.resets is None else torch.from_numpy(window.resets)
    return numbers[torch.from_numpy(window.positions)], torch.from_numpy(window.asked), resets


def by_position(stream, windows, model, numbers, hop=None):
    """The answer at every asked step, the state being carried from window to window."""
    answers, state = torch.full((stream.length, 2), torch.nan).double(), None
    for window in windows:
        found, carried = model(*_ordered(shown(numbers, window), state), hop=hop)
        answers[torch.from_numpy(window.positions[window.asked])] = found
        state = detached(carried)
    return answers


def _ordered(parts, state):
    x, asked, resets = parts
    return x, asked, state, resets


def in_one_pass(model, numbers, starts, end):
    """Every document by itself, from zeros."""
    found = []
    for begin, stop in zip(starts, [*starts[1:], end], strict=True):
        x = numbers[begin:stop][None]
        found.append(model(x, torch.ones(x.shape[:2], dtype=torch.bool))[0])
    return torch.cat(found)


@pytest.mark.parametrize("cell", ["lstm", "gru", "linear-recurrent", "rnn"])
@pytest.mark.parametrize(("hop", "window"), [(5, 5), (5, 8), (2, 11), (7, 30)])
@torch.no_grad()
def test_carried_states_are_those_of_one_pass(cell, hop, window):
    model, numbers = network(cell), torch.randn(71, 3).double()
    stream, sizes = stream_of(71, 20, 50, marks=[23]), Sizes(2, window, hop)
    rounds = stream.hops(sizes)
    ring = rounds * hop
    for first in (0, rounds):  # the second round is as good as the first
        windows = [stream.window(number, sizes) for number in range(first + rounds)]
        answers = by_position(stream, windows, model, numbers, hop)
        for row in (0, 1):
            begin = 71 - (2 - row) * ring
            starts = [begin, *(s for s in (20, 23, 50) if begin < s < begin + ring)]
            expected = in_one_pass(model, numbers, starts, begin + ring)
            asked = ~answers[begin : begin + ring].isnan().any(dim=1)
            assert_close(answers[begin : begin + ring][asked], expected[asked], rtol=1e-12, atol=1e-12)
            assert asked.sum() >= ring - 3  # all but the last steps of documents


@torch.no_grad()
def test_judging_in_one_row_is_one_pass():
    model, numbers = network("lstm"), torch.randn(40, 3).double()
    stream = stream_of(40, 13)
    answers = by_position(stream, stream.windows(Sizes(1, 7, 7)), model, numbers)
    expected = in_one_pass(model, numbers, [0, 13], 40)
    asked = [p for p in range(40) if p not in (12, 39)]
    assert_close(answers[asked], expected[asked], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_judging_in_rows_starts_each_half_a_window_early():
    model, numbers = network("lstm"), torch.randn(40, 3).double()
    stream = stream_of(40)
    answers = by_position(stream, stream.windows(Sizes(2, 10, 10)), model, numbers)
    expected = in_one_pass(model, numbers, [0], 40)[:20], in_one_pass(model, numbers[15:], [0], 25)[5:24]
    assert_close(answers[:39], torch.cat(expected), rtol=1e-12, atol=1e-12)


def test_a_gradient_goes_back_one_window_and_no_further():
    model = network("gru", layers=1)
    numbers = torch.randn(60, 3).double().requires_grad_()
    stream, sizes = stream_of(60), Sizes(1, 12, 4)
    state = None
    for number in range(9):
        window = stream.window(number, sizes)
        found, carried = model(*_ordered(shown(numbers, window), state), hop=4)
        state = detached(carried)
    (gradient,) = torch.autograd.grad(found[-1].sum(), numbers)  # the last step of window 8: position 35
    reached = gradient.abs().sum(dim=1) > 0
    assert reached.nonzero().flatten().tolist() == list(range(24, 36))


@pytest.mark.parametrize(
    ("sizes", "error", "words"),
    [
        (Sizes(2, 4, 5), ArgumentError, "hop: expected 1 <= hop <= window, got hop 5 and window 4"),
        (Sizes(2, 4, 0), ArgumentError, "got hop 0 and window 4"),
        (Sizes(2, 4, 4, world=3), ArgumentError, "batch: expected a row for each of 3 processes, got 2"),
        (Sizes(4, 30, 30), DataError, "has 100 steps, and 4 rows of one window, 30 steps each, need 120"),
    ],
)
def test_sizes_that_do_not_fit_are_told(sizes, error, words):
    with pytest.raises(error, match=words):
        stream_of(100).window(0, sizes)
