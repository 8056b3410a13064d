"""What `longreach train` makes of data, beside torch's own nn.LSTM of the same size, trained the same way.

    python benchmarks/beside_torch.py text FILE --hidden 512 --steps 3000
    python benchmarks/beside_torch.py series ETTh1.csv --target OT --horizon 24 --split 8640,2880,2880 --seeds 3

The same plan (batches, step sizes, updates, dropout, early stopping, clipping) and the same loop for three networks:
the one that longreach chooses, under watch; an LSTM of ours; torch's nn.LSTM as torch starts it, of as many units and
layers, without a watch. Scores are of the test part, by the weights that were best on the validation part; the time is
that of the loop, judging included.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning_fabric import Fabric
from safetensors.torch import load
from torch import Tensor, nn

from longreach.training.judging import judged
from longreach.training.kinds import read
from longreach.training.loop import Loop
from longreach.training.memory import prescribe
from longreach.training.network import Network
from longreach.training.plan import Plan, Settings
from longreach.training.problem import Problem
from longreach.training.progress import Silent
from longreach.watching import Watch


class Torchs(nn.Module):
    """torch.nn.LSTM in the place of a stack: resets by a call for each stretch between them."""

    def __init__(self, width: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.cells = [SimpleNamespace(output_size=hidden)]

    def zeros(self, batch: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
        zero = like.new_zeros(self.lstm.num_layers, batch, self.lstm.hidden_size)
        return zero, zero

    def forward(self, rows: Tensor, state=None, *, resets=None):
        state = self.zeros(len(rows), like=rows) if state is None else tuple(state)
        if resets is None:
            return self.lstm(rows, state)
        borders = [0, *(int(at) for at in resets.any(dim=0).nonzero().flatten() if at), rows.shape[1]]
        outputs = []
        for start, end in pairwise(borders):
            keep = (~resets[:, start]).float()[None, :, None]
            output, state = self.lstm(rows[:, start:end], tuple(entry * keep for entry in state))
            outputs.append(output)
        return torch.cat(outputs, dim=1), state


def with_torchs(plan: Plan) -> Network:
    own = plan.architecture
    network = Network(own)
    width = network.embedding.embedding_dim if network.embedding else own.shape.inputs
    network.stacks = nn.ModuleList([Torchs(width, own.hidden, own.layers, own.dropout)])
    network.head = nn.Linear(own.hidden, own.shape.outputs)
    return network


def trained(network: Network, problem: Problem, plan: Plan, *, watched: bool) -> tuple[dict[str, float], int, float]:
    """Scores of the test part, updates, seconds of the loop."""
    torch.set_flush_denormal(True)
    torch.manual_seed(plan.sizes.seed)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(network, problem, plan.on(0, 1), Fabric(accelerator="cpu", devices=1), Path(folder), Silent())
        began = time.perf_counter()
        if watched:
            with Watch(loop.inner, loop.optimizer):
                loop.run()
        else:
            loop.run()
        seconds = time.perf_counter() - began
        network.load_state_dict(load((Path(folder) / "model.safetensors").read_bytes()))
    return judged(network, problem, problem.held_out("test", plan.sizes)), loop.step, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["text", "series"])
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--hidden", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--target", default="OT")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--split", default="")
    args = parser.parse_args()
    source = {"files": [args.file]} if args.kind == "text" else series(args)
    problem = read(args.kind, source)
    results: dict[str, list[tuple[dict[str, float], int, float]]] = {}
    for seed in range(args.seeds):
        settings = Settings(hidden=args.hidden, steps=args.steps, dropout=args.dropout, seed=seed)
        plan = prescribe(problem, settings)
        as_lstm = replace(plan, architecture=replace(plan.architecture, cell="lstm"))
        arms = {f"longreach train ({plan.architecture.cell})": (lambda p=plan: Network(p.architecture), plan)}
        if plan.architecture.cell != "lstm":
            arms["longreach lstm"] = (lambda p=as_lstm: Network(p.architecture), as_lstm)
        arms["torch nn.LSTM"] = (lambda p=as_lstm: with_torchs(p), as_lstm)
        for name, (make, own) in arms.items():
            torch.manual_seed(seed)
            found = trained(make(), problem, own, watched=name.startswith("longreach train"))
            results.setdefault(name, []).append(found)
            print(f"seed {seed}  {name}: {told(found[0])}  {found[1]} updates  {found[2]:.0f} s", flush=True)
        if not seed:
            print(f"naive: {told(problem.naive('test'))}")
    print(f"\nmedians of {args.seeds} seeds, {torch.get_num_threads()} threads")
    for name, found in results.items():
        scores = {key: statistics.median(one[0][key] for one in found) for key in found[0][0]}
        seconds, updates = (statistics.median(one[place] for one in found) for place in (2, 1))
        print(f"{name:34} {told(scores)}  {seconds:.0f} s  {1000 * seconds / updates:.0f} ms an update")


def series(args: argparse.Namespace) -> dict:
    source = {"file": args.file, "target": args.target.split(","), "horizon": args.horizon}
    return source | ({"split": args.split} if args.split else {})


def told(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


if __name__ == "__main__":
    main()
