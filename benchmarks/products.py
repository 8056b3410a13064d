"""Which of torch's two libraries multiplies faster here, and what that is worth to a training step of an LSTM.

python benchmarks/products.py

Both take turns in one process on one thread; rates are of the fastest turn, ratios are medians of the turns.
"""

import statistics
import time
from collections.abc import Callable

import torch

from longreach import nn
from longreach.kernels import product as home
from longreach.kernels.product import product

TURNS = 15
# rows, inner, columns: the gradients of input and weights of an LSTM, by T B, 4 H and H
PRODUCTS = ((4096, 1024, 256), (256, 4096, 1024), (7680, 256, 64), (64, 7680, 256), (8192, 512, 128), (512, 512, 512))
STEPS = ((128, 32, 256, 256), (120, 64, 10, 64), (128, 64, 128, 128), (256, 16, 512, 512))  # T, B, I, H


def turns(*ways: Callable[[], object]) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in ways]
    for turn in range(TURNS + 1):
        for way, seconds in zip(ways, found, strict=True):
            began = time.perf_counter()
            way()
            if turn:  # the first one warms up
                seconds.append(time.perf_counter() - began)
    return found


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def by(slow: bool, call: Callable[[], object]) -> Callable[[], object]:
    def way() -> None:
        home.mkl_is_slow = lambda: slow
        call()

    return way


def multiplied() -> None:
    print("| product | MKL, GFLOP/s | oneDNN, GFLOP/s | MKL's time / oneDNN's |\n|---|--:|--:|--:|")
    for rows, inner, columns in PRODUCTS:
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        mkl, onednn = turns(by(False, lambda a=a, b=b: product(a, b)), by(True, lambda a=a, b=b: product(a, b)))
        rates = [2e-9 * rows * inner * columns / min(seconds) for seconds in (mkl, onednn)]
        print(
            f"| {rows} x {inner} x {columns} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio(mkl, onednn):.2f} |", flush=True
        )


def trained() -> None:
    print("\n| T, B, I, H | ours by MKL, ms | ours by oneDNN, ms | torch's LSTM, ms | torch's time / ours |")
    print("|---|--:|--:|--:|--:|")
    for steps, batch, inputs, hidden in STEPS:
        x = torch.randn(steps, batch, inputs, requires_grad=True)
        ours, theirs = nn.LSTM(inputs, hidden), torch.nn.LSTM(inputs, hidden)

        def step(layer: torch.nn.Module, x: torch.Tensor = x) -> None:
            layer(x)[0].sum().backward()

        found = turns(
            by(False, lambda own=ours: step(own)), by(True, lambda own=ours: step(own)), lambda own=theirs: step(own)
        )
        told = " | ".join(f"{1e3 * min(seconds):.1f}" for seconds in found)
        print(
            f"| {steps}, {batch}, {inputs}, {hidden} | {told} | {ratio(found[2], found[1]):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"torch {torch.__version__}; here products are made by {'oneDNN' if home.mkl_is_slow() else 'MKL'}\n")
    multiplied()
    trained()
