"""Truncated backpropagation as people write it: found out, and put together again across the cuts."""

import pytest
import torch
from torch import nn

import longreach
from longreach.probes import windows
from longreach.probes.windows import Cut, Piece, Stream, same
from longreach.quantities.windows import Window, Windows, pool
from longreach.watching import Watch

B, K, F, H = 6, 10, 2, 5
DATA = torch.randn(400, B, F)


def batches(count, k=K):
    return [DATA[n * k : (n + 1) * k] for n in range(count)]


def run(step, modules, count=20):
    """What is recorded of a training loop: (windows, pairs of the first module)."""
    model = nn.ModuleDict(modules)
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    with Watch(model, opt, budget=1.0) as watch:
        for n in range(count):
            opt.zero_grad()
            step(n)
            opt.step()
    assert not [note for note in watch.store.notes() if "stopped" in note or "could not" in note]
    name = next(iter(modules))
    return pool(watch.store.samples(Window)), watch.store.pairs(name, "forward")


def is_stream(pairs, length):
    """Whether a record holds so many steps of the data, one after the other, in every sequence."""
    inputs, whole = torch.tensor(pairs.inputs), DATA.transpose(0, 1)
    if inputs.shape[1] != length:
        return False
    starts = [t for t in range(400 - length) if torch.allclose(inputs, whole[:, t : t + length])]
    return len(starts) == 1 and pairs.lengths.tolist() == [length] * B


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN, longreach.nn.GRU])
def test_state_carried_from_step_to_step(kind):
    rnn, carried = kind(F, H), [None]

    def step(n):
        out, state = rnn(batches(20)[n], carried[0])
        carried[0] = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        out.square().mean().backward()

    found, pairs = run(step, {"rnn": rnn})
    # the first window begins from nothing, and is recorded before it is known that a stream begins
    assert found == (Windows("rnn", K, 8 * K, 19),)
    assert [pair.inputs.shape[1] for pair in pairs] == [K, 8 * K, 8 * K, 3 * K]
    assert all(is_stream(pair, length) for pair, length in zip(pairs, (K, 8 * K, 8 * K, 3 * K), strict=True))
    assert all((abs(pair.errors).max(axis=2) > 0).all() for pair in pairs)


def test_several_windows_in_one_training_step():
    rnn, carried = nn.GRU(F, H, batch_first=True), [None]

    def step(n):
        for part in batches(60)[3 * n : 3 * n + 3]:
            out, state = rnn(part.transpose(0, 1), carried[0])
            out.square().mean().backward()
            carried[0] = state.detach()

    found, pairs = run(step, {"rnn": rnn}, count=10)
    assert (found[0].length, found[0].seen) == (K, 8 * K)
    assert is_stream(pairs[1], 8 * K)


def test_a_loop_over_cells_that_is_cut_on_its_way():
    cell = nn.GRUCell(F, H)

    def step(n):
        h, loss = torch.zeros(B, H), 0.0
        for t in range(4 * K):
            if t and t % K == 0:
                h = h.detach()
            h = cell(DATA[4 * K * n + t], h)
            loss = loss + h.square().mean()
        loss.backward()

    found, pairs = run(step, {"cell": cell}, count=6)
    assert (found[0].module, found[0].length) == ("cell", K)
    assert [is_stream(pair, 4 * K) for pair in pairs] == [False, False, *[True] * 5]  # the first one begins unknown


def test_a_layer_that_cuts_by_itself():
    rnn = longreach.nn.LSTM(F, H, cut=K)

    def step(n):
        rnn(DATA[40 * n : 40 * n + 40])[0].square().mean().backward()

    found, pairs = run(step, {"rnn": rnn}, count=6)
    assert (found[0].length, found[0].seen) == (K, 50)
    assert is_stream(pairs[0], 40)


def test_windows_without_an_error_belong_to_the_stream():
    """Where nothing is asked for, scripts go on to the next window without a step."""
    rnn, carried = nn.LSTM(F, H), [None]

    def step(n):
        for m, part in enumerate(batches(40)[2 * n : 2 * n + 2]):
            out, state = rnn(part, carried[0])
            carried[0] = tuple(part.detach() for part in state)
            if m:
                out.square().mean().backward()

    found, pairs = run(step, {"rnn": rnn})
    assert (found[0].length, found[0].seen) == (K, 8 * K)
    # what comes after the last error is left out
    assert is_stream(pairs[1], 7 * K)
    asked = abs(pairs[1].errors).max(axis=(0, 2)) > 0
    assert asked.reshape(7, K).all(axis=1).tolist() == [True, False, True, False, True, False, True]


