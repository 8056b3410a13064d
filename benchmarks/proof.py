"""The proof on trial: false proofs, power, and forty random changes of real trainings.

nice python benchmarks/proof.py interval [--runs 20000]
nice python benchmarks/proof.py calibration [--runs 4000]
nice python benchmarks/proof.py power [--runs 1000]
nice python benchmarks/proof.py random [--trials 40]
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import binom
from scipy.stats import t as student
from torch import nn

import longreach
from longreach.remedies import named
from longreach.trial.effect import bootstrap, effect
from longreach.trial.proof import FEWEST_SEEDS, Arm, Outcome, Proof

Rng = np.random.Generator
LEVEL = 0.01
SEEDS = (3, 5, 8, 10)
START = 10.0  # what every run begins with: above all that it ends with, so that nothing is cut off

# ---------------------------------------------------------------- what runs end with where nothing helps


def normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return 1 + 0.2 * rng.standard_normal(shape)


def heavy(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return 1 + 0.1 * rng.standard_t(2, shape)


def skewed(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return rng.lognormal(0, 1, shape)


def bimodal(rng: Rng, shape: tuple[int, ...], *, solved: float) -> np.ndarray:
    return np.where(rng.random(shape) < solved, 0.004, 0.167) + 0.001 * rng.standard_normal(shape)


ENDS: dict[str, Callable[[Rng, tuple[int, ...]], np.ndarray]] = {
    "normal": normal,
    "heavy tails (t, 2 degrees)": heavy,
    "skewed (log-normal)": skewed,
    "solved by chance, 1 of 10": functools.partial(bimodal, solved=0.1),
    "solved by chance, 1 of 3": functools.partial(bimodal, solved=1 / 3),
    "solved by chance, 1 of 2": functools.partial(bimodal, solved=0.5),
    "solved by chance, 2 of 3": functools.partial(bimodal, solved=2 / 3),
}


def share(hits: int, runs: int) -> str:
    """In percent, with what it could be (Clopper & Pearson, 95 %)."""
    upper = next(p for p in np.linspace(hits / runs, 1, 20001) if binom.cdf(hits, runs, p) < 0.025)
    return f"{100 * hits / runs:.2f} (< {100 * upper:.2f})"


def student_excludes(differences: np.ndarray, level: float) -> np.ndarray:
    """Which rows have a Student interval wholly above 0; the hull, which holds it, can exclude 0 in no others."""
    seeds = differences.shape[-1]
    margin = student.isf(level / 2, seeds - 1) * differences.std(axis=-1, ddof=1) / np.sqrt(seeds)
    return differences.mean(axis=-1) > margin


# ---------------------------------------------------------------- the interval alone


def interval(runs: int) -> None:
    """How often an interval at 1 % lies wholly above 0 (0.5 % is due): bootstrap, Student's, their hull."""
    print("| ends | seeds | bootstrap | Student | hull |\n|---|--:|--:|--:|--:|")
    few = min(runs, 2000)  # of the bootstrap
    for (name, draw), seeds in itertools.product(ENDS.items(), SEEDS):
        rng = np.random.default_rng(seeds)
        control, arm = draw(rng, (runs, seeds)), draw(rng, (runs, seeds))
        passed = np.flatnonzero(student_excludes(control - arm, LEVEL))
        hull = sum(effect(control[i], arm[i], level=LEVEL).low > 0 for i in passed)
        alone = sum(bootstrap(row, LEVEL)[0] > 0 for row in (control - arm)[:few])
        print(f"| {name} | {seeds} | {100 * alone / few:.1f} | {share(len(passed), runs)} | {share(hull, runs)} |")
    print("\nDifferences that are not symmetric but have the mean 0: mostly a little better, seldom much worse.\n")
    print("| seeds | bootstrap | Student | hull |\n|--:|--:|--:|--:|")
    for seeds in SEEDS:
        differences = np.e**0.5 - np.random.default_rng(seeds).lognormal(0, 1, (runs, seeds))
        passed = np.flatnonzero(student_excludes(differences, LEVEL))
        hull = sum(effect(differences[i], np.zeros(seeds), level=LEVEL).low > 0 for i in passed)
        alone = sum(bootstrap(row, LEVEL)[0] > 0 for row in differences[:few])
        print(f"| {seeds} | {100 * alone / few:.1f} | {share(len(passed), runs)} | {share(hull, runs)} |")


# ---------------------------------------------------------------- the verdict


def arm_of(name: str, ends: np.ndarray) -> Arm:
    return Arm(name, tuple(Outcome(seed, float(end), (START,), 1.0, 1.0) for seed, end in enumerate(ends)))


def proven(control: np.ndarray, shaken: np.ndarray, arms: np.ndarray, *, worth: float) -> list[int]:
    """Seeds after which each arm was first proven, 0 if never; looked at after every seed from the third on."""
    seeds, first = len(control), [0] * len(arms)
    looks = seeds - FEWEST_SEEDS + 1
    for count in range(FEWEST_SEEDS, seeds + 1):
        candidates = student_excludes((control - arms)[:, :count], LEVEL / (len(arms) * looks))
        if not candidates.any():
            continue
        rows = [arm_of(str(place), ends[:count]) for place, ends in enumerate(arms)]
        pair = arm_of("control", control[:count]), arm_of("random", shaken[:count])
        proof = Proof(*pair, tuple(rows), level=LEVEL, worth=worth, looks=looks)
        for place in np.flatnonzero(candidates):
            if first[place] == 0 and proof.verdict(rows[place]) == "proven":
                first[place] = count
    return first


