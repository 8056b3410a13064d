# Fifty steps of counting ones, and every loss to the last digit.
import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.rnn import GRU
from torch.nn.utils.rnn import pack_padded_sequence

parser = argparse.ArgumentParser()
parser.add_argument("cell", choices=["RNN", "GRU", "LSTM", "Own"])
parser.add_argument("--layers", type=int, default=1)
parser.add_argument("--dropout", type=float, default=0.0)
parser.add_argument("--bidirectional", action="store_true")
parser.add_argument("--packed", action="store_true")
args = parser.parse_args()


class Own(nn.LSTM):
    """An LSTM that scales what it is given."""

    def forward(self, x, hx=None):
        return super().forward(2 * x, hx)


torch.manual_seed(0)
LENGTH, BATCH, HIDDEN = 30, 16, 32
kind = {"RNN": nn.RNN, "GRU": GRU, "LSTM": torch.nn.LSTM, "Own": Own}[args.cell]
layer = kind(3, HIDDEN, args.layers, dropout=args.dropout, bidirectional=args.bidirectional, batch_first=True)
assert isinstance(layer, (nn.RNN, nn.GRU, nn.LSTM))
head = nn.Linear((2 if args.bidirectional else 1) * HIDDEN, 1)
optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=2e-3)
for _ in range(50):
    x = (torch.rand(BATCH, LENGTH, 3) < 0.5).float()
    lengths = torch.randint(1, LENGTH + 1, (BATCH,)) if args.packed else torch.full((BATCH,), LENGTH)
    counts = torch.stack([row[:length].sum() for row, length in zip(x, lengths, strict=True)]) / LENGTH
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False) if args.packed else x
    output, state = layer(given)
    last = state[0] if isinstance(state, tuple) else state
    top = last[-2:].transpose(0, 1).flatten(1) if args.bidirectional else last[-1]
    loss = F.mse_loss(head(top)[:, 0], counts)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    optimizer.step()
    print(loss.item())