def test_short_windows_make_longer_pieces():
    rnn, carried = nn.GRU(F, H), [None]

    def step(n):
        out, state = rnn(batches(60, 4)[n], carried[0])
        carried[0] = state.detach()
        out.square().mean().backward()

    found, pairs = run(step, {"rnn": rnn}, count=40)
    assert (found[0].length, found[0].seen) == (4, windows.FEWEST_STEPS)
    assert is_stream(pairs[1], windows.FEWEST_STEPS)


def carried_with_its_gradient(rnn, n, state):
    out, h = rnn(batches(60)[2 * n])
    return rnn(batches(60)[2 * n + 1], h)[0] + out, None


def fresh(rnn, n, state):
    return rnn(batches(20)[n])[0], None


def drawn(rnn, n, state):
    return rnn(batches(20)[n], torch.randn(1, B, H))[0], None


def learned(rnn, n, state):
    state = nn.Parameter(torch.randn(1, B, H)) if state is None else state
    return rnn(batches(20)[n], state)[0], state


def zeros(rnn, n, state):
    return rnn(batches(20)[n], torch.zeros(1, B, H))[0], None


@pytest.mark.parametrize("way", [carried_with_its_gradient, fresh, drawn, learned, zeros])
def test_what_is_no_truncation(way):
    rnn, state = nn.GRU(F, H), [None]

    def step(n):
        out, state[0] = way(rnn, n, state[0])
        out.square().mean().backward()

    found, pairs = run(step, {"rnn": rnn}, count=12)
    assert found == ()
    assert {pair.inputs.shape[1] for pair in pairs} == {K}
    assert sum(len(pair.lengths) for pair in pairs) >= 12 * B


def cut(value, entered=True, length=8):
    from longreach.probes.pairs import Driven

    driven = Driven(
        torch.full((length, 2, 1), float(value)), torch.ones(length, 2, 4), torch.tensor([length] * 2), False
    )
    state = lambda n: (torch.full((1, 2, 4), float(n)),)  # noqa: E731
    return Cut(driven, state(value) if entered else (), state(value + 1))


def test_a_gap_in_time_ends_a_piece():
    stream, given = Stream(), []
    for value, step in ((0, 0), (1, 1), (2, 2), (6, 6), (7, 7)):
        complete, _ = stream.take(cut(value, entered=value > 0), step, "rnn")
        given += complete
    given += stream.rest()
    assert [(driven.inputs[:, 0, 0].tolist(), step) for driven, step in given] == [
        ([0.0] * 8, 0),
        ([1.0] * 8 + [2.0] * 8, 2),
        ([6.0] * 8 + [7.0] * 8, 7),
    ]
    assert stream.rest() == []


def test_company_is_wanted_while_a_piece_grows():
    stream, wanted = Stream(), []
    for value in range(1, 12):
        stream.take(cut(value), value, "rnn")
        wanted.append(stream.wants_company(value + 1))
    assert wanted == [True] * 7 + [False] + [True] * 3
    assert not stream.wants_company(13)


def test_states_that_never_go_on_are_not_waited_for():
    stream = Stream()
    for value in range(0, 20, 2):
        complete, window = stream.take(cut(value), value // 2, "rnn")
    assert window is not None
    assert not window.continued
    assert len(complete) == 1
    assert not stream.wants_company(10)


def test_pieces_are_bounded(monkeypatch):
    monkeypatch.setattr(windows, "MOST_STEPS", 17)
    piece = Piece([cut(1), cut(2)], 0)
    assert not piece.has_room(cut(3))
    assert piece.has_room(cut(3, length=1))
    assert not same((), ())


def test_few_windows_that_went_on_are_no_stream():
    def sample(continued):
        return Window("rnn", 0, 10, continued, 0)

    assert pool({"rnn": [sample(True)]}) == ()
    assert pool({"rnn": [sample(True)] * 2 + [sample(False)] * 3}) == ()
    assert pool({"rnn": [sample(True)] * 3 + [sample(False)] * 3}) == (Windows("rnn", 10, 10, 3),)