def calibration(runs: int) -> None:
    """Trials in which anything is proven though nothing helps, in percent; 1 is allowed. Any effect is worth having."""
    print("| ends | seeds at most | 1 arm | 10 arms |\n|---|--:|--:|--:|")
    for (name, draw), seeds in itertools.product(ENDS.items(), SEEDS):
        row = []
        for arms in (1, 10):
            rng = np.random.default_rng([seeds, arms])
            trials = runs if arms == 1 else max(1, runs // 4)
            wrong = sum(
                any(proven(draw(rng, (seeds,)), draw(rng, (seeds,)), draw(rng, (arms, seeds)), worth=0.0))
                for _ in range(trials)
            )
            row.append(f"{share(wrong, trials)} {wrong}/{trials}")
        print(f"| {name} | {seeds} | {' | '.join(row)} |", flush=True)


def power(runs: int) -> None:
    """Trials in which an arm that helps is proven, in percent, among nine that do not."""
    print("| the arm | seeds at most | 1 arm | 10 arms |\n|---|--:|--:|--:|")
    stuck = functools.partial(bimodal, solved=0.0)
    helps = {
        "solves every seed: 0.167 -> 0.004": functools.partial(bimodal, solved=1.0),
        "solves 9 seeds of 10": functools.partial(bimodal, solved=0.9),
        "solves 4 seeds of 5": functools.partial(bimodal, solved=0.8),
        "solves every second seed": functools.partial(bimodal, solved=0.5),
        "a fifth less, every seed, noise 3 %": lambda rng, shape: 0.134 + 0.005 * rng.standard_normal(shape),
    }
    noisy = {"a fifth less, every seed, noise 3 %": lambda rng, shape: 0.167 + 0.005 * rng.standard_normal(shape)}
    for (name, draw), seeds in itertools.product(helps.items(), (3, 4, 5, 8, 10)):
        null = noisy.get(name, stuck)
        row = []
        for arms in (1, 10):
            rng, found = np.random.default_rng([seeds, arms]), 0
            for _ in range(runs):
                tried = np.concatenate([draw(rng, (1, seeds)), null(rng, (arms - 1, seeds))])
                found += proven(null(rng, (seeds,)), null(rng, (seeds,)), tried, worth=0.1)[0] > 0
            row.append(f"{100 * found / runs:.0f}")
        print(f"| {name} | {seeds} | {' | '.join(row)} |", flush=True)


# ---------------------------------------------------------------- random changes of real trainings

HIDDEN, BATCH = 16, 16


def adding(steps: int):
    """The sum of the two marked numbers (Hochreiter & Schmidhuber 1997); without a mark the best guess costs 1/6."""
    while True:
        values, marks = torch.rand(BATCH, steps), torch.zeros(BATCH, steps)
        rows = torch.arange(BATCH)
        marks[rows, torch.randint(steps // 2, (BATCH,))] = 1
        marks[rows, steps // 2 + torch.randint(steps // 2, (BATCH,))] = 1
        yield torch.stack([values, marks], dim=2), (values * marks).sum(dim=1)


class Adder(nn.Module):
    def __init__(self, kind: type[nn.Module]):
        super().__init__()
        self.rnn = kind(2, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


NETS = {  # ours compute what torch's do, only faster
    "RNN, stuck": (longreach.nn.RNN, functools.partial(torch.optim.Adam, lr=1e-3)),
    "GRU, learns": (longreach.nn.GRU, functools.partial(torch.optim.Adam, lr=2e-2)),
    "RNN, SGD near its limit": (longreach.nn.RNN, functools.partial(torch.optim.SGD, lr=0.2)),
    "LSTM, not yet learned": (longreach.nn.LSTM, functools.partial(torch.optim.Adam, lr=2e-2)),
}


def random(trials: int) -> None:
    """A second random change, of another draw, on trial as if it were a remedy."""
    torch.set_num_threads(1)
    print("| trial | net | T | change | control | random | on trial | effect | seeds | verdict | s |")
    print("|--:|---|--:|---|--:|--:|--:|---|--:|---|--:|")
    verdicts = []
    cases = itertools.cycle(itertools.product(NETS.items(), (30, 40, 60), ("random-weights", "random-steps")))
    for trial, ((name, (kind, optimizer)), steps, change) in enumerate(itertools.islice(cases, trials)):
        row = named(change)
        other = replace(row, name=f"{change} again", verb=functools.partial(row.verb, draw=trial + 1))
        began = time.perf_counter()
        proof = longreach.prove(
            functools.partial(Adder, kind), functools.partial(adding, steps), nn.functional.mse_loss,
            remedies=[other], steps=250, optimizer=optimizer,
        )  # fmt: skip
        (arm,) = proof.arms
        ends = [np.mean(proof.ends(one, arm)) for one in (proof.control, proof.random, arm)]
        one = proof.effects[arm.name]
        verdicts.append(proof.verdict(arm))
        cells = [trial, name, steps, change, *(f"{end:.3f}" for end in ends)]
        cells += [f"{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}]", one.seeds, verdicts[-1]]
        print("|", " | ".join(map(str, cells)), f"| {time.perf_counter() - began:.0f} |", flush=True)
    print("\n" + ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    for measure, runs in ((interval, 20000), (calibration, 4000), (power, 1000)):
        part = what.add_parser(measure.__name__)
        part.add_argument("--runs", type=int, default=runs)
        part.set_defaults(measure=measure)
    part = what.add_parser("random")
    part.add_argument("--trials", type=int, default=40)
    part.set_defaults(measure=random)
    options = vars(parser.parse_args())
    options.pop("measure")(**options)


if __name__ == "__main__":
    main()
