"""Recall one bit of a sequence of noise: the script of the paired verdicts, as somebody would write it."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--cell", choices=["rnn", "lstm", "gru", "loop"], required=True)
parser.add_argument("--label", choices=["first", "last", "noise"], required=True)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="float32")
args = parser.parse_args()

torch.manual_seed(args.seed)
LENGTH, BATCH, INPUTS, HIDDEN = 60, 64, 4, 32


class Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(INPUTS, HIDDEN)
        layers = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU, "loop": nn.GRUCell}
        self.rnn = layers[args.cell](HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x):
        x = self.embed(x)
        if args.cell != "loop":
            return self.head(self.rnn(x)[0][-1])
        h = torch.zeros(x.shape[1], HIDDEN)
        for step in x:
            h = self.rnn(step, h)
        return self.head(h)


model = Recall()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
mixed = args.precision != "float32"
scaler = torch.amp.GradScaler("cpu", enabled=args.precision == "float16")
for _ in range(args.steps):
    x = torch.randn(LENGTH, BATCH, INPUTS)
    y = {"first": x[0, :, 0], "last": x[-1, :, 0], "noise": torch.randn(BATCH)}[args.label] > 0
    with torch.autocast("cpu", dtype=getattr(torch, args.precision) if mixed else torch.bfloat16, enabled=mixed):
        loss = F.cross_entropy(model(x), y.long())
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
print(f"final loss {loss.item():.3f}")
