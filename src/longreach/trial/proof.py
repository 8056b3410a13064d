"""What a trial found, as plain data: runs, arms, and whether an arm is proven to help."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal, Self

from longreach.errors import RunReadError
from longreach.plain import build, plain
from longreach.trial.effect import Effect, effect, luck

SCHEMA = "longreach.proof/1"
FEWEST_SEEDS = 3  # below, nothing is proven (luck), and nothing is given up for good
BLOWN_UP = 10.0  # starts above the start: such an end says that it is large, and no more
POINTS = 100  # of a thinned curve
Verdict = Literal["proven", "no better", "worse", "undecided", "not applicable"]


@dataclass(frozen=True)
class Outcome:
    """One run: an arm of the trial with one seed.

    loss     at the end: `at_end` of its losses; whatever metric the trial is judged by
    losses   the curve, thinned; the first is that of the untrained model
    seconds  of wall time, training alone
    memory   the most that was held, MiB
    reach    of the recurrent layer that reaches furthest; steps, None if not measured
    failed   why the run has no end: it crashed, or ran out of time
    """

    seed: int
    loss: float
    losses: tuple[float, ...]
    seconds: float
    memory: float
    reach: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Arm:
    """All runs of one treatment, "identity-init+clip-norm", or why it fits this model not at all."""

    name: str
    outcomes: tuple[Outcome, ...] = ()
    not_applicable: str | None = None

    def on(self, seeds: Iterable[int]) -> list[Outcome]:
        """The runs with these seeds, in this order."""
        of_seed = {outcome.seed: outcome for outcome in self.outcomes}
        return [of_seed[seed] for seed in seeds if seed in of_seed]


@dataclass(frozen=True)
class Proof:
    """Paired runs of a control, a random change and any number of arms: same start, same batches, same seeds.

    An arm is proven if both its intervals, against the control and against the random change, exclude 0; if each
    effect is at least `worth` of what the control ends with; and if luck alone does not explain it (trial.effect.luck).

    control   without any change
    random    changed at random, in the way that remedies change things: what no remedy may be confused with
    arms      what is on trial
    metric    what `loss` in the outcomes is; their curves are of it only if it is called "loss"
    steps     of training, each run
    level     chance that anything at all is called proven though nothing helps: over all arms and looks together
    worth     the least effect worth having, as a share of what the control ends with
    looks     how often the trial may be judged until it ends (it may stop at any of them)
    notes     for people
    """

    control: Arm
    random: Arm
    arms: tuple[Arm, ...]
    metric: str = "loss"
    higher_is_better: bool = False
    steps: int = 0
    level: float = 0.01
    worth: float = 0.1
    looks: int = 1
    notes: tuple[str, ...] = ()
    schema: str = field(default=SCHEMA)

    @property
    def effects(self) -> dict[str, Effect]:
        """Of every arm that has runs, against the control."""
        return {arm.name: self.against(self.control, arm) for arm in self.arms if arm.outcomes}

    @property
    def winner(self) -> Arm | None:
        """The proven arm with the largest effect; None if none is proven."""
        proven = [arm for arm in self.arms if self.verdict(arm) == "proven"]
        return max(proven, key=lambda arm: self.against(self.control, arm).estimate, default=None)

    @property
    def decided(self) -> bool:
        """Whether another seed would change nothing: no arm is undecided, or none of these is ahead of the winner."""
        best = self.winner
        bar = self.against(self.control, best).estimate if best else -math.inf
        undecided = [arm for arm in self.arms if self.verdict(arm) == "undecided"]
        return all(self.against(self.control, arm).estimate <= bar for arm in undecided)

    def against(self, control: Arm, arm: Arm, *, level: float | None = None) -> Effect:
        """How much better `arm` ended than `control`, over the seeds that both have; what runs count for: `_counted`.

        level   of the interval; if None, the share of the trial's level that one arm has at one look
        """
        seeds = _common(control, arm)
        ends = self._counted(control, seeds), self._counted(arm, seeds)
        return effect(*ends, level=level or self._share, higher_is_better=self.higher_is_better)

    def verdict(self, arm: Arm) -> Verdict:
        """What may be said of an arm, or of the random change (which is held against the control alone).

        To give an arm up is a guess about one arm, and its interval has the whole level; to call it proven is a choice
        among all, and has a share.
        """
        if not arm.outcomes:
            return "not applicable"
        controls = [one for one in (self.control, self.random) if one.outcomes and one is not arm]
        alone = [self.against(control, arm, level=self.level) for control in controls]
        among = [self.against(control, arm) for control in controls]
        bar = self.bar(arm)
        if min(one.seeds for one in alone) < FEWEST_SEEDS:
            return "undecided"
        if alone[0].high < 0:
            return "worse"
        if any(one.high < bar or (one.low > 0 and one.estimate < bar) for one in alone):
            return "no better"
        lucky = luck(min(one.seeds for one in among), len(controls)) > self._share
        return "undecided" if lucky or any(one.low <= 0 or one.estimate < bar for one in among) else "proven"

    def bar(self, arm: Arm) -> float:
        """The least effect of an arm that is worth having."""
        return self.worth * abs(_mean(self._counted(self.control, _common(self.control, arm))))

    def gain(self, arm: Arm) -> dict[int, float]:
        """By how much each run of an arm ended better than the control's with the same seed."""
        seeds = _common(self.control, arm)
        ends = zip(self._counted(self.control, seeds), self._counted(arm, seeds), strict=True)
        sign = -1 if self.higher_is_better else 1
        return {seed: sign * (before - after) for seed, (before, after) in zip(seeds, ends, strict=True)}

    def reached(self, arm: Arm) -> tuple[int, int]:
        """How many runs of an arm, and of both controls, ended nearer to the arm's mean than to the control's."""
        here, there = self.ends(self.control, arm), self.ends(arm, arm)
        middle = (_mean(here) + _mean(there)) / 2
        better = max if self.higher_is_better else min
        within = [
            [end != middle and better(end, middle) == end for end in ends]
            for ends in (there, here + self.ends(self.random, arm))
        ]
        return sum(within[0]), sum(within[1])

    def ends(self, one: Arm, arm: Arm) -> list[float]:
        """What the runs of `one` count for, with the seeds that control and `arm` have."""
        return self._counted(one, _common(self.control, arm))

    def _counted(self, arm: Arm, seeds: Iterable[int]) -> list[float]:
        """What runs count for: what they ended with, unless they blew up: failed, not finite, or far above the start.

        Such a run of an arm counts for the worst start of the controls. So does one of a control, unless most of that
        control's runs went well: then for the worst of these. So neither does one control in five that blows up make a
        remedy look better than it is, nor one that is saved by luck hide that the others are lost. A metric that is not
        the loss has no start: there it is the worst end of all runs.
        """
        sign = -1 if self.higher_is_better else 1
        starts = _finite(run.losses[0] for run in self.control.outcomes if run.losses and self.metric == "loss")
        runs = [run for one in (self.control, self.random, *self.arms) for run in one.outcomes]
        worst = starts or _finite(sign * run.loss for run in runs if run.failed is None)
        start = max(worst, default=0.0)
        far = start + BLOWN_UP * abs(start)
        ends = {run.seed: sign * run.loss for run in arm.outcomes if run.failed is None and math.isfinite(run.loss)}
        well = {seed: end for seed, end in ends.items() if end <= far}
        mostly = 2 * len(well) > len(arm.outcomes) and (arm is self.control or arm is self.random)
        lost = max(well.values()) if mostly else start
        return [sign * well.get(run.seed, lost) for run in arm.on(seeds)]

    @property
    def _share(self) -> float:
        return self.level / (max(1, sum(bool(arm.outcomes) for arm in self.arms)) * self.looks)

    def to_json(self) -> str:
        """One line of strict JSON; non-finite numbers become the strings "nan", "inf" and "-inf"."""
        return json.dumps(plain(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        Raises  RunReadError if this is no proof, or one of another version
        """
        try:
            value = json.loads(text)
            if value["schema"] == SCHEMA:
                return build(cls, value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunReadError(f"expected a proof as JSON, got something else: {error!r}") from error
        raise RunReadError(f"expected a proof of schema {SCHEMA}, got {value['schema']!r}: another version wrote it")

    def __str__(self) -> str:
        from longreach.report import proved  # drawing lies above proving: known here only when asked to draw

        return proved.render(self).rstrip("\n")

    def _repr_html_(self) -> str:
        from longreach.report import notebook

        return notebook.of_proof(self)

    @property
    def sentence(self) -> str:
        """What is proven, with its numbers."""
        best = self.winner
        if best is None:
            tried = [arm for arm in self.arms if arm.outcomes]
            open_ = sum(self.said(arm) == "undecided" for arm in tried)
            rest = f"; {open_} undecided: needs more seeds" if open_ else ""
            return f"none of {len(tried)} is proven after {self.steps} steps{rest}"
        own, others = self.reached(best)
        one = self.against(self.control, best)
        before, after = _mean(self.ends(self.control, best)), _mean(self.ends(best, best))
        return (
            f"{best.name}: {self.metric} {before:.3g} -> {after:.3g} after {self.steps} steps on {own} of {one.seeds} "
            f"seeds, effect {_interval(one)}; control and random changes: {others or 'none'}."
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The arms that ran, in words: headings, the controls, then the best arm first."""
        tried = sorted((arm for arm in self.arms if arm.outcomes), key=lambda arm: -_mean(self.gain(arm).values()))
        rows = [self._row(arm) for arm in (self.control, self.random, *tried) if arm.outcomes]
        return [(HEADINGS[0], self.metric, *HEADINGS[2:]), *rows]

    @property
    def remarks(self) -> list[str]:
        """Sentences under the table: arms that fit this model not at all, and those that were left behind."""
        said = [
            f"{arm.name}: not applicable: {str(arm.not_applicable).removeprefix(arm.name + ': ')}"
            for arm in self.arms
            if not arm.outcomes
        ]
        if any(0 < len(arm.outcomes) < len(self.control.outcomes) for arm in self.arms):
            said.append("Arms with fewer seeds were decided, or given up for better ones.")
        return said

    def _row(self, arm: Arm) -> tuple[str, ...]:
        seeds = _common(self.control, arm)
        before, after = _mean(self.ends(self.control, arm)), _mean(self.ends(arm, arm))
        pairs = list(zip(self.control.on(seeds), arm.on(seeds), strict=True))
        costs = _ratio((a.seconds, b.seconds) for a, b in pairs), _ratio((a.memory, b.memory) for a, b in pairs)
        reaches = [run.reach for run in arm.on(seeds) if run.reach is not None]
        reach = f"{median(reaches):.0f}" if reaches else ""
        if arm is self.control:
            return arm.name, f"{before:.2g}", str(len(seeds)), "", *costs, reach, ""
        one = self.against(self.control, arm)
        moved = f"{before:.2g}->{after:.2g}"
        name = "random change" if arm is self.random else arm.name
        return name, moved, f"{one.better}/{len(seeds)}", _interval(one), *costs, reach, self.said(arm)

    def said(self, arm: Arm) -> str:
        """The verdict; of an arm that was left behind undecided, that it was given up."""
        verdict = self.verdict(arm)
        left = arm is not self.random and len(arm.outcomes) < len(self.control.outcomes)
        return "given up" if verdict == "undecided" and left else verdict


HEADINGS = ("arm", "loss", "better", "effect", "time", "mem", "reach", "")


def survivors(proof: Proof, keep: int) -> tuple[Arm, ...]:
    """Which arms are worth another seed (successive halving: Jamieson & Talwalkar 2016, arXiv 1502.07943).

    Stay    proven arms; of the undecided the `keep` with the largest mean gain; and whatever may still win: what
            gained, on some seed, half as much as the best arm did on it, and enough to be worth having
    Go      what is decided and not proven; what failed on every seed; the rest
    """
    undecided = [arm for arm in proof.arms if proof.verdict(arm) == "undecided"]
    alive = [arm for arm in undecided if any(run.failed is None for run in arm.outcomes)]
    gains = {arm.name: proof.gain(arm) for arm in alive}
    first = sorted(alive, key=lambda arm: -_mean(gains[arm.name].values()))[:keep]
    seeds = {seed for of_arm in gains.values() for seed in of_arm}
    best = {seed: max(of_arm.get(seed, -math.inf) for of_arm in gains.values()) for seed in seeds}
    able = [
        arm
        for arm in alive
        if any(gain >= max(proof.bar(arm), best[seed] / 2) > 0 for seed, gain in gains[arm.name].items())
    ]
    return tuple(arm for arm in proof.arms if arm in first or arm in able or proof.verdict(arm) == "proven")


def at_end(losses: Sequence[float]) -> float:
    """The loss at the end of a run: the mean over its last tenth, at least ten steps; NaN if there is none."""
    last = losses[-max(10, len(losses) // 10) :]
    return fmean(last) if last else math.nan


def thinned(losses: Sequence[float]) -> tuple[float, ...]:
    """At most a hundred of them, evenly spaced, with the first and the last."""
    if len(losses) <= POINTS:
        return tuple(losses)
    return tuple(losses[round(place * (len(losses) - 1) / (POINTS - 1))] for place in range(POINTS))


def _common(one: Arm, other: Arm) -> list[int]:
    having = {outcome.seed for outcome in other.outcomes}
    return [outcome.seed for outcome in one.outcomes if outcome.seed in having]


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return fmean(values) if values else math.nan


def _interval(one: Effect) -> str:
    """The estimate with its interval; of one seed there is none."""
    return f"{one.estimate:.2g} [{one.low:.2g}, {one.high:.2g}]" if math.isfinite(one.low) else f"{one.estimate:.2g}"


def _ratio(pairs: Iterable[tuple[float, float]]) -> str:
    ratios = [after / before for before, after in pairs if before > 0]
    return f"{median(ratios):.1f}x" if ratios else ""
