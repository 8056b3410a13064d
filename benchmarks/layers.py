"""How fast the layers are: ours and torch's, side by side in one process.

    python benchmarks/layers.py train     a training step of RNN, GRU, LSTM: forward and backward
    python benchmarks/layers.py infer     forward alone: the whole sequence, and one step of one sequence
    python benchmarks/layers.py cells     other cells, against the Python loop over their step
    python benchmarks/layers.py norms     what the norms of dL/ds_t cost
    python benchmarks/layers.py scripts   whole training scripts, with and without --accelerate

Sizes are T, B, I, H. Ours and theirs take turns; a ratio is that of the medians. `of sgemm`: share of the rate at which
the same threads multiply two 1024 x 1024 matrices of float32. Denormal numbers are flushed for torch too, but for one
table of `train`. Let nothing else run.
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from longreach import nn as ours
from longreach.nn import cells

SIZES = [
    (100, 32, 2, 128),
    (400, 20, 2, 100),
    (784, 100, 1, 100),
    (100, 32, 64, 256),
    (100, 64, 128, 512),
    (256, 16, 128, 1024),
    (100, 1, 64, 64),
    (1000, 1, 16, 32),
]
LAYERS = {"RNN": (1, nn.RNN, ours.RNN), "GRU": (3, nn.GRU, ours.GRU), "LSTM": (4, nn.LSTM, ours.LSTM)}
Work = Callable[[], object]


def paired(works: list[Work], seconds: float) -> list[float]:
    """The median time of each, taking turns for that long."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def sgemm() -> float:
    """Of this machine with these threads, in flop/s."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / paired([lambda: a @ a], 0.5)[0]


def row(*columns: object) -> None:
    print("| " + " | ".join(str(column) for column in columns) + " |", flush=True)


def table(*columns: str) -> None:
    row(*columns)
    row(*["---", "---", *["--:"] * (len(columns) - 2)])


def step_of(layer: nn.Module, x: Tensor, error: Tensor) -> Work:
    """One training step, but for the optimizer."""

    def step() -> None:
        layer.zero_grad()
        layer(x)[0].backward(error)

    return step


def small(*shape: int) -> Tensor:
    """An error to send back, of the size of a mean's."""
    return torch.randn(shape) / (shape[0] * shape[1])


def train(seconds: float, threads: list[int]) -> None:
    for count, flushed in [(count, True) for count in threads] + [(1, False)]:
        torch.set_num_threads(count)
        torch.set_flush_denormal(flushed)
        peak = sgemm()
        denormals = "flushed" if flushed else "as torch leaves them"
        print(f"\nThreads: {count}. sgemm: {peak / 1e9:.0f} GFLOP/s. Denormal numbers: {denormals}.\n")
        table("layer", "T, B, I, H", "torch ms", "ours ms", "ratio", "GFLOP/s", "of sgemm")
        for name, (gates, theirs, our) in LAYERS.items():
            ratios = []
            for steps, batch, inputs, hidden in SIZES:
                layer = theirs(inputs, hidden)
                x, error = torch.randn(steps, batch, inputs), small(steps, batch, hidden)
                a, b = paired([step_of(one, x, error) for one in (layer, our.from_torch(layer))], seconds)
                ratios.append(a / b)
                flop = 2 * steps * batch * gates * hidden * (3 * hidden + 2 * inputs)  # x needs no gradient
                size = f"{steps}, {batch}, {inputs}, {hidden}"
                rate = f"{flop / b / 1e9:.0f}", f"{flop / b / peak:.0%}"
                row(name, size, f"{a * 1e3:.2f}", f"{b * 1e3:.2f}", f"{a / b:.2f}", *rate)
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            row(f"**{name}**", "geometric mean", "", "", f"**{mean:.2f}**", "", "")


@torch.no_grad()
def infer(seconds: float, threads: list[int]) -> None:
    torch.set_flush_denormal(True)
    for count in threads:
        torch.set_num_threads(count)
        print(f"\nThreads: {count}.\n")
        table("layer", "T, B, I, H", "whole: torch ms", "ours ms", "ratio", "one step: torch µs", "ours µs", "ratio")
        for name, (_, theirs, our) in LAYERS.items():
            for steps, batch, inputs, hidden in SIZES:
                layer = theirs(inputs, hidden)
                both, x = (layer, our.from_torch(layer)), torch.randn(steps, batch, inputs)
                a, b = paired([lambda one=one, x=x: one(x) for one in both], seconds)
                x, state = x[:1, :1], layer(x[:1, :1])[1]
                c, d = paired([lambda one=one, x=x, state=state: one(x, state) for one in both], seconds / 2)
                whole = f"{a * 1e3:.2f}", f"{b * 1e3:.2f}", f"{a / b:.2f}"
                row(
                    name,
                    f"{steps}, {batch}, {inputs}, {hidden}",
                    *whole,
                    f"{c * 1e6:.0f}",
                    f"{d * 1e6:.0f}",
                    f"{c / d:.2f}",
                )


