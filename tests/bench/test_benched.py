"""What `longreach bench` says at the end."""

from pathlib import Path

from longreach.bench.cases import Asked
from longreach.bench.results import Row
from longreach.bench.run import Benched, Section
from longreach.bench.success import successes
from longreach.report.benched import render
from longreach.report.screen import Screen
from longreach.tasks import Published

FIGURES = (
    Published("Smith 2020", "LSTM", 100, "solved", "le", settings="128 units, batch 50"),
    Published("Smith 2020", "TCN", 100, "loss 0.1", "le"),
    Published("Jones 2021", "LEM", 5000, "solved", "le"),
    Published("Jones 2021", "LEM", 10000, "solved", "le"),
    Published("Doe 2022", "GRU", 600, "solved"),
)


def row(length, cell, seed, remedies="none", outcome="ended", **facts):
    common = {"chance": 1 / 6, "hidden": 128, "batch": 20, "lr": 0.002} if outcome == "ended" else {}
    return Row("adding", "le", length, cell, remedies, seed, outcome=outcome, **common, **facts)


ROWS = (
    *(row(100, "lstm", n, solved=n < 2, updates=1000 + n, seconds=30.4, loss=0.01, wrong=0.004) for n in range(3)),
    row(100, "gru", 0, updates=2000, seconds=41.0, loss=0.1666, wrong=0.96),
    row(100, "rnn", 0, "forget-bias", outcome="refused", failed="forget-bias: expected an LSTM\x1b[31m"),
    row(100, "rnn", 0, outcome="diverged", failed="training broke"),
    row(200, "lstm", 0, updates=2000, seconds=80.0, loss=0.17, wrong=1.0),
)

PAGE = """\
adding (le)
solved: |error| <= 0.2

T = 100, chance loss 0.1667  solved     95 %  updates  seconds  loss  wrong
lstm                         2 of 3  21-94 %    1,000       30  0.01   0.4%
gru                          0 of 1   0-79 %                    0.17  96.0%
rnn                          0 of 1   0-79 %
rnn with forget-bias
rnn, diverged: training broke
rnn with forget-bias, refused: forget-bias: expected an LSTM\\x1b[31m

T = 200, chance loss 0.1667  solved    95 %  updates  seconds  loss   wrong
lstm                         0 of 1  0-79 %                    0.17  100.0%

success at T =        100  200
lstm                  ▆▆▆  ▁▁▁
gru                   ▁▁▁
rnn                   ▁▁▁
rnn with forget-bias

published, and ours at the same length
  T = 100  LSTM (Smith 2020): solved
    theirs: 128 units, batch 50
    ours: lstm, 2 of 3, loss 0.01
  T = 100  TCN (Smith 2020): loss 0.1
    theirs: settings not recorded here
    ours: lstm, 2 of 3, loss 0.01; another cell than theirs

published at other lengths
  T = 5000, 10000  LEM (Jones 2021): solved
  T = 600  GRU, variant not recorded (Doe 2022): solved

ours: at most 2,000 updates of 20 sequences by AdamW; lstm of 128 units, step
size 0.002; gru of 128 units, step size 0.002. All else may differ too.

7 of 9 rows, 30 s each in the median; updates and seconds are medians of solved
runs
Interrupted: this is what is known so far. The same command goes on from here.
kept in /home/me/bench: results.parquet, success.svg
"""


def benched(rows=ROWS):
    section = Section("adding", "le", "|error| <= 0.2", tuple(successes(rows)), FIGURES)
    asked = Asked("adding", "100,200", "lstm,gru", "none", seeds=3, steps=2000, guess=0.0)
    return Benched(asked, (section,), rows, wanted=9, complete=False, folder=Path("/home/me/bench"))


def test_the_page_is_right_to_the_space():
    assert render(benched()) == PAGE


def test_no_line_is_wider_than_the_terminal():
    long = tuple(row(100, "min-gru+phases+linear-recurrent", n, "clip-norm+identity-init+guard") for n in range(2))
    for width in (40, 60, 80, 100):
        page = render(benched((*ROWS, *long)), Screen(width))
        assert max(map(len, page.splitlines()[:-1])) <= width
        assert all(number in page.replace("\n", " ") for number in ("T = 100", "chance loss 0.1667", "2 of 3", "1,000"))


def test_colours_are_only_where_they_are_asked_for():
    assert "\x1b[" not in render(benched())
    assert "\x1b[1m" in render(benched(), Screen(color=True))


def test_a_bench_that_has_no_row_yet_says_so():
    assert "0 of 9 rows" in render(benched(()))


def test_a_terminal_without_blocks_is_shown_what_it_can():
    page = render(benched(), Screen(ascii=True))
    assert page.isascii()
    assert "lstm                  :::  ___" in page
