"""LR601 no-signal."""

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.learning import solved, stuck
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import Stack, asked, named, stacks, useful
from longreach.diagnosis.wording import percent
from longreach.record import Need, Record

FALLEN = 0.5  # of the early loss: a run that lost half of it has learned something


def no_signal(record: Record) -> tuple[Finding, ...]:
    """The inputs carry nothing about the target at any lag.

    Looks at        need, at the end and at the start of the run, at every lag; the loss
    Why it matters  no change of the network will help: labels are shuffled, shifted against their inputs, or noise
    Threshold       no significant lag in a test that would have found a quarter of the error's variance (detectable
                    <= 0.25), and a loss that kept at least half of its level after the first tenth of the run
    Stays silent    where any layer of the model sees a need, at the start or at the end; where the tests had less
                    power; where the loss fell, or cannot be judged (too short, below zero, not finite); of whole models
                    that learn: what a convolution hears may be the size of a wave, at any phase, and correlates with
                    no single input
    Blind to        what shows only when two inputs are read together (XOR), unless the deep test looked for it
                    (`--deep`); what shows only when three or more are (parity)
    Remedies        none: look at the data
    Papers          Zhang, Bengio, Hardt, Recht & Vinyals 2017, for what networks do with labels of noise
    """
    everything = stacks(record)
    lost = fall(record.loss)
    needs = [need for layer in record.layers for need in (asked(layer), layer.need_start)]
    seen = any(need and need.lag is not None for need in needs)
    if seen or lost is None or lost > FALLEN or solved(record):
        return ()
    deaf = (stack for stack in everything if not stack.whole or stuck(record))
    modules = {stack.module: (test, stack) for stack in deaf if (test := _sharpest(stack))}
    return tuple(_finding(stack, test, lost) for test, stack in modules.values())


def _sharpest(stack: Stack) -> Need | None:
    """The test with the most power, if any had enough."""
    tests = [need for need in (stack.need, stack.need_start) if need and useful(need)]
    return min(tests, key=lambda need: need.detectable, default=None)


def _finding(stack: Stack, test: Need, lost: float) -> Finding:
    others = "two others" if stack.deep and useful(stack.deep.need) else "another"
    summary = (
        "Nothing in the input was found to say anything about the error, near or far, and the loss "
        f"{_course(lost)}. An input that explains {percent(test.detectable)} of the error or more would have been "
        f"found, unless it counts only together with {others}. Check that inputs and targets belong together."
    )
    evidence = {
        "detectable": test.detectable,
        "p_value": test.p_value,
        "sequences": test.sequences,
        "loss_fall": lost,
    }
    return Finding("LR601", "no-signal", "warning", named(stack.module), summary, evidence)


def _course(lost: float) -> str:
    return f"fell by only {percent(lost)}" if lost >= 0.005 else "did not fall"
