import io
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from longreach.diagnosis import Diagnosis, diagnose
from longreach.quantities.depth import Depth
from longreach.quantities.updates import Updates
from longreach.record import Layer, LossCurve, Need, NonFinite, Reach, Record
from longreach.report.terminal import render
from longreach.report.words import REMEDIES

CHANCE = LossCurve(tuple(range(0, 1000, 10)), (0.8, 0.5, 0.3, *[0.17, 0.16, 0.18] * 32, 0.17))
LEARNT = LossCurve(tuple(range(0, 1000, 10)), tuple(0.8 * 0.95**i for i in range(100)))
LAGS = (0, 5, 11, 22, 75, 149)
ANY_LAYER = st.builds(Layer, need_start=..., denormals=..., blind=...)
ANY_RECORD = st.builds(
    Record,
    run=st.dictionaries(st.text(), st.text() | st.floats() | st.integers()),
    layers=st.lists(ANY_LAYER, max_size=12).map(tuple),
    notes=...,
)
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def fading(lag):
    """A straight fade that crosses 0.01 at `lag`."""
    slope = math.log(0.01) / lag
    return Reach(lag, 0.01, 149, slope, LAGS, tuple(slope * k for k in LAGS), None, 6)


def bump(centre, last):
    """A need around `centre`, significant up to `last`."""
    lags = tuple(range(150))
    return Need(last, 0.0004, 0.01, 0.08, 384, lags, tuple(0.34 * math.exp(-(((k - centre) / 10) ** 2)) for k in lags))


def layer(module="rnn", index=0, kind="RNN tanh", reach=fading(11), need=bump(130, 140), blind=None):  # noqa: B008
    return Layer(module, kind, index, "forward", 64, reach, need, blind=blind)


def record(*layers, loss=CHANCE, nonfinite=None, notes=(), steps=1000):
    return Record({"script": "train.py"}, steps, 84.2, 0.013, layers, loss, nonfinite, notes)


NONE_FOUND = Need(None, 0.61, 0.01, 0.08, 384, (0, 75, 149), (0.0, 0.0, 0.0))
EXPLODING = Reach(149, 0.01, 149, 0.12, LAGS, tuple(0.12 * k for k in LAGS), None, 6)
BROKEN = NonFinite(312, "backward", "overflow", "encoder.rnn", "MmBackward0", 41, "inf")

VANISHING = """\
longreach  train.py

  rnn  RNN tanh, 64 units

 reach
     1 █▅▂
   0.1 ███▇▄▁
  0.01 ██████▅▂▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔
 0.001 ████████▇▄▁
   34%                                                           ▃▆▇██▆▃
  need                                                      ▁▂▄▆█████████▆▄▂▁▁
      └┴────────┴─────────┴────────┴─────────┴────────┴────────┴─────────────┴
   lag 0       20        40       60        80       100      120           149
            ▲ reach 11                                          need 140 ▲

  reach  how much of a gradient sent back survives k steps; it ends at 1%
  need   how much the error depends on the input k steps back, so far unused

  rnn   reach 11   need 140   of 149 steps   LR101 vanishing-in-time

  verdict  vanishing in time   LR101, critical, in rnn
  The error still depends on the input 140 steps back, which the network has not
  learned to use. Of a gradient sent back, 1% is left after 11 steps and ever
  less beyond: the weights hardly hear of that input, however long they train.

  what may help
    identity-init      start by copying the state from step to step
    orthogonal-init    start with weights that keep a gradient's size
    linear-recurrent   use layers that are linear in time, made to remember
    lstm               use LSTM cells, whose memory passes a gradient on whole
    gru                use GRU cells, whose gates can pass a gradient on whole
    skip               add connections that jump over many steps at once
    leaky-integration  let each unit move only a small part of the way

  tested    384 sequences, p = 0.0004 over all lags together (level 1%);
            smallest effect it would have found: 8% of the error
  run       1000 steps in 84 s, reach read at 6 of them
  loss      0.8 at the start, 0.17 at the end
  watching  1.3% of the time, 1.1 s
"""

