"""LR601 where no sequence is read: nothing is learned, and nothing else explains it."""

import math
from dataclasses import replace

import pytest
from tests.diagnosis.literals import CHANCE, LEARNT, layer, need, reach, record

from longreach.diagnosis import diagnose
from longreach.diagnosis.no_signal_by_exclusion import no_signal_by_exclusion
from longreach.quantities.units import Units
from longreach.quantities.updates import Updates
from longreach.report.terminal import render


def moves(moved=0.7, ratio=3e-3):
    return Updates("0.weight", "0", 64, "float32", "Adam", 1e-3, ratio, ratio, moved, math.nan, 9)


def run(*layers, chance=0.17, loss=CHANCE, moved=0.7, steps=1000, **others):
    return replace(record(*layers, loss=loss, steps=steps), chance=chance, updates=(moves(moved),), **others)


def test_the_whole_finding():
    (finding,) = no_signal_by_exclusion(run())
    assert (finding.code, finding.name, finding.severity, finding.where) == ("LR601", "no-signal", "warning", "model")
    assert finding.summary.startswith("The weights have come 70% of their own size")
    assert finding.evidence == {"loss_of_chance": 1.0, "moved": 0.7, "steps": 1000}


@pytest.mark.parametrize(
    "quiet",
    [
        run(chance=None),
        run(chance=0.25),
        run(loss=LEARNT),
        run(steps=199),
        run(moved=0.19),
        run(moved=math.nan),
        run(layer(reach=reach(11), need=need(None))),
        run(units=(Units("fc1", "ReLU", 64, 500, 1.0, 0.0, 0, True, True, 5),)),
    ],
)
def test_silent(quiet):
    assert no_signal_by_exclusion(quiet) == ()


def test_a_run_that_learned_nothing_is_not_called_healthy():
    unexplained = diagnose(run(steps=199))
    assert unexplained.undecided
    assert "Nothing was found that explains it" in " ".join(render(unexplained).split())
    assert "healthy" not in render(unexplained)
    assert not diagnose(run(chance=3.0)).undecided
