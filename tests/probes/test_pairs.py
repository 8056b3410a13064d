"""What the need test is given: the script's own inputs and errors, right-aligned, narrow, and in steady directions."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from longreach.nn import Recurrent, cells
from longreach.probes.pairs import Narrow
from longreach.watching import Watch

T, B, F, H = 9, 6, 3, 4


def pairs_of(model, run, module="rnn", direction="forward"):
    """(pairs, ∂L/∂ of what `run` gives beside the loss) of one watched step."""
    with Watch(model) as watch:
        loss, output = run()
        output.retain_grad()
        loss.backward()
        watch.step(loss)
    assert not [note for note in watch.store.notes() if "stopped" in note]
    (found,) = watch.store.pairs(module, direction)
    return found, output.grad


class Net(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.rnn = nn.GRU(F, H, **options)


def spanned(errors, gradient):
    """Whether the columns of `errors` are the gradient on orthonormal directions, up to one scale."""
    flat, seen = gradient.flatten(0, -2).double(), torch.tensor(errors).flatten(0, -2).double()
    scale = (flat.norm() / seen.norm()).item()
    return torch.allclose(flat @ flat.T, scale**2 * seen @ seen.T, atol=1e-4 * float((flat @ flat.T).max()))


def test_inputs_and_errors_of_a_many_to_many_loss():
    net, x, target = Net(), torch.randn(T, B, F), torch.randn(T, B, 2)

    def run():
        output = net.rnn(x)[0]
        return (output[:, :, :2] - target).square().mean(), output

    found, gradient = pairs_of(net, run)
    np.testing.assert_allclose(found.inputs, x.transpose(0, 1), rtol=1e-6)
    assert spanned(found.errors, gradient.transpose(0, 1))
    assert found.errors.shape[2] == 2  # of four directions two carry errors
    assert np.square(found.errors).sum(2).mean() == pytest.approx(1, rel=1e-5)
    assert found.lengths.tolist() == [T] * B
    assert not found.tokens


def test_rows_end_at_their_own_last_error():
    net, x, ends = Net(batch_first=True), torch.randn(B, T, F), torch.tensor([8, 3, 5, 8, 0, 7])

    def run():
        output = net.rnn(x)[0]
        return output[torch.arange(B), ends].sum(1).square().mean(), output

    found, gradient = pairs_of(net, run)
    assert found.lengths.tolist() == (ends + 1).tolist()
    for row, end in enumerate(ends.tolist()):
        np.testing.assert_allclose(found.inputs[row, T - 1 - end :], x[row, : end + 1], rtol=1e-6)
        assert not found.inputs[row, : T - 1 - end].any()
        assert not found.errors[row, :-1].any()
    last = gradient[torch.arange(B), ends][:, None]
    assert spanned(found.errors[:, -1:], last)


def test_packed_rows_and_the_reverse_direction_run_in_their_own_time():
    net, x, lengths = Net(bidirectional=True), torch.randn(T, B, F), torch.tensor([9, 4, 7, 2, 9, 5])

    def run():
        output = pad_packed_sequence(net.rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))[0])[0]
        return output.square().sum(), output

    found, _ = pairs_of(net, run, direction="reverse")
    assert found.lengths.tolist() == lengths.tolist()
    for row, length in enumerate(lengths.tolist()):
        np.testing.assert_allclose(found.inputs[row, T - length :], x[:length, row].flip(0), rtol=1e-6)


@pytest.mark.parametrize("cell", [cells.MinGRU, cells.LRU])
@pytest.mark.parametrize("reads", ["output", "state"])
def test_errors_of_a_network_of_cells_are_those_that_arrive_from_above(cell, reads):
    net, x = Net(), torch.randn(B, T, F)
    net.rnn = Recurrent(cell, F, H, batch_first=True)

    def run():
        output, state = net.rnn(x)
        read = output if reads == "output" else state
        return read[..., :1].abs().square().sum(), read  # of one unit: what arrives has a direction or two

    found, gradient = pairs_of(net, run)
    np.testing.assert_allclose(found.inputs, x, rtol=1e-6)
    if reads == "output":
        assert spanned(found.errors, gradient)
        return
    assert not found.errors[:, :-1].any()
    pairs = torch.view_as_real(gradient).flatten(2) if gradient.is_complex() else gradient
    assert spanned(found.errors[:, -1:], pairs[0][:, None])


def test_token_ids_are_seen_through_an_embedding():
    class Text(Net):
        def __init__(self):
            super().__init__(batch_first=True)
            self.embed, self.drop = nn.Embedding(11, F), nn.Dropout(0.3)

    net, ids = Text(), torch.randint(11, (B, T))

    def run():
        output = net.rnn(net.drop(net.embed(ids)))[0]
        return output[:, -1].sum(), output

    found, _ = pairs_of(net, run)
    assert found.tokens
    np.testing.assert_array_equal(found.inputs[:, :, 0], ids)


class Cell(nn.Module):
    def __init__(self, embedded=False):
        super().__init__()
        self.embed = nn.Embedding(7, F) if embedded else nn.Identity()
        self.rnn = nn.GRUCell(F, H)

    def forward(self, x):
        h = torch.zeros(x.shape[1], H)
        for step in x:
            h = self.rnn(self.embed(step), h)
        return h


@pytest.mark.parametrize("embedded", [False, True])
def test_a_loop_over_cells_gives_what_drove_it_and_the_error_at_its_end(embedded):
    net = Cell(embedded)
    x = torch.randint(7, (T, B)) if embedded else torch.randn(T, B, F)

    def run():
        output = net(x)
        return output.sum(1).square().sum(), output

    found, gradient = pairs_of(net, run)
    drive = x[:, :, None] if embedded else x
    np.testing.assert_allclose(found.inputs, drive.transpose(0, 1), rtol=1e-6)
    assert found.tokens == embedded
    assert not found.errors[:, :-1].any()
    assert spanned(found.errors[:, -1:], gradient[:, None])


def test_a_loop_that_sees_only_its_state_takes_its_drive_from_the_module_around_it():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.again = nn.Linear(F, H), nn.Linear(H, H)

        def forward(self, x):
            h, drive = torch.zeros(B, H), self.inward(x)
            for t in range(T):
                h = torch.tanh(drive[:, t] + self.again(h))
            return h

    net, x = Hidden(), torch.randn(B, T, F)

    def run():
        output = net(x)
        return output.square().sum(), output

    found, _ = pairs_of(net, run, module="again")
    # the last state that enters a call is the one after step T-2
    np.testing.assert_allclose(found.inputs, x[:, : T - 1], rtol=1e-6)


def test_directions_follow_a_readout_that_turns():
    """A singular vector may come out with either sign, and the readout turns while it trains; here its sign is kept."""
    narrow, errors = Narrow(), torch.randn(1, 40, 1)
    seen = []
    for step in range(60):
        angle = torch.tensor(0.1 * step)
        readout = torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0)])
        vectors = errors * readout
        seen.append(narrow.errors(vectors, vectors.norm(dim=2)))
    for later in seen[1:]:
        torch.testing.assert_close(later, seen[0])


def test_wide_inputs_keep_the_directions_of_the_first_step():
    narrow, mix = Narrow(), torch.randn(5, 100)
    first, second = (torch.randn(T, 20, 5) @ mix for _ in range(2))
    seen = [narrow.inputs(values) for values in (first, second)]
    assert [part.shape[2] for part in seen] == [32, 32]
    for whole, part in zip((first, second), seen, strict=True):
        # five dimensions went in: none of them is lost
        torch.testing.assert_close(part.norm(dim=2), whole.norm(dim=2), rtol=1e-3, atol=1e-3)
