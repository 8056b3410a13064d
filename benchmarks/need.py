"""The need test on trial: false needs, power on stuck networks, speed.

    python benchmarks/need.py calibration [--runs 2000] [--processes 2]
    python benchmarks/need.py power [--repetitions 10]
    python benchmarks/need.py speed
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # one small test per process; `speed` lifts it again
    os.environ.setdefault(name, "1" if "calibration" in os.sys.argv else "2")

import numpy as np
from scipy.signal import lfilter
from scipy.stats import binom

from longreach.probes.need import shortcut_test
from longreach.probes.samples import Pairs

Rng = np.random.Generator
LAST = 3  # in the second table the error depends on x_t, …, x_{t-3} and on nothing else


# ---------------------------------------------------------------- inputs: (sequence, time, feature), or token ids


def gaussian(rng: Rng, count: int, steps: int) -> np.ndarray:
    return rng.standard_normal((count, steps, 3))


def autoregression(rng: Rng, count: int, steps: int, *, weights: tuple[float, ...]) -> np.ndarray:
    noise = rng.standard_normal((count, steps + 200, 1))
    return lfilter([1.0], [1.0, *(-np.array(weights))], noise, axis=1)[:, 200:]


def seasonal(rng: Rng, count: int, steps: int) -> np.ndarray:
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(2 * np.pi * np.arange(steps) / 24 + phase)
    return (wave + 0.5 * rng.standard_normal((count, steps)))[:, :, None]


def random_walk(rng: Rng, count: int, steps: int) -> np.ndarray:
    return rng.standard_normal((count, steps, 1)).cumsum(axis=1) + 5 * rng.standard_normal((count, 1, 1))


def scaled_noise(rng: Rng, count: int, steps: int) -> np.ndarray:
    return rng.lognormal(0, 1, (count, 1, 1)) * rng.standard_normal((count, steps, 1))


def levels(rng: Rng, count: int, steps: int) -> np.ndarray:
    return rng.standard_normal((count, 1, 1)) + rng.standard_normal((count, steps, 1))


def one_hot(rng: Rng, count: int, steps: int) -> np.ndarray:
    return np.eye(6)[rng.integers(6, size=(count, steps))]


def rare_marks(rng: Rng, count: int, steps: int) -> np.ndarray:
    return np.stack([rng.uniform(size=(count, steps)), rng.uniform(size=(count, steps)) < 0.01], axis=2).astype(float)


def markov_tokens(rng: Rng, count: int, steps: int) -> np.ndarray:
    """Eight states in a ring: stay with 0.7, go on with 0.3."""
    moves = rng.uniform(size=(count, steps)) < 0.3
    return ((rng.integers(8, size=(count, 1)) + moves.cumsum(axis=1)) % 8)[:, :, None]


def rare_tokens(rng: Rng, count: int, steps: int) -> np.ndarray:
    return np.minimum(rng.zipf(1.5, size=(count, steps, 1)), 200)


INPUTS: dict[str, Callable[[Rng, int, int], np.ndarray]] = {
    "gaussian": gaussian,
    "AR(1) .9": lambda *at: autoregression(*at, weights=(0.9,)),
    "AR(1) .95": lambda *at: autoregression(*at, weights=(0.95,)),
    "AR(2) oscillating": lambda *at: autoregression(*at, weights=(1.6, -0.9)),
    "seasonal 24": seasonal,
    "random walk": random_walk,
    "scale per sequence": scaled_noise,
    "level per sequence": levels,
    "one-hot of 6": one_hot,
    "value and rare mark": rare_marks,
    "tokens, Markov": markov_tokens,
    "tokens, Zipf": rare_tokens,
}


# ---------------------------------------------------------------- errors of noise: (sequence, time, direction)


def plain(rng: Rng, x: np.ndarray) -> np.ndarray:
    return rng.standard_normal((*x.shape[:2], 3))


def imbalanced(rng: Rng, x: np.ndarray) -> np.ndarray:
    """A class of probability 1 %, predicted with its frequency."""
    return (rng.uniform(size=(*x.shape[:2], 1)) < 0.01) - 0.01


def heavy(rng: Rng, x: np.ndarray) -> np.ndarray:
    return rng.standard_t(2.5, size=(*x.shape[:2], 2))


def persistent(rng: Rng, x: np.ndarray) -> np.ndarray:
    """An error that stays, and is of another size in each sequence."""
    noise = lfilter([1.0], [1.0, -0.95], rng.standard_normal((*x.shape[:2], 2)), axis=1)
    return noise * rng.lognormal(0, 1, (len(x), 1, 1))


def heteroscedastic(rng: Rng, x: np.ndarray) -> np.ndarray:
    """Noise whose size depends on the inputs of the last steps, and its mean does not."""
    score = recent(x)[0]
    return rng.standard_normal(score.shape) * np.exp(np.clip(score, -2, 2))


NOISE = {
    "gaussian": plain,
    "class of 1 %": imbalanced,
    "heavy-tailed": heavy,
    "persistent": persistent,
    "heteroscedastic": heteroscedastic,
}


# ---------------------------------------------------------------- errors from the last steps


def recent(x: np.ndarray) -> list[np.ndarray]:
    """Two standardised scores of x_t, …, x_{t-3}."""
    values = np.sin(3.0 * x) if np.issubdtype(x.dtype, np.integer) else x
    values = values @ (0.7 ** np.arange(values.shape[2]))[:, None]
    values = (values - values.mean()) / values.std()
    delayed = [np.concatenate([np.zeros_like(values[:, :k]), values[:, : x.shape[1] - k]], axis=1) for k in range(4)]
    return [0.5 * delayed[0] + 0.7 * delayed[1] - 0.3 * delayed[3], delayed[2] + 0.4 * delayed[3]]


def linear(x: np.ndarray) -> np.ndarray:
    return sum(recent(x))


def saturated(x: np.ndarray) -> np.ndarray:
    return np.tanh(2 * recent(x)[0]) + np.tanh(2 * recent(x)[1])


def product(x: np.ndarray) -> np.ndarray:
    return recent(x)[0] * recent(x)[1]


def absolute(x: np.ndarray) -> np.ndarray:
    return np.abs(recent(x)[0])


RECENT = {"linear": linear, "tanh": saturated, "product": product, "absolute value": absolute}


# ---------------------------------------------------------------- calibration


def sample(rng: Rng, kind: str, error: str, many: bool) -> Pairs:
    count, steps = (int(rng.choice(sizes)) for sizes in ((128, 192, 256), (60, 100, 150)))
    x = INPUTS[kind](rng, count, steps)
    if error in NOISE:
        g = NOISE[error](rng, x)
    else:
        signal = RECENT[error](x)
        g = signal + signal.std() * rng.uniform(0.1, 1) * rng.standard_normal(signal.shape)
    g = g.astype(np.float32)
    if not many:
        g[:, :-1] = 0
    tokens = np.issubdtype(x.dtype, np.integer)
    x = x if tokens else x.astype(np.float32)
    return Pairs(0, x, g, np.full(count, steps), tokens)


def trial(job: tuple[int, str, str, bool]) -> int:
    """The lag found; -1 if none."""
    seed, kind, error, many = job
    found = shortcut_test([sample(np.random.default_rng([2024, seed]), kind, error, many)], seed=seed)
    return -1 if found is None or found.lag is None else found.lag


def calibration(runs: int, processes: int) -> None:
    for title, errors, beyond in (
        ("errors of noise: a need at any lag is false", NOISE, -1),
        (f"errors from x_t, …, x_t-{LAST}: a need beyond lag {LAST} is false", RECENT, LAST),
    ):
        begin = time.perf_counter()
        cases = list(itertools.product(INPUTS, errors, (False, True)))
        jobs = [(seed, *cases[seed % len(cases)]) for seed in range(runs)]
        with ProcessPoolExecutor(processes) as workers:
            lags = np.array(list(workers.map(trial, jobs, chunksize=10)))
        false = lags > beyond
        print(f"\n{title}: {false.sum()} of {runs} runs = {100 * false.mean():.2f} %", end="")
        print(f" (level 1 %; at 1 %, {binom.ppf(0.95, runs, 0.01):.0f} or fewer in 95 % of such tables)")
        for part, index in (("inputs", 1), ("errors", 2)):
            print(f"\n| {part} | runs | false | largest lag |\n|---|--:|--:|--:|")
            for name in dict.fromkeys(job[index] for job in jobs):
                chosen = np.array([job[index] == name for job in jobs])
                worst = lags[chosen & false].max(initial=-1)
                print(f"| {name} | {chosen.sum()} | {(chosen & false).sum()} | {worst if worst >= 0 else ''} |")
        many = np.array([job[3] for job in jobs])
        print(f"\nmany-to-one {(false & ~many).sum()} of {(~many).sum()}, many-to-many {(false & many).sum()}", end="")
        print(f" of {many.sum()}; {time.perf_counter() - begin:.0f} s on {processes} processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("calibration")
    command.add_argument("--runs", type=int, default=2000)
    command.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.command == "calibration":
        calibration(arguments.runs, arguments.processes)


if __name__ == "__main__":
    main()
