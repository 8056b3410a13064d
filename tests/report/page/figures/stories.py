"""Stories written by hand: what the figures draw, without a run."""

import math
from dataclasses import replace

from longreach.diagnosis import Diagnosis, diagnose
from longreach.history import History, Mark, ReachTrack, Track
from longreach.probes.reach import reach_of
from longreach.probes.samples import LayerKey
from longreach.quantities.clipping import NORM, Clipping
from longreach.quantities.depth import Depth
from longreach.record import DeepNeed, Layer, LossCurve, Need, Reach, Record
from longreach.story import Story, Trained
from longreach.trial.proof import Arm, Outcome, Proof

# What a script may call its modules: markup that plotly knows, markup of a page, entities, formulas, templates.
HOSTILE = (
    "<b>bold</b>",
    '<a href="https://example.org">here</a>',
    "<script>alert(1)</script>",
    "a<br>b<sup>2</sup>",
    "&lt;b&gt;",
    "%{y} %{customdata}",
    "$\\frac{1}{2}$",
    "</script><img src=x onerror=alert(1)>",
    "\x1b[31mred\u202eder",
    "long." * 2000,
)


def fading(rate=0.75, horizon=149, threshold=0.01, signal=True):
    """The linear network: gain(k) = rate^k, and the reach that follows from it."""
    lags = tuple(sorted({*range(min(20, horizon + 1)), *range(0, horizon, 7), horizon}))
    gain = tuple(k * math.log(rate) for k in lags)
    lag = min(horizon, math.floor(math.log(threshold) / math.log(rate) + 1e-9)) if rate < 1 else horizon
    return Reach(lag, threshold, horizon, math.log(rate), lags, gain, gain if signal else None, 6)


def bump(centre=130, last=140, horizon=149, detectable=0.08):
    """A need around `centre`, significant up to `last`."""
    lags = tuple(range(horizon + 1))
    strength = tuple(0.34 * math.exp(-(((k - centre) / 10) ** 2)) for k in lags)
    return Need(last, 0.0004, 0.01, detectable, 384, lags, strength)


NONE_FOUND = Need(None, 0.6, 0.01, 0.08, 384, (0, 75, 149), (0.0, 0.01, 0.0))


def layer(module="rnn", reach=None, need=None, **others):
    return Layer(
        module, "RNN tanh", others.pop("index", 0), others.pop("direction", "forward"), 64, reach, need, **others
    )


def judged(*layers, steps=1000, **others):
    loss = LossCurve(tuple(range(0, 1000, 10)), (0.8, 0.5, 0.3, *[0.17, 0.16, 0.18] * 32, 0.17))
    record = Record({"script": "train.py"}, steps, 84.2, 0.013, layers, loss, None, **others)
    return diagnose(record)


def grown(module="rnn", steps=range(0, 1000, 100), start=0.6, stop=0.95, horizon=149):
    """A reach that grows: at each step the gain of a linear network."""
    steps = tuple(steps)
    rates = [start + (stop - start) * place / max(1, len(steps) - 1) for place in range(len(steps))]
    lags = tuple(sorted({*range(20), *range(0, horizon, 7), horizon}))
    gains = tuple(tuple(k * math.log(rate) for k in lags) for rate in rates)
    key = LayerKey(module, "RNN tanh", 0, "forward", 64)
    return ReachTrack(key, steps, (lags,) * len(steps), gains, tuple(reach_of(lags, gain) for gain in gains))


