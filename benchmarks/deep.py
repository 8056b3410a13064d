"""The deep need test on trial: false needs, power, speed.

python benchmarks/deep.py calibration [--runs 2000] [--processes 2]
python benchmarks/deep.py power [--runs 50] [--processes 2]
python benchmarks/deep.py speed
"""

import argparse
import itertools
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from scipy.stats import binom

from longreach.probes.deep import deep_test
from need import INPUTS, LAST, NOISE, RECENT, sample

Rng = np.random.Generator


# ---------------------------------------------------------------- calibration


def trial(job: tuple[int, str, str, bool]) -> int:
    """The lag found; -1 if none. The data are those of the need test's own calibration."""
    seed, kind, error, many = job
    found = deep_test([sample(np.random.default_rng([2024, seed]), kind, error, many)], seed=seed)
    return -1 if found is None or found.need.lag is None else found.need.lag


def calibration(runs: int, processes: int) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("calibration")
    command.add_argument("--runs", type=int, default=2000)
    command.add_argument("--processes", type=int, default=2)
    command.set_defaults(run=calibration)
    arguments = vars(parser.parse_args())
    arguments.pop("command")
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    main()
