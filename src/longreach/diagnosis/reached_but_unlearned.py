"""LR502 reached-but-unlearned."""

from longreach.diagnosis.finding import Finding
from longreach.diagnosis.learning import solved, stuck
from longreach.diagnosis.loss_trend import fall
from longreach.diagnosis.stacks import Stack, stacks
from longreach.diagnosis.truncated_too_short import beyond_window
from longreach.diagnosis.wording import counted, percent
from longreach.record import Record

STRONG = 0.05  # of the error's variance: less would hardly show in the loss
FALLEN = 0.05  # of the early loss: less is within what mini-batches differ by
FEWEST_STEPS = 100  # updates: fewer say nothing about what can be learned
REMEDIES = ("rmsprop", "nesterov", "clip-auto", "layer-norm")


def reached_but_unlearned(record: Record) -> tuple[Finding, ...]:
    """The gradient arrives where the data need it, and still nothing is learned.

    Looks at        need and its strength within reach, and the loss after the first tenth of the run
    Why it matters  the trouble is elsewhere, in the step size, the optimizer or the capacity; medicine against
                    vanishing gradients is wasted here
    Threshold       need <= reach, at least 5 % of the error's variance at some lag within reach, and a median loss in
                    the last quarter less than 5 % below that of the first quarter, over at least 100 steps
    Stays silent    where the loss falls, is solved already, or cannot be judged (too short, below zero, not finite);
                    where need lies beyond reach (LR101) or beyond where the gradient is cut (LR104); where the run has
                    learned, and only its first sequences were tested: what they lacked may have been learned since
    Blind to        slow but certain learning, below 5 % over the whole run; a single strong lag that is learned while
                    the loss is governed by another
    Remedies        other step sizes and optimizers
    Papers          Zucchet & Orvieto 2024, arXiv 2405.21064
    """
    lost = fall(record.loss)
    if lost is None or lost >= FALLEN or record.steps < FEWEST_STEPS or solved(record):
        return ()
    late = (stack for stack in stacks(record) if stack.need != stack.need_start or stuck(record))
    reached = (stack for stack in late if beyond_window(stack, record) is None)
    return tuple(finding for stack in reached if (finding := _judge(stack, lost)))


def _judge(stack: Stack, lost: float) -> Finding | None:
    need, carrier = stack.need, stack.carrier
    if need is None or need.lag is None or carrier is None or carrier.reach is None:
        return None
    reach = carrier.reach
    pairs = zip(need.strength, need.lags, strict=False)
    strong = [(share, lag) for share, lag in pairs if lag <= reach.lag and share >= STRONG]
    if need.lag > reach.lag or not strong:
        return None
    share, lag = max(strong)
    course = "did not fall" if lost < 0.005 else f"fell by only {percent(lost)}"
    summary = (
        f"The input {counted(lag, 'step')} back explains {percent(share)} of the error, and the gradient does reach "
        f"that far ({counted(reach.lag, 'step')}), yet the loss {course}. The trouble is not memory: look at the step "
        "size, the optimizer and the size of the network."
    )
    evidence = {
        "layer": carrier.index,
        "reach": reach.lag,
        "need": need.lag,
        "strongest_lag": lag,
        "strength": share,
        "loss_fall": lost,
    }
    return Finding("LR502", "reached-but-unlearned", "warning", stack.name, summary, evidence, REMEDIES)