HARMLESS = """\
longreach  train.py

  rnn  RNN tanh, 64 units

 reach
     1 █▅▂
   0.1 ███▇▄▁
  0.01 ██████▅▂▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔▔
 0.001 ████████▇▄▁
  need none found
      └┴────────┴─────────┴────────┴─────────┴────────┴────────┴─────────────┴
   lag 0       20        40       60        80       100      120           149
            ▲ reach 11

  reach  how much of a gradient sent back survives k steps; it ends at 1%
  need   how much the error depends on the input k steps back, so far unused

  rnn   reach 11   need none   of 149 steps   LR103 short-reach-harmless

  verdict  short reach harmless   LR103, info, in rnn
  A gradient survives 11 steps of 149 here, and that does no harm: nothing
  further back was found to matter. Any input further back that explains 8% of
  the error or more would most likely have been found.

  tested    384 sequences, p = 0.61 over all lags together (level 1%); smallest
            effect it would have found: 8% of the error
  run       1000 steps in 84 s, reach read at 6 of them
  loss      0.8 at the start, 0.00499 at the end
  watching  1.3% of the time, 1.1 s
"""

BLOWN_UP = """\
longreach  train.py

  encoder.rnn[0]  RNN relu, 64 units

 reach
  1e+8                                                         ▁▁▂▂▃▃▄▄▄▅▅▆▆▇▇
  1e+6                                       ▁▁▂▂▃▃▄▄▄▅▅▆▆▇▇██████████████████
  1e+4                     ▁▁▂▂▃▃▄▄▄▅▅▆▆▇▇████████████████████████████████████
   100   ▁▁▂▂▃▃▄▄▄▅▅▆▆▇▇██████████████████████████████████████████████████████
  need not tested
      └┴────────┴─────────┴────────┴─────────┴────────┴────────┴─────────────┴
   lag 0       20        40       60        80       100      120           149
                                                                   reach 149 ▲

  reach  how much of a gradient sent back survives k steps; it ends at 1%
  need   how much the error depends on the input k steps back, so far unused

  encoder.rnn[0]   reach 149   need ?   of 149 steps   LR102 exploding-in-time
  encoder.rnn[1]   reach 31    need ?   of 149 steps   LR401 non-finite
  decoder          reach ?     need ?

  verdict  exploding in time   LR102, critical, in encoder.rnn
  A gradient sent back 149 steps grows to 5.8e+7 times its size: a single batch
  can throw the weights far away. In this run numbers became NaN or infinite.

  what may help
    clip-norm            limit the size of each update
    clip-state-gradient  limit the gradient at every step of its way back
    orthogonal-init      start with weights that keep a gradient's size
    truncated-bptt       send gradients back by windows of steps that overlap

  also  NaN or infinity   LR401, critical, in encoder.rnn
  The first infinity appeared at training step 312, on the way back, at time
  step 41, in MmBackward0. All inputs and weights were finite: the gradient grew
  too large on its way back.
  What may help: clip-state-gradient, truncated-bptt, orthogonal-init.

  run       1000 steps in 84 s, reach read at 6 of them
  loss      0.8 at the start, NaN at the end; whether it fell could not be
            judged
  watching  1.3% of the time, 1.1 s
  note      The model was compiled: only its eager calls could be seen.
  note      decoder: its input needs no gradient
"""

