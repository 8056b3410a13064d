"""The deep need test on trial: false needs, power, speed.

python benchmarks/deep.py calibration [--runs 2000] [--processes 2]
python benchmarks/deep.py power [--repetitions 3] [--processes 2]
python benchmarks/deep.py speed
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from scipy.signal import lfilter
from torch import nn

from longreach.probes.deep import deep_test
from longreach.probes.need import shortcut_test
from longreach.probes.samples import Pairs
from need import calibration, sample

Rng = np.random.Generator


# ---------------------------------------------------------------- calibration


def trial(job: tuple[int, str, str, bool]) -> int:
    """The lag found; -1 if none. The data are those of the need test's own calibration."""
    seed, kind, error, many = job
    found = deep_test([sample(np.random.default_rng([2024, seed]), kind, error, many)], seed=seed)
    return -1 if found is None or found.need.lag is None else found.need.lag


# ---------------------------------------------------------------- power


def delayed_xor(rng: Rng, count: int, steps: int, near: int, far: int) -> tuple[torch.Tensor, torch.Tensor]:
    bits = rng.integers(2, size=(count, steps, 1))
    y = bits[:, steps - 1 - near] != bits[:, steps - 1 - far]
    return torch.tensor(2.0 * bits - 1, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def marked_xor(rng: Rng, count: int, steps: int, *_: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One marked bit in each half of the steps, anywhere in it."""
    bits, marks, rows = rng.integers(2, size=(count, steps)), np.zeros((count, steps)), np.arange(count)
    half = steps // 2
    first, second = rng.integers(half, size=count), half + rng.integers(steps - half, size=count)
    marks[rows, first] = marks[rows, second] = 1
    y = bits[rows, first] != bits[rows, second]
    x = np.stack([2.0 * bits - 1, marks], axis=2)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32)


# (steps, sequences, lag of the nearer bit, lag of the further bit); for marked bits the lags that are right
CASES = [(60, count, *lags) for count in (256, 512) for lags in ((20, 50), (0, 59))]
CASES += [(500, 512, 100, 400), (500, 4000, 20, 100), (500, 4000, 100, 400)]
MARKED = [(60, 4000, 30, 59)]
CELLS = {"tanh RNN": nn.RNN, "LSTM": nn.LSTM}


def stuck(draw: Callable, cell: str, case: tuple[int, int, int, int], seed: int) -> list[Pairs]:
    """Inputs and direct errors of batches of 64, from the first step of training on."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    steps, count, near, far = case
    layer = CELLS[cell](draw(rng, 1, steps, near, far)[0].shape[2], 64, batch_first=True)
    readout = nn.Linear(64, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=1e-3)
    found = []
    for step in range(-(-count // 64)):
        x, y = draw(rng, 64, steps, near, far)
        hidden, _ = layer(x)
        last = hidden[:, -1].detach().requires_grad_()  # the direct error at the last step; what goes further back
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(readout(last), y).backward()
        hidden[:, -1].backward(last.grad)  # … is sent on from here
        optimizer.step()
        g = last.grad.numpy()
        leading = g @ np.linalg.svd(g, full_matrices=False)[2][:1].T
        sign = np.sign((g @ readout.weight.detach().numpy().T * leading).sum())
        errors = np.zeros((64, steps, 1), np.float32)
        errors[:, -1] = sign * leading / np.sqrt(np.mean(leading**2))
        found.append(Pairs(step, x.numpy(), errors, np.full(64, steps), False))
    return found


def tested(job: tuple[Callable, str, tuple[int, int, int, int], int]) -> tuple[int | None, int | None, float, float]:
    draw, cell, case, seed = job
    pairs = stuck(draw, cell, case, seed)
    single, found = shortcut_test(pairs), deep_test(pairs)
    return single.lag, found.need.lag, found.need.detectable, found.seconds


def power(repetitions: int, processes: int) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    print("found: runs whose lag is right; alone: runs in which the test of single inputs found any; medians over runs")
    print("\n| bits | T | sequences | lags | network | found | alone | lag | detectable |", flush=True)
    print("|---|--:|--:|---|---|--:|--:|--:|--:|", flush=True)
    cases = [("at two lags", delayed_xor, *at) for at in itertools.product(CASES, CELLS)]
    cases += [("marked", marked_xor, *at) for at in itertools.product(MARKED, CELLS)]
    jobs = [(draw, cell, case, seed) for _, draw, case, cell in cases for seed in range(repetitions)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as workers:
        results = workers.map(tested, jobs)
        for name, _, case, cell in cases:
            runs = list(itertools.islice(results, repetitions))
            low, high = (case[3], case[3]) if name == "at two lags" else (0.9 * case[2], case[3])
            found = sum(lag is not None and low <= lag <= high for _, lag, *_ in runs)
            alone = sum(lag is not None for lag, *_ in runs)
            lag, share = np.median([(-1 if lag is None else lag, share) for _, lag, share, _ in runs], axis=0)
            at = f"{case[2]}, {case[3]}" if name == "at two lags" else f"{case[2]}-{case[3]}"
            row = f"| {name} | {case[0]} | {case[1]} | {at} | {cell} | {found} of {repetitions} | {alone} | "
            print(row + f"{lag:.0f} | {share:.3f} |", flush=True)


# ---------------------------------------------------------------- speed


def speed() -> None:
    """Wall time, and processor time of all threads: others may use the machine too."""
    rng = np.random.default_rng(0)
    count, steps = 4000, 500
    normal = rng.standard_normal((count, steps, 5)).astype(np.float32)
    inputs = {
        "bits": (rng.integers(2, size=(count, steps, 1)).astype(np.float32), False),
        "2 normal inputs": (normal[:, :, :2], False),
        "AR(1) .9": (lfilter([1.0], [1.0, -0.9], normal[:, :, :1], axis=1).astype(np.float32), False),
        "5 normal inputs": (normal, False),
        "tokens, 200": (np.minimum(rng.zipf(1.5, size=(count, steps, 1)), 200), True),
    }
    print(f"| inputs, {count} sequences of {steps} steps | errors | used | wall, s | processor, s | detectable |")
    print("|---|---|--:|--:|--:|--:|")
    for (name, (x, tokens)), many in itertools.product(inputs.items(), (False, True)):
        g = rng.standard_normal((count, steps, 1)).astype(np.float32)
        if not many:
            g[:, :-1] = 0
        begin, worked = time.perf_counter(), time.process_time()
        found = deep_test([Pairs(0, x, g, np.full(count, steps), tokens)])
        wall, worked = time.perf_counter() - begin, time.process_time() - worked
        kind = "many-to-many" if many else "many-to-one"
        row = f"| {name} | {kind} | {found.need.sequences} | {wall:.1f} | {worked:.1f} | {found.need.detectable:.3f} |"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("calibration")
    command.add_argument("--runs", type=int, default=2000)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(run=partial(calibration, trial=trial))
    command = commands.add_parser("power")
    command.add_argument("--repetitions", type=int, default=3)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(run=power)
    commands.add_parser("speed").set_defaults(run=speed)
    arguments = vars(parser.parse_args())
    arguments.pop("command")
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    main()
