"""The need test on trial: false needs, power on stuck networks, speed.

python benchmarks/need.py calibration [--runs 2000] [--processes 2]
python benchmarks/need.py power [--repetitions 5]
python benchmarks/need.py speed
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.stats import binom
from torch import nn

from longreach.probes.need import shortcut_test
from longreach.probes.samples import Pairs
from longreach.record import Need

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


def calibration(runs: int, processes: int, trial: Callable[[tuple], int] = trial) -> None:
    """False needs of a test, by `trial`: the tables of docs/need.md and docs/deep.md."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # in the processes that are started: one small test each
    for title, errors, beyond in (
        ("errors of noise: a need at any lag is false", NOISE, -1),
        (f"errors from x_t, …, x_t-{LAST}: a need beyond lag {LAST} is false", RECENT, LAST),
    ):
        begin = time.perf_counter()
        cases = list(itertools.product(INPUTS, errors, (False, True)))
        jobs = [(seed, *cases[seed % len(cases)]) for seed in range(runs)]
        with ProcessPoolExecutor(processes, get_context("spawn")) as workers:
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
        print(f" of {many.sum()}; {time.perf_counter() - begin:.0f} s on {processes} processes", flush=True)


# ---------------------------------------------------------------- power


def adding(rng: Rng, count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Arjovsky, Shah & Bengio 2016: values in [0, 1], one marker in each half, the sum at the last step."""
    value, marker = rng.uniform(size=(count, length)), np.zeros((count, length))
    rows, half = np.arange(count), length // 2
    first, second = rng.integers(half, size=count), half + rng.integers(length - half, size=count)
    marker[rows, first] = marker[rows, second] = 1
    x, y = np.stack([value, marker], axis=2), value[rows, first] + value[rows, second]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32)


def copying(rng: Rng, count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Arjovsky, Shah & Bengio 2016: ten symbols of eight, blanks, a delimiter, then the ten symbols again."""
    symbols = 1 + rng.integers(8, size=(count, 10))
    ids, y = np.zeros((count, length + 20), int), np.zeros((count, length + 20), int)
    ids[:, :10], ids[:, length + 9], y[:, length + 10 :] = symbols, 9, symbols
    return torch.tensor(np.eye(10)[ids], dtype=torch.float32), torch.tensor(y)


def temporal_order(rng: Rng, count: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pascanu, Mikolov & Bengio 2013: A or B in [.1, .2) and [.5, .6) of the length; four classes at the end."""
    ids, rows = 2 + rng.integers(4, size=(count, length)), np.arange(count)
    bits, tenth = rng.integers(2, size=(count, 2)), length // 10
    ids[rows, tenth + rng.integers(tenth, size=count)] = bits[:, 0]
    ids[rows, 5 * tenth + rng.integers(tenth, size=count)] = bits[:, 1]
    return torch.tensor(np.eye(6)[ids], dtype=torch.float32), torch.tensor(2 * bits[:, 0] + bits[:, 1])


# task: (sequences, outputs, true lags of the far input as (first, last))
TASKS = {
    "adding": (adding, 1, lambda length: (length - length // 2, length - 1)),
    "copying": (copying, 9, lambda length: (length + 10, length + 10)),
    "temporal order": (temporal_order, 4, lambda length: (length - 2 * (length // 10), length - length // 10 - 1)),
}
CELLS = {"tanh RNN": nn.RNN, "LSTM": nn.LSTM}
SEQUENCES = (256, 512, 1024)


def loss_of(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if y.is_floating_point():
        return nn.functional.mse_loss(output[:, -1], y)
    if y.ndim == 1:
        return nn.functional.cross_entropy(output[:, -1], y)
    return nn.functional.cross_entropy(output.flatten(0, 1), y.flatten())


def stuck(task: str, cell: str, length: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and direct errors of batches of 64, from the 21st step of training on: the network still is at chance."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    draw, outputs, _ = TASKS[task]
    layer = CELLS[cell](draw(rng, 1, length)[0].shape[2], 64, batch_first=True)
    readout = nn.Linear(64, outputs)
    optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=1e-3)
    for step in range(20 + max(SEQUENCES) // 64):
        x, y = draw(rng, 64, length)
        hidden, _ = layer(x)
        hidden.retain_grad()
        optimizer.zero_grad()
        loss_of(readout(hidden), y).backward()
        optimizer.step()
        if step >= 20:
            yield x.numpy(), hidden.grad.numpy()


def samples(task: str, cell: str, length: int, seed: int) -> list[Pairs]:
    """All batches, their errors on their eight leading directions."""
    batches = list(stuck(task, cell, length, seed))
    flat = np.concatenate([g.reshape(-1, g.shape[2]) for _, g in batches])
    directions = np.linalg.eigh(flat.T @ flat)[1][:, :-9:-1]
    steps = np.full(64, batches[0][0].shape[1])
    return [
        Pairs(step, x, (g @ directions / np.sqrt(np.mean(g**2))).astype(np.float32), steps, False)
        for step, (x, g) in enumerate(batches)
    ]


def tested(job: tuple[str, int, str, int]) -> list[Need]:
    """The test on the first 256, 512 and 1024 sequences of one run."""
    task, length, cell, seed = job
    torch.set_num_threads(1)
    pairs = samples(task, cell, length, seed)
    return [shortcut_test(pairs[: count // 64]) for count in SEQUENCES]


def power(repetitions: int, processes: int) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    print("found: runs whose lag is one of the true lags, or up to a tenth below; the rest are medians over the runs")
    print("\n| task | T | true lags | network | sequences | found | lag | p | largest strength | detectable |")
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|", flush=True)
    cases = list(itertools.product(TASKS, (100, 200, 500), CELLS))
    jobs = [(*case, seed) for case in cases for seed in range(repetitions)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as workers:
        results = workers.map(tested, jobs)
        for task, length, cell in cases:
            runs = list(itertools.islice(results, repetitions))
            low, high = TASKS[task][2](length)
            for count, needs in zip(SEQUENCES, zip(*runs, strict=True), strict=True):
                found = sum(need.lag is not None and 0.9 * low <= need.lag <= high for need in needs)
                lag = np.median([-1 if need.lag is None else need.lag for need in needs])
                p, strength, share = np.median([(n.p_value, max(n.strength), n.detectable) for n in needs], axis=0)
                row = f"| {task} | {length} | {low}-{high} | {cell} | {count} | {found} of {repetitions} | "
                print(row + f"{lag:.0f} | {p:.3f} | {strength:.3f} | {share:.3f} |", flush=True)


# ---------------------------------------------------------------- speed


def speed() -> None:
    """Best of three: others may use the machine too."""
    rng = np.random.default_rng(0)
    count, steps = 512, 1000
    white = rng.standard_normal((count, steps, 5)).astype(np.float32)
    inputs = {"white": (white, False)}
    inputs["AR(1) .9"] = (lfilter([1.0], [1.0, -0.9], white, axis=1).astype(np.float32), False)
    inputs["tokens, 200"] = (rare_tokens(rng, count, steps), True)
    print(f"| inputs, {count} sequences of {steps} steps | errors | directions | seconds |\n|---|---|--:|--:|")
    for (name, (x, tokens)), directions, many in itertools.product(inputs.items(), (1, 4), (False, True)):
        g = rng.standard_normal((count, steps, directions)).astype(np.float32)
        if not many:
            g[:, :-1] = 0
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            shortcut_test([Pairs(0, x, g, np.full(count, steps), tokens)])
            times.append(time.perf_counter() - begin)
        print(f"| {name} | {'many-to-many' if many else 'many-to-one'} | {directions} | {min(times):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("calibration")
    command.add_argument("--runs", type=int, default=2000)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(run=calibration)
    command = commands.add_parser("power")
    command.add_argument("--repetitions", type=int, default=5)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(run=power)
    commands.add_parser("speed").set_defaults(run=speed)
    arguments = vars(parser.parse_args())
    arguments.pop("command")
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    main()