CASES = {
    "vanishing": (record(layer()), VANISHING),
    "harmless": (record(layer(need=NONE_FOUND), loss=LEARNT), HARMLESS),
    "blown up": (
        record(
            layer("encoder.rnn", 0, "RNN relu", EXPLODING, None),
            layer("encoder.rnn", 1, "RNN relu", fading(31), None),
            layer("decoder", 0, "LSTM", None, None, "its input needs no gradient"),
            loss=LossCurve((0, 1, 2), (0.8, 0.7, math.nan)),
            nonfinite=BROKEN,
            notes=("The model was compiled: only its eager calls could be seen.",),
        ),
        BLOWN_UP,
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_the_whole_text(given, expected):
    assert render(diagnose(given)) == expected


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_colour_changes_nothing_but_colour(given, expected):
    coloured = render(diagnose(given), color=True)
    assert coloured != expected
    assert [line.rstrip() for line in ESCAPE.sub("", coloured).split("\n")] == expected.split("\n")


def test_ascii_is_ascii_of_the_same_shape():
    plain, unicode = render(diagnose(record(layer())), ascii=True), render(diagnose(record(layer())))
    assert plain.isascii()
    assert [len(line) for line in plain.split("\n")] == [len(line) for line in unicode.split("\n")]


def test_the_environment_changes_nothing(monkeypatch):
    for name, value in {"NO_COLOR": "1", "FORCE_COLOR": "1", "COLUMNS": "50", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert render(diagnose(record(layer()))) == VANISHING
    assert "\x1b[" in render(diagnose(record(layer())), color=True)


@given(ANY_RECORD, st.integers(40, 200))
@settings(deadline=None, max_examples=40)
def test_survives_any_record_at_any_width(anything, width):
    check(render(diagnose(anything), width=width), width)


@pytest.mark.parametrize("width", [40, 71, 72, 80, 200])
def test_hostile_names_are_shown_and_not_obeyed(width):
    name = "a\x1b[31m\nb\x07\r\u202e\ud800[red]\U0001f600" + "x" * 300
    hostile = record(
        layer(name, kind=name, blind=name), nonfinite=NonFinite(0, "forward", "unknown", name, name, 1, name)
    )
    text = render(
        diagnose(Record({"script": name}, 9, 1.0, 0.0, hostile.layers, None, hostile.nonfinite, (name,))), width=width
    )
    check(text, width)
    assert "\\x1b[31m b\\x07" in text
    assert "[red]" in "".join(text.split())


def test_twelve_layers_stay_on_one_screen():
    many = record(*(layer(f"encoder.blocks.{i}.rnn") for i in range(12)))
    text = render(diagnose(many))
    assert "and 4 layers more" in text
    assert "The same in encoder.blocks.1.rnn" in text
    assert len(text.splitlines()) < 55


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (record(), "No layer was seen at work in this run"),
        (record(loss=None, steps=0), "No training step was seen."),
        (record(layer(reach=None, need=None, blind="no gradient")), "Nothing could be measured here: no gradient"),
        (record(layer(need=None)), "undecided"),
        (record(layer(), loss=LEARNT), "The loss has all but vanished."),
        (record(layer(reach=fading(149), need=NONE_FOUND), loss=LEARNT), "verdict  healthy"),
        (record(layer(reach=Reach(0, 0.01, 0, math.nan, (0,), (0.0,), None, 1), need=None)), "one step long"),
        (record(layer(reach=Reach(0, 0.01, 149, math.nan, LAGS, (math.nan,) * 6, None, 1))), "?????"),
    ],
    ids=["no layer", "no step", "blind", "untested", "solved", "healthy", "one step", "NaN everywhere"],
)
def test_says_what_is_missing(given, words):
    text = render(diagnose(given))
    check(text, 80)
    assert words in text


def test_a_finding_stands_in_its_own_row():
    ahead, back = layer(), Layer("rnn", "RNN tanh", 0, "reverse", 64, fading(60), bump(20, 33))
    rows = [line for line in render(diagnose(record(ahead, back))).splitlines() if "of 149 " in line]
    assert rows == [
        "  rnn             reach 11   need 140   of 149   LR101 vanishing-in-time",
        "  rnn (reverse)   reach 60   need 33    of 149   LR502 reached-but-unlearned",
    ]


def test_every_remedy_has_words_that_fit_one_line():
    assert all(4 + 16 + 2 + len(text) <= 80 for text in REMEDIES.values())


def test_rich_prints_it():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(Diagnosis(record(), ()))
    assert "nothing to judge" in console.export_text()


def check(text, width):
    text.encode("utf-8")
    assert text.endswith("\n")
    for line in text.split("\n")[:-1]:
        assert cell_len(line) <= width
        assert line.isprintable()
        assert line == line.rstrip(" ")


def test_a_network_without_sequences_shows_its_depth():
    depth = Depth("0 to 3", "layers", ("3", "2", "1", "0"), (0.0, -3.0, -6.0, -9.0), (0.0, -3.0, -6.0, -9.0), -3.0, 5)
    moves = Updates("0.weight", "0", 64, "float32", "Adam", 1e-3, 1e-3, 1e-3, 0.5, math.nan, 9)
    text = render(diagnose(replace(record(loss=LEARNT), depth=(depth,), updates=(moves,))))
    assert " depth\n     1 " in text
    assert "verdict  healthy" in text
    assert "No gradient goes back through time here" in text
    assert all(len(line) <= 80 for line in text.splitlines())