class Loop(nn.Module):
    """A cell as it is run where nobody has written a kernel for it."""

    def __init__(self, cell: ours.Cell):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> tuple[Tensor, object]:
        cell: ours.Cell = self.cell
        step, state = cell.begin(len(x), x.shape[1], like=x), cell.start(x.shape[1], like=x)
        outputs = []
        for x_t in x:
            state = step(cell.project(x_t), state)
            outputs.append(cell.output(state))
        return torch.stack(outputs), state


LSTM = {"inner": cells.LSTM}
OPTIONS = {
    "BatchNorm": {**LSTM, "max_length": 1000},
    "Dilated": {**LSTM, "lag": 4},
    "LayerNorm": LSTM,
    "Skip": {**LSTM, "lag": 4},
    "Variational": LSTM,
    "Zoneout": LSTM,
}
CELLS = {
    **{f"Elman, {name}": (cells.Elman, {"activation": name}) for name in ("leaky_relu", "elu", "selu", "sigmoid")},
    **{
        name: (getattr(cells, name), OPTIONS.get(name, {}))
        for name in cells.__all__
        if name not in ("Elman", "GRU", "LSTM")
    },
}


def compare_cells(seconds: float, threads: list[int]) -> None:
    torch.set_flush_denormal(True)
    sizes = [(100, 32, 2, 128), (400, 20, 2, 100), (100, 1, 64, 64), (1000, 1, 16, 32)]
    for count in threads:
        torch.set_num_threads(count)
        print(f"\nThreads: {count}.\n")
        table("cell", "T, B, I, H", "loop ms", "ours ms", "ratio")
        for name, (cell, options) in CELLS.items():
            for steps, batch, inputs, hidden in sizes:
                layer = ours.Recurrent(cell, inputs, hidden, **options)
                x, error = torch.randn(steps, batch, inputs), small(steps, batch, hidden)
                a, b = paired([step_of(one, x, error) for one in (Loop(layer.cells[0]), layer)], seconds)
                row(name, f"{steps}, {batch}, {inputs}, {hidden}", f"{a * 1e3:.1f}", f"{b * 1e3:.2f}", f"{a / b:.1f}")


def norms(seconds: float, threads: list[int]) -> None:
    torch.set_flush_denormal(True)
    for count in threads:
        torch.set_num_threads(count)
        print(f"\nThreads: {count}.\n")
        table("layer", "T, B, I, H", "without ms", "with ms", "cost")
        for name, (_, _, our) in LAYERS.items():
            for steps, batch, inputs, hidden in SIZES:
                layer, x, error = our(inputs, hidden), torch.randn(steps, batch, inputs), small(steps, batch, hidden)
                step = step_of(layer, x, error)

                def observed(step: Work = step) -> None:
                    with ours.observe():
                        step()

                a, b = paired([step, observed], seconds)
                size = f"{steps}, {batch}, {inputs}, {hidden}"
                row(name, size, f"{a * 1e3:.2f}", f"{b * 1e3:.2f}", f"{b / a - 1:+.1%}")


SCRIPT = """
import sys, torch
from torch import nn
torch.manual_seed(0)
kind, steps, hidden = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
layer = getattr(nn, kind)(2, hidden, batch_first=True)
head = nn.Linear(hidden, 1)
optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=1e-3)
for step in range(int(sys.argv[4])):
    x = torch.rand(32, steps, 2)
    x[..., 1] = 0
    x[:, steps // 4, 1] = x[:, steps // 2, 1] = 1
    loss = (head(layer(x)[0][:, -1])[:, 0] - (x[..., 0] * x[..., 1]).sum(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item())
"""


def scripts(seconds: float, threads: list[int]) -> None:
    """Adding, from the start of Python to its end; times include the start, and the watch in both."""
    del seconds
    table("script", "threads", "torch s", "ours s", "ratio", "last loss: torch", "ours")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "adding.py")
        script.write_text(SCRIPT)
        for count in threads:
            for kind in LAYERS:
                given = [kind, "150", "128", "300"]
                times: dict[bool, list[float]] = {False: [], True: []}
                losses = {}
                for repeat in range(3):
                    for accelerated in times:
                        run = f"{folder}/{count}-{kind}-{repeat}-{accelerated}"
                        command = [sys.executable, "-m", "longreach", "run", "--run-dir", run]
                        command += ["--accelerate"] * accelerated + [str(script), *given]
                        start = time.perf_counter()
                        done = subprocess.run(
                            command, capture_output=True, text=True, check=True, env={"OMP_NUM_THREADS": str(count)}
                        )
                        times[accelerated].append(time.perf_counter() - start)
                        losses[accelerated] = done.stdout.strip()
                a, b = statistics.median(times[False]), statistics.median(times[True])
                row(
                    f"{kind} {' '.join(given[1:])}",
                    count,
                    f"{a:.1f}",
                    f"{b:.1f}",
                    f"{a / b:.2f}",
                    losses[False],
                    losses[True],
                )


def main() -> None:
    what = {"train": train, "infer": infer, "cells": compare_cells, "norms": norms, "scripts": scripts}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=what)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each pair")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    what[given.what](given.seconds, given.threads)


if __name__ == "__main__":
    main()