def course(steps=1000, name="rnn.weight_hh_l0", marks=(), **others):
    """A loss that falls, with a spike of 50 at two fifths of the way; clipped gradients."""
    losses = [math.exp(-3 * step / steps) * (1 + 0.1 * math.sin(step)) for step in range(steps)]
    losses[2 * steps // 5] = 50.0
    sampled = range(0, steps, max(1, steps // 300))
    before = [(step, 3 * abs(math.sin(step)) + 0.1) for step in sampled]
    return History(
        losses=Track.of("loss", enumerate(losses)),
        before=Track.of("gradient", before),
        after=Track.of("as used", ((step, min(1.0, norm)) for step, norm in before)),
        limit=Track.of("limit", ((step, 1.0) for step in sampled)),
        reach=(grown(),),
        updates=(Track.of(name, ((step, 0.003 * (2 + math.sin(step))) for step in sampled)),),
        dead=(Track.of("fc ReLU", ((step, min(1.0, step / steps)) for step in sampled)),),
        saturated=(Track.of("fc ReLU", ((step, 0.1) for step in sampled)),),
        marks=marks,
        **others,
    )


def outcome(seed, loss, reach=9.0, failed=None, steps=100):
    return Outcome(seed, loss, tuple(loss + math.exp(-place / 9) for place in range(steps)), 5.0, 300.0, reach, failed)


def arm(name, ends, reach=9.0):
    return Arm(name, tuple(outcome(seed, end, reach) for seed, end in enumerate(ends)))


def trial(*arms, metric="loss", **others):
    """Five seeds; "identity-init" is better in all of them, and more than luck explains."""
    arms = arms or (
        arm("identity-init", (0.011, 0.012, 0.010, 0.013, 0.011), 149.0),
        arm("clip-norm", (0.171, 0.166, 0.173, 0.168, 0.170)),
        Arm("forget-bias", (), "expected an LSTM, got an RNN"),
    )
    control = arm("control", (0.170, 0.168, 0.172, 0.169, 0.171))
    random = arm("random-weights+random-steps", (0.171, 0.169, 0.170, 0.168, 0.173), 10.0)
    return Proof(control, random, arms, metric, steps=1000, **others)


def plain_story():
    """A run that forgets, with everything there is."""
    marks = (
        Mark(400, "spike", "the loss rose from 0.3 to 50; it was back after 1 steps"),
        Mark(410, "skipped", "the gradient is 1e9 long"),
        Mark(500, "went back", "to step 400"),
        Mark(700, "NaN or infinity", "the first NaN in rnn, on the way backward; cause: overflow"),
    )
    depth = Depth("fc1 to head", "layers", ("head", "fc3", "fc2", "fc1"), (0.0, -3.0, -6.0, -9.0), (0.0,) * 4, -3.0, 5)
    clipping = Clipping(NORM, 1.0, 1000, 0.6, 2.0)
    validation = (
        Track("loss", (100, 500, 900), (0.5, 0.2, 0.1)),
        Track("wrong sequences", (100, 500, 900), (0.6, 0.2, 0.05)),
    )
    return Story(
        "run",
        diagnosis=judged(layer(reach=fading(), need=bump()), depth=(depth,), clipping=clipping),
        history=course(marks=marks),
        proof=trial(),
        trained=Trained({}, None, validation),
    )


def torture():
    """As bad as a folder can be: hostile names, NaN, infinities, explosions, many layers, a million steps."""
    reaches = (
        fading(0.999),
        fading(1.5, horizon=2000),
        replace(fading(), log_gain=(math.nan,) * len(fading().lags)),
        replace(fading(), log_gain=(0.0, -math.inf, *(math.inf,) * (len(fading().lags) - 2))),
        fading(1e-9, horizon=400),
        replace(fading(), horizon=60),
        None,
    )
    needs = (bump(), NONE_FOUND, None, replace(bump(), detectable=math.nan, strength=(math.nan,) * 150))
    layers = [
        layer(
            HOSTILE[place % len(HOSTILE)] + str(place),
            reaches[place % len(reaches)],
            needs[place % len(needs)],
            direction="reverse" if place % 2 else "forward",
            deep=DeepNeed(bump(90, 100), 12, 1.0, 3.0) if place % 3 == 0 else None,
        )
        for place in range(20)
    ]
    names = tuple(HOSTILE[place % len(HOSTILE)] for place in range(300))
    depth = Depth(HOSTILE[0], "layers", names, tuple(-9.0 * p for p in range(300)), (0.0, *(-math.inf,) * 299), -9.0, 5)
    hops = Depth(HOSTILE[1], "hops", tuple(map(str, range(9))), (0.0, *(math.nan,) * 8), (1e9,) * 9, math.nan, 5)
    steps = tuple(range(0, 1_000_000, 50))
    losses = tuple(math.nan if step > 900_000 else 1e300 if step == 500_000 else 1.0 for step in steps)
    sampled = tuple(range(0, 1_000_000, 2000))
    tracks = tuple(
        Track(HOSTILE[place % len(HOSTILE)] + str(place), sampled, ((0.0, math.nan, math.inf, 1e-3, 10.0) * 100)[:500])
        for place in range(40)
    )
    marks = tuple(Mark(step, HOSTILE[place % 9], HOSTILE[(place + 1) % 10]) for place, step in enumerate(steps[::10]))
    history = History(
        losses=Track("loss", steps, losses),
        before=Track("gradient", sampled, ((0.1, math.inf, math.nan, 1e9, 0.0) * 100)[:500]),
        after=Track("as used", sampled, (math.nan,) * 500),
        limit=Track("limit", sampled, ((1.0, 2.0) * 250)[:500]),
        reach=tuple(replace(grown(one.module, range(512)), layer=_key(one)) for one in layers),
        updates=tracks,
        dead=tracks,
        saturated=tracks[:3],
        marks=marks,
    )
    arms = [arm(HOSTILE[place % len(HOSTILE)] + str(place), (0.1, math.nan, math.inf)) for place in range(30)]
    arms[0] = Arm(HOSTILE[0], (outcome(0, math.nan, None, "crashed"),))
    return Story(
        HOSTILE[2],
        diagnosis=judged(*layers, steps=1_000_000, depth=(depth, hops) * 4),
        history=history,
        proof=trial(*arms, metric=HOSTILE[1]),
        trained=Trained({}, None, tuple(Track(name, (1, 2), (math.nan, 1.0)) for name in ("loss", *HOSTILE))),
    )


def _key(of):
    return LayerKey(of.module, of.kind, of.index, of.direction, of.hidden, of.whole)


EMPTY = (
    Story("nothing"),
    Story("unread", diagnosis=Diagnosis(Record({}, 0, 0.0, 0.0, (), None, None), ())),
    Story("bare", proof=Proof(Arm("control"), Arm("random"), ())),
)
