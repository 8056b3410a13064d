"""What watching costs: the same training with and without it, and with the gradient histograms of common monitors.

python benchmarks/overhead.py time     wall time, paired: an LSTM, a loop over GRU cells, an MLP
python benchmarks/overhead.py memory   what 5,000 watched steps hold on to, against 500
"""

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import longreach

LENGTH, BATCH, INPUTS, HIDDEN = 100, 32, 64, 128


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(INPUTS, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(INPUTS, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, x):
        h = x.new_zeros(x.shape[1], HIDDEN)
        for step in x:
            h = self.cell(step, h)
        return self.head(h)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(256, 256), nn.ReLU())))

    def forward(self, x):
        return self.layers(x[:4].reshape(BATCH, -1)[:, :256]).mean(1, keepdim=True)


def histograms(model: nn.Module, every: int) -> Callable[[int], None]:
    """What a monitor of gradients does: 64 bins of every parameter's gradient, by hooks on the parameters."""
    seen, due = [], [False]

    def hook(gradient):
        if due[0]:
            flat = gradient.detach().flatten().float()
            seen[:] = [torch.histc(flat, 64, float(flat.min()), float(flat.max()) + 1e-12).tolist()]

    for parameter in model.parameters():
        parameter.register_hook(hook)
    return lambda step: due.__setitem__(0, step % every == 0)


def train(build: type[nn.Module], steps: int, how: str) -> tuple[float, float]:
    """(seconds of the training loop, the watch's own account of its share)"""
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    before = histograms(model, 1) if how == "histograms" else lambda step: None
    watch = longreach.watch(model, optimizer) if how == "watch" else None
    began = time.perf_counter()
    if watch:
        watch.__enter__()
    for step in range(steps):
        before(step)
        x = torch.randn(LENGTH, BATCH, INPUTS)
        loss = (model(x) - x[-1, :, :1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if watch:
        watch.__exit__(None, None, None)
    seconds = time.perf_counter() - began
    return seconds, watch.record().overhead if watch else 0.0


def compare(seconds: float, pairs: int) -> None:
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; runs of about {seconds:g} s, {pairs} pairs each"
    )
    print("| network | step | watch: cost by its own account | wall time with / without | histograms at every step |")
    print("|---|--:|--:|--:|--:|")
    for name, build in (("LSTM layer", Layer), ("loop over GRUCell", Loop), ("MLP", MLP)):
        train(build, 20, "plain")
        step = train(build, 100, "plain")[0] / 100
        steps = round(seconds / step)
        ratios, shares, drawn = [], [], []
        for turn in range(pairs):
            order = ("plain", "watch") if turn % 2 else ("watch", "plain")
            found = {how: train(build, steps, how) for how in order}
            ratios.append(found["watch"][0] / found["plain"][0])
            shares.append(found["watch"][1])
        for _ in range(pairs):
            few = max(20, steps // 10)
            drawn.append(train(build, few, "histograms")[0] / train(build, few, "plain")[0])
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        share = f"{100 * statistics.median(shares):.2f} %"
        print(f"| {name} | {1e3 * step:.2f} ms | {share} | {spread} | {statistics.median(drawn):.2f} |", flush=True)


def memory() -> None:
    model = nn.GRU(8, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    print("| watched steps | resident memory | objects alive |\n|--:|--:|--:|")
    with longreach.watch(model, optimizer, budget=0.2):
        for step in range(5001):
            model(torch.randn(30, 16, 8))[0].mean().backward()
            optimizer.step()
            if step in (500, 1000, 2000, 5000):
                gc.collect()
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                size = pages * resource.getpagesize() / 2**20
                print(f"| {step} | {size:.1f} MiB | {len(gc.get_objects())} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    compare(arguments.seconds, arguments.pairs) if arguments.what == "time" else memory()
