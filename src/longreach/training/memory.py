"""How long a memory the data need, and which network has one: measured before training, told with reasons."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from longreach.batch import Batch
from longreach.measurement import measure
from longreach.probes.deep import deep_test
from longreach.probes.need import shortcut_test
from longreach.probes.samples import Pairs
from longreach.record import DeepNeed, Need
from longreach.training.network import SHORTEST, Architecture, Network, choices
from longreach.training.plan import Plan, Settings
from longreach.training.problem import Problem, Sizes

SEQUENCES = 1024  # that the need is measured on
NUMBERS = 8_000_000  # inputs looked at, at most: long sequences are fewer
SECONDS, DEEP_SECONDS = 2.5, 0.5  # for all measuring, about; for what two inputs tell only together, at least
DIRECTIONS = 16  # of the error that are tested, those in which it is largest
ROWS = 4  # sequences that the reach of a network at its start is measured on
BLIND = 0.05  # share of the error that a test must be able to see for its "none" to count
FAR = 32  # steps; gates learn what lies nearer by themselves
NEAR, ONCE, OFTEN = "lstm", "min-gru", "min-gru+phases"
WINDOWS = (128, 256, 512)  # steps; a stream is cut into windows of one of these
NARROWEST = 64  # units that the reach is measured with
WIDTHS = (32, 64, 128, 256, 512)
WEIGHTS_PER_ANSWER = 1.5  # at most; more are learned by heart


def prescribe(problem: Problem, settings: Settings) -> Plan:
    """The plan for a problem: what the user said, and what the data ask for.

    Need     of the data: `shortcut_test` of the errors of the best constant answer on the inputs, and `deep_test` in
             what is left of SECONDS; the longer of the two
    Cell     an LSTM where most of what is needed lies within FAR steps. Where it lies further back, a network that is
             linear in its state (docs/results.md): a minimal GRU, which chooses what to keep; and beside it Phases,
             which keep all in its order, where more than one answer is asked of a sequence. If a gradient in it, as
             it starts, reaches less far than needed, whichever reaches furthest
    Window   of a stream, the first of WINDOWS that holds the need
    Width    the largest of WIDTHS with no more than WEIGHTS_PER_ANSWER weights for each answer in the training data
    Cost     three seconds or so
    """
    torch.manual_seed(settings.seed)
    advice = problem.advice()
    batch = settings.batch or advice.batch
    need = needed(problem, batch, settings)
    lag, reasons = need.lag, [*problem.remarks(), need.told]
    window = settings.window or max(settings.hop or 0, next((one for one in WINDOWS if one > lag), WINDOWS[-1]))
    window = min(window, max(problem.longest, settings.hop or 0)) if problem.carries else problem.longest
    sizes = Sizes(batch, window, settings.hop or window, settings.seed)
    start = settings.lag or advice.lag or max(lag, SHORTEST)  # longer than needed, gates learn slowly
    architecture = Architecture(
        problem.shape,
        settings.cell or NEAR,
        settings.hidden or advice.hidden or NARROWEST,
        settings.layers or advice.layers,
        start,
        advice.dropout if settings.dropout is None else settings.dropout,
    )
    architecture, reach, why = _reaching(problem, architecture, sizes, need, settings)
    reasons.append(why)
    if settings.hidden is None and advice.hidden is None:
        architecture = _as_wide_as_fits(architecture, problem.answers)
    if problem.carries:
        reasons.append(f"windows of {window} steps, an update every {sizes.hop}")
    updates = settings.steps or advice.updates
    return Plan(
        architecture=architecture,
        sizes=sizes,
        lr=settings.lr or advice.lr or min(one.lr for one in choices(architecture.cell)),
        weight_decay=advice.weight_decay if settings.weight_decay is None else settings.weight_decay,
        updates=updates,
        judge_every=max(advice.judge_every, updates // advice.judgements),
        patience=settings.patience or advice.patience,
        clip=advice.clip if settings.clip is None else settings.clip,
        remedies=settings.remedies,
        checkpoint_every=settings.checkpoint_every,
        machine=settings.machine,
        reasons=tuple(reasons),
        reach=reach,
        need=lag or None,
    )


@dataclass(frozen=True)
class Needed:
    """How far back the data have to be remembered.

    lag     steps; 0: nowhere, all that the test could see
    is_far  whether most of it lies further back than FAR
    told    the same in a sentence
    """

    lag: int
    is_far: bool
    told: str


def needed(problem: Problem, batch: int, settings: Settings) -> Needed:
    """The need of the data: how what is wrong with the best constant answer depends on the inputs."""
    until = time.perf_counter() + SECONDS
    pairs = pairs_of(problem, batch, settings.seed)
    need = shortcut_test(pairs)
    left = max(until - time.perf_counter(), DEEP_SECONDS)
    deep = deep_test(pairs, seconds=left) if settings.deep else None
    single, double = (need.lag or 0) if need else 0, (deep.need.lag or 0) if deep else 0
    whole = max(one.inputs.shape[1] for one in pairs) - 1
    if need is None:
        return Needed(0, False, "the data give nothing to remember")
    if need.lag is not None or double:
        lag, which = max((single, "an input"), (double, "two inputs together"))
        told = f"the data need {lag} of {whole} steps, of {which}"
        hidden = f"; less than {need.detectable:.1%} of the error may hide beyond" if need.detectable < 1 else ""
        return Needed(lag, _is_far(need, deep), told + hidden)
    told = f"no need of memory was found, and a share of {need.detectable:.1%} of the error would have been seen"
    if need.detectable > BLIND and not problem.carries:
        return Needed(whole, True, f"{told}: that is not enough to tell, so all {whole} steps are kept in reach")
    return Needed(0, False, told)


def _is_far(need: Need, deep: DeepNeed | None) -> bool:
    """Whether the further part of the lags holds more of what is needed; each reported strength stands for a lag."""
    if need.lag is None:
        return deep is not None and (deep.need.lag or 0) > FAR
    lags, strength = np.array(need.lags), np.array(need.strength) * np.gradient(np.array(need.lags, dtype=float))
    return bool(strength[lags > FAR].sum() > strength[lags <= FAR].sum())


def pairs_of(problem: Problem, batch: int, seed: int) -> list[Pairs]:
    """Inputs, and what the best constant answer gets wrong: the gradient of the loss there, less its mean."""
    longest = min(problem.longest, WINDOWS[-1]) if problem.carries else problem.longest
    wanted = max(min(SEQUENCES, NUMBERS // (longest * _width(problem))), 64)
    wanted = int(min(wanted, problem.sequences))  # none twice: they would count as independent of each other
    rows = min(batch, problem.advice().batch, wanted)
    if problem.carries:
        wanted = int(min(wanted, max(problem.answers // (rows * longest), 1) * rows))
    draw = problem.training(Sizes(rows, longest, longest, seed))
    batches: list[Batch] = []
    while sum(len(one.x) for one in batches) < wanted:
        batches.append(draw(len(batches)))
    errors = [_gradient(problem, one) for one in batches]
    mean, power = torch.cat(errors).mean(dim=0), torch.cat(errors).var(dim=0, correction=0)
    kept = power.argsort(descending=True, stable=True)[:DIRECTIONS]
    size = power[kept].mean().sqrt().clamp(min=1e-12)
    return [
        _pairs(number, one, (error - mean)[:, kept] / size, problem.shape.symbols)
        for number, (one, error) in enumerate(zip(batches, errors, strict=True))
    ]


def _width(problem: Problem) -> int:
    return 1 if problem.shape.symbols else problem.shape.inputs


def _gradient(problem: Problem, batch: Batch) -> Tensor:
    answer = torch.zeros(len(batch.y), problem.shape.outputs, requires_grad=True)
    (gradient,) = torch.autograd.grad(problem.loss(answer, batch.y), answer)
    return gradient * len(batch.y)


def _pairs(number: int, batch: Batch, errors: Tensor, symbols: bool) -> Pairs:
    """Right-aligned: sequences end together."""
    batch_size, steps = batch.asked.shape
    spread = torch.zeros(batch_size, steps, errors.shape[1])
    spread[batch.asked] = errors
    last = steps - batch.asked.flip(1).float().argmax(dim=1)  # one beyond the last asked step
    source = torch.arange(steps) - (steps - last)[:, None]
    inside = source >= 0
    rows = torch.arange(batch_size)[:, None]
    x = batch.x[rows, source.clamp(min=0)] * inside[:, :, None]
    spread = spread[rows, source.clamp(min=0)] * inside[:, :, None]
    inputs = x.numpy().astype(np.int64 if symbols else np.float32)
    return Pairs(number, inputs, spread.numpy().astype(np.float32), last.numpy(), symbols)


def _reaching(
    problem: Problem, architecture: Architecture, sizes: Sizes, need: Needed, settings: Settings
) -> tuple[Architecture, int | None, str]:
    """The first cell that reaches as far as is needed, how far it does, and why it was taken."""
    batch = problem.training(replace(sizes, batch=ROWS))(0)
    far = ONCE if (batch.asked.sum(dim=1) == 1).all() else OFTEN
    chosen = settings.cell or problem.advice().cell
    names = (chosen,) if chosen else (far, NEAR) if need.is_far else (NEAR, far)
    tried: list[tuple[str, int]] = []
    for name in names:
        reach = reach_of(problem, replace(architecture, cell=name), batch)
        tried.append((name, reach))
        if reach >= min(need.lag, batch.x.shape[1] - 1):
            break
    best, reach = max(tried, key=lambda pair: pair[1]) if len(tried) == len(names) else tried[-1]
    others = "".join(f"; {name} would reach {far}" for name, far in tried if name != best)
    why = f"{best} reaches {reach} of {batch.x.shape[1] - 1} steps at its start{others}"
    told = " (asked for)" if settings.cell else " (known to learn such data best)" if chosen else ""
    return replace(architecture, cell=best), reach, f"{why}{told}"


def reach_of(problem: Problem, architecture: Architecture, batch: Batch) -> int:
    """How far a gradient reaches in such a network before it has learned anything; the best of its stacks."""
    network = Network(architecture)

    def loss(answers: Tensor, y: Tensor) -> Tensor:
        return problem.loss(answers, y)

    record = measure(_Answers(network), ((batch.x, batch.asked), batch.y), loss)
    reaches: dict[str, int] = {}
    for layer in record.layers:
        if layer.reach is not None:  # of a stack, what its shortest layer lets through
            reaches[layer.module] = min(layer.reach.lag, reaches.get(layer.module, layer.reach.lag))
    return max(reaches.values(), default=0)


class _Answers(nn.Module):
    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, asked: Tensor) -> Tensor:
        return self.network(x, asked)[0]


def _as_wide_as_fits(architecture: Architecture, answers: float) -> Architecture:
    if answers == float("inf"):
        return replace(architecture, hidden=sum(one.hidden for one in choices(architecture.cell)))
    for width in reversed(WIDTHS):
        wide = replace(architecture, hidden=width)
        weights = sum(own.numel() for own in Network(wide).parameters())
        if weights <= WEIGHTS_PER_ANSWER * answers:
            return wide
    return replace(architecture, hidden=WIDTHS[0])
