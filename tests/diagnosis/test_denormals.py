import pytest
from tests.diagnosis.literals import layer, record

from longreach.diagnosis.denormals import denormals
from longreach.record import Denormals


@pytest.mark.parametrize(("share", "flushed", "fires"), [(0.1, False, True), (0.099, False, False), (0.9, True, False)])
def test_from_a_tenth_of_the_lags(share, flushed, fires):
    assert bool(denormals(record(layer(denormals=Denormals(60, 149, share, flushed))))) is fires


def test_the_worst_layer_speaks():
    low, high = Denormals(60, 80, 0.14, False), Denormals(60, 149, 0.6, False)
    (finding,) = denormals(record(layer(index=0, denormals=low), layer(index=1, denormals=high)))
    assert (finding.severity, finding.remedies) == ("info", ("flush-denormals",))
    assert finding.evidence == {"layer": 1, "share": 0.6, "first_lag": 60, "last_lag": 149}
    assert finding.summary == (
        "From 60 to 149 steps back (60% of the way) the gradient consists of numbers so small that a processor works "
        "on them many times slower. This slows training on a CPU several times and changes nothing in the result."
    )


def test_silent_where_nothing_was_seen():
    assert denormals(record(layer())) == ()
