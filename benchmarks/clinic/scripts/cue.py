"""Name the symbol that was shown once, some steps before the end of a sequence of distractors."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--net", choices=["rnn", "gru", "lstm", "cell", "own"], default="rnn")
parser.add_argument("--lag", type=int, default=50, help="steps from the cue to the end")
parser.add_argument("--length", type=int, default=60)
parser.add_argument("--kinds", type=int, default=4)
parser.add_argument("--hidden", type=int, default=48)
parser.add_argument("--layers", type=int, default=1)
parser.add_argument("--start", choices=["default", "orthogonal", "chrono", "zero"], default="default")
parser.add_argument("--gain", type=float, default=1.0, help="factor on the recurrent weights at the start")
parser.add_argument("--input-gain", type=float, default=1.0, help="factor on the input weights at the start")
parser.add_argument("--labels", choices=["true", "shuffled"], default="true")
parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)


def draw(count):
    """One-hot symbols: a cue among the first kinds, distractors of four other kinds everywhere else."""
    ids = args.kinds + torch.randint(4, (count, args.length))
    cue = torch.randint(args.kinds, (count,))
    ids[:, -1 - args.lag] = cue
    return F.one_hot(ids, args.kinds + 4).float(), cue


class Own(nn.Module):
    """Elman's step, written by hand."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.input, self.recurrent = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden, bias=False)

    def forward(self, x, h):
        return torch.tanh(self.input(x) + self.recurrent(h))


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        inputs, hidden = args.kinds + 4, args.hidden
        if args.net == "cell":
            self.rnn = nn.RNNCell(inputs, hidden)
        elif args.net == "own":
            self.rnn = Own(inputs, hidden)
        else:
            kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[args.net]
            self.rnn = kind(inputs, hidden, num_layers=args.layers, batch_first=True)
        self.head = nn.Linear(hidden, args.kinds)
        self.start()

    def start(self):
        for name, weight in self.rnn.named_parameters():
            recurrent = "weight_hh" in name or "recurrent" in name
            if recurrent and args.start == "orthogonal":
                for block in weight.data.split(args.hidden):
                    nn.init.orthogonal_(block)
            if recurrent:
                weight.data.mul_(args.gain)
            elif "weight" in name:
                weight.data.mul_(args.input_gain)
            if args.start == "zero":
                nn.init.zeros_(weight)
            if args.start == "chrono" and "bias" in name:
                # Tallec & Ollivier: gates that stay open for about as long as the sequence
                nn.init.zeros_(weight)
                if "bias_hh" in name:
                    gates = weight.data.view(-1, args.hidden)
                    times = torch.rand(args.hidden) * (args.length - 2) + 1
                    gates[1] = times.log()
                    if len(gates) == 4:
                        gates[0] = -times.log()
        if args.start == "zero":
            for weight in self.head.parameters():
                nn.init.zeros_(weight)

    def forward(self, x):
        if args.net in ("cell", "own"):
            h = x.new_zeros(len(x), args.hidden)
            for t in range(x.shape[1]):
                h = self.rnn(x[:, t], h)
            return self.head(h)
        return self.head(self.rnn(x)[0][:, -1])


model = Reader()
if args.optimizer == "adam":
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)
test_x, test_y = draw(500)


def evaluate():
    with torch.no_grad():
        return (model(test_x).argmax(1) == test_y).float().mean().item()


hits = 0.0
for step in range(1, args.steps + 1):
    x, y = draw(args.batch)
    if args.labels == "shuffled":
        y = y[torch.randperm(len(y))]
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    if args.clip:
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    optimizer.step()
    hits += (logits.argmax(1) == y).float().mean().item()
    every = args.steps // 20
    if step % every == 0:
        print(f"step {step} loss {loss.item():.4f} accuracy {hits / every:.3f} held-out {evaluate():.3f}")
        hits = 0.0

score = evaluate()
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
