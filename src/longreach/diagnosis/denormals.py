"""LR403 denormals."""

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.stacks import Stack, stacks
from longreach.diagnosis.wording import percent
from longreach.record import Denormals, Record

COSTLY = 0.1  # of all lags


def denormals(record: Record) -> tuple[Finding, ...]:
    """On its way back the gradient becomes so small that the processor slows down.

    Looks at        the share of lags at which half of the gradient's entries are subnormal numbers of their dtype
    Why it matters  a CPU handles them in microcode, tens of times slower: whole backward passes ran 7 (RNN), 10 (GRU)
                    and 17 (LSTM) times slower
    Threshold       a tenth of all lags: at ten times the price per step that tenth doubles the time
    Severity        info: it costs time, and changes nothing of what is learnt
    Stays silent    where the processor was told to treat such numbers as 0, and on a GPU: they cost nothing there
    Blind to        how much of the training time goes into the backward pass of this layer
    Remedies        flush-denormals: such numbers are far too small to change a weight
    Papers          Dooley & Kale 2006, Quantifying the interference caused by subnormal floating-point values
    """
    return tuple(finding for stack in stacks(record) if (finding := _judge(stack)))


def _judge(stack: Stack) -> Finding | None:
    slow = [(found, layer) for layer in stack.layers if (found := layer.denormals) and _costs(found)]
    if not slow:
        return None
    found, layer = max(slow, key=lambda pair: pair[0].share)
    summary = (
        f"From {found.first_lag} to {found.last_lag} steps back ({percent(found.share)} of the way) the gradient "
        "consists of numbers so small that a processor works on them many times slower. This slows training on a CPU "
        "several times and changes nothing in the result."
    )
    evidence = {
        "layer": layer.index,
        "share": found.share,
        "first_lag": found.first_lag,
        "last_lag": found.last_lag,
    }
    return Finding("LR403", "denormals", "info", stack.name, summary, evidence, ("flush-denormals",))


def _costs(found: Denormals) -> bool:
    return not found.flushed and found.share >= COSTLY
