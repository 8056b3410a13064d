"""Rows: every layout to rows and back."""

import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from longreach.errors import ArgumentError
from longreach.nn.rows import rows_of

T, B, I = 4, 3, 2  # noqa: E741  # the letters of the field
LENGTHS = [2, 4, 1]  # not sorted: the rows are


def steps():
    return torch.arange(T * B * I).reshape(T, B, I)


def packed(of=None):
    return pack_padded_sequence(steps() if of is None else of, torch.tensor(LENGTHS), enforce_sorted=False)


def test_rows_are_time_major():
    rows, layout = rows_of(steps())
    assert (layout.time, layout.batch) == (T, B)
    for t in range(T):
        for b in range(B):
            assert rows[t * B + b].tolist() == steps()[t, b].tolist()


def test_batch_first_gives_the_same_rows():
    rows, layout = rows_of(steps().transpose(0, 1).contiguous(), batch_first=True)
    assert torch.equal(rows, rows_of(steps())[0])
    assert torch.equal(layout.output(rows), steps().transpose(0, 1))


def test_one_sequence_without_a_batch():
    rows, layout = rows_of(steps()[:, 0], batch_first=True)
    assert torch.equal(layout.output(rows), steps()[:, 0])
    state = torch.randn(2, 5)
    assert layout.state_in(state).shape == (2, 1, 5)
    assert torch.equal(layout.state_out(layout.state_in(state)), state)


def test_packed_rows_are_the_packed_data():
    given = packed()
    rows, layout = rows_of(given)
    assert rows is given.data
    assert (layout.time, layout.batch) == (T, B)
    back, lengths = pad_packed_sequence(layout.output(rows))
    assert lengths.tolist() == LENGTHS
    assert torch.equal(back, pad_packed_sequence(given)[0])


def test_states_of_packed_sequences_are_sorted_as_the_rows_and_back():
    _, layout = rows_of(packed())
    state = torch.arange(B)[None, :, None]
    assert layout.state_in(state).flatten().tolist() == [1, 0, 2]  # longest first
    assert torch.equal(layout.state_out(layout.state_in(state)), state)


@pytest.mark.parametrize("batch_first", [False, True])
def test_contiguous_rows_are_views(batch_first):
    given = steps().double()
    rows, layout = rows_of(given)
    assert rows.data_ptr() == given.data_ptr()
    assert layout.output(rows).data_ptr() == given.data_ptr()


def test_resets_lie_as_the_input_does():
    flags = torch.rand(T, B) < 0.5
    expected = flags.flatten()
    assert torch.equal(rows_of(steps())[1].resets(flags), expected)
    assert torch.equal(rows_of(steps().transpose(0, 1), batch_first=True)[1].resets(flags.T), expected)
    assert torch.equal(rows_of(steps()[:, 0])[1].resets(flags[:, 0]), flags[:, 0])
    given = packed(flags)
    assert torch.equal(rows_of(packed())[1].resets(given), given.data)
    assert rows_of(steps())[1].resets(None) is None


def test_padded_is_by_step_and_sequence():
    numbers = steps()[:, :, 0].double()
    dense, packed_rows = rows_of(steps()), rows_of(packed())
    assert torch.equal(dense[1].padded(dense[0][:, 0].double()), numbers)
    ended = torch.arange(T)[:, None] >= torch.tensor(LENGTHS)
    assert torch.equal(packed_rows[1].padded(packed_rows[0][:, 0].double()), numbers.masked_fill(ended, 0.0))


@pytest.mark.parametrize(
    ("resets", "got"),
    [
        (torch.zeros(T, B), "got a tensor of torch.float32 of shape (4, 3)"),
        (torch.zeros(B, T, dtype=torch.bool), "got a tensor of torch.bool of shape (3, 4)"),
        (
            packed(torch.zeros(T, B, dtype=torch.bool)),
            "got a PackedSequence of torch.bool with batch_sizes [3, 2, 1, 1]",
        ),
        ([True], "got a list"),
    ],
)
def test_resets_that_do_not_fit(resets, got):
    with pytest.raises(ArgumentError) as error:
        rows_of(steps())[1].resets(resets)
    assert str(error.value) == (
        "resets: expected a bool tensor of shape (4, 3), one flag for each step of each sequence, "
        f"{got}; true where a step starts anew"
    )


@pytest.mark.parametrize("resets", [torch.zeros(T, B, dtype=torch.bool), packed()])
def test_resets_that_do_not_fit_a_packed_input(resets):
    with pytest.raises(ArgumentError, match="expected a PackedSequence of bools with the lengths of the packed input"):
        rows_of(packed())[1].resets(resets)


def test_annotated_shapes_hold():
    """In an interpreter of its own: torch.compile, which other tests ask for, cannot look into checked functions."""
    program = """
from jaxtyping import install_import_hook
names = ("rows", "stack", "checkpointing", "projected", "observing")
install_import_hook([f"longreach.nn.{name}" for name in names], "beartype.beartype")
import torch
from torch.nn.utils.rnn import pack_sequence
from longreach.nn import LSTM, observe
x = torch.randn(4, 3, 2)
for options in ({}, {"proj_size": 2}):
    layer = LSTM(2, 5, 2, dropout=0.1, bidirectional=True, checkpoint_every=2, **options)
    for given in (x, x[:, 0], pack_sequence([x[:, 0], x[:2, 1]])):
        with observe() as seen:
            output, (h, c) = layer(given)
        (h.sum() + c.sum()).backward()
        seen["LSTM 1"].steps
    layer(x[:0])
    layer(x[:, :0])
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
