"""What the loop of `longreach train` costs: the same training bare, by hand, with our layers and with torch's.

python benchmarks/training.py              medians of steps a second, turns alternating, watch on
python benchmarks/training.py --profile    where the loop spends what it spends

text    an LSTM of 256 units, 32 rows of 128 characters, state carried on
series  an LSTM of 64 units, 64 windows of 96 + 24 steps of 10 numbers
adding  a minimal GRU of 32 units, 32 sequences of 200 steps; torch has none, a GRU stands in
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from longreach.batch import Batch
from longreach.store import Store
from longreach.training.loop import Loop
from longreach.training.network import Architecture, Network, detached
from longreach.training.plan import Plan
from longreach.training.problem import Problem, Shape, Sizes
from longreach.training.progress import Progress
from longreach.training.task import TaskProblem
from longreach.training.text.problem import Text
from longreach.watching import Watch


class Forecast(TaskProblem):
    """Windows as `longreach train series` makes them, by their sizes alone."""

    @property
    def shape(self) -> Shape:
        return Shape(10, 5)

    def training(self, sizes: Sizes) -> Callable[[int], Batch]:
        drawn = torch.randn(sizes.batch, 120, 10)
        asked = torch.zeros(sizes.batch, 120, dtype=torch.bool)
        asked[:, 96:] = True
        return lambda number: Batch(drawn, drawn[:, 96:, :1].flatten(0, 1), asked)

    def loss(self, answer: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (answer - y).abs().mean()


@dataclass
class Case:
    """One training; `theirs` is what torch has in the place of the stack."""

    name: str
    problem: Problem
    cell: str
    hidden: int
    sizes: Sizes
    theirs: type[nn.LSTM] | type[nn.GRU]

    def network(self) -> Network:
        torch.manual_seed(0)
        return Network(Architecture(self.problem.shape, self.cell, self.hidden))


class Theirs(nn.Module):
    """The same network around a layer of torch's."""

    def __init__(self, case: Case):
        super().__init__()
        ours = case.network()
        self.embedding, self.head = ours.embedding, ours.head
        width = ours.embedding.embedding_dim if ours.embedding else case.problem.shape.inputs
        self.layer = case.theirs(width, case.hidden, batch_first=True)

    def forward(self, x, asked, state=None, resets=None):
        rows = self.embedding(x.squeeze(2)) if self.embedding else x
        shown, state = self.layer(rows, state)
        return self.head(shown[asked]), state


def bare(case: Case, network: nn.Module, steps: int) -> float:
    """What a researcher writes by hand: no recovery, no checkpoints, no logs, the gradient clipped. Seconds."""
    torch.set_flush_denormal(True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    batch, state, total = case.problem.training(case.sizes), None, 0.0
    began = time.perf_counter()
    for number in range(steps):
        x, y, asked, resets = batch(number)
        answer, state = network(x, asked, state, resets)
        if not case.problem.carries:
            state = None
        elif isinstance(network, Network):
            state = detached(state)
        else:
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = case.problem.loss(answer, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    return time.perf_counter() - began


def trained(case: Case, steps: int, *, watched: bool = True) -> float:
    """As `longreach train` does, with watch and logs; judging, which the others do without, left out. Seconds."""
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plan = Plan(
            architecture=Architecture(case.problem.shape, case.cell, case.hidden),
            sizes=case.sizes,
            lr=1e-3,
            weight_decay=0.01,
            updates=steps,
            judge_every=steps + 1,
            patience=1,
            clip=None,
            remedies=(),
        )
        told = Progress(folder, steps, quiet=True, reach=None, need=None)
        loop = Loop(case.network(), case.problem, plan, Fabric(accelerator="cpu", devices=1), folder, told)
        loop._judge = lambda: False
        told.begin(0)
        store = Store.create(folder)
        began = time.perf_counter()
        with Watch(loop.inner, loop.optimizer, store=store) if watched else nullcontext():
            loop.run()
        told.end()
        seconds = time.perf_counter() - began
        store.close()
        return seconds


def cases(folder: Path) -> list[Case]:
    text = folder / "text.txt"
    numbers = torch.randint(60, (400_000,), generator=torch.Generator().manual_seed(0))
    text.write_text("".join(chr(48 + number) for number in numbers))
    return [
        Case("text", Text.read([str(text)]), "lstm", 256, Sizes(32, 128, 128), nn.LSTM),
        Case("series", Forecast.read("adding", length=120), "lstm", 64, Sizes(64, 120, 120), nn.LSTM),
        Case("adding", TaskProblem.read("adding", length=200), "min-gru", 32, Sizes(32, 200, 200), nn.GRU),
    ]


def compare(seconds: float, turns: int) -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {turns} turns of about {seconds:g} s each")
    print(
        "| training | train, steps/s | nobody watches | bare, ours | bare, torch | train / bare ours | / bare torch |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            ways: dict[str, Callable[[int], float]] = {
                "train": lambda steps, case=case: trained(case, steps),
                "unwatched": lambda steps, case=case: trained(case, steps, watched=False),
                "ours": lambda steps, case=case: bare(case, case.network(), steps),
                "theirs": lambda steps, case=case: bare(case, Theirs(case), steps),
            }
            steps = max(20, round(seconds / (ways["ours"](10) / 10)))
            speeds: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(turns):
                for name in list(ways)[:: 1 if turn % 2 else -1]:
                    speeds[name].append(steps / ways[name](steps))
            middle = [statistics.median(speeds[name]) for name in ways]
            ratios = [
                statistics.median(one / other for one, other in zip(speeds["train"], speeds[name], strict=True))
                for name in ("ours", "theirs")
            ]
            told = " | ".join([*(f"{speed:.1f}" for speed in middle), *(f"{ratio:.3f}" for ratio in ratios)])
            print(f"| {case.name} | {told} |", flush=True)


def profile(steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            print(case.name)
            profiler = cProfile.Profile()
            profiler.runcall(trained, case, steps)
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of a turn; in a short run the few samples of the watch weigh more"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    profile(200) if arguments.profile else compare(arguments.seconds, arguments.turns)
