"""Networks that forget, as they come: an ordinary training script for `longreach run` and `longreach treat`.

    python examples/forgetful.py --task first --net lstm

Three tasks of the literature, four networks in PyTorch's own start. At these lengths they do not learn in a thousand
steps, but for a plain RNN that now and then finds the first symbol by itself. `--length 8` makes each task easy, and
`--labels noise` one that cannot be learned.

adding    the sum of the two marked numbers (Hochreiter & Schmidhuber 1997); who always says 1 has a loss of 0.167
first     name the symbol that came first; the four of them are equally likely: ln 4 = 1.386
copying   a few symbols, a long silence, a sign: now say them again; who only keeps time has ln 4 on those = 1.386
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--task", choices=["adding", "first", "copying"], default="adding")
parser.add_argument("--net", choices=["rnn", "gru", "lstm", "cell"], default="rnn")
parser.add_argument(
    "--length", type=int, default=0, help="steps over which something has to be kept; 0: the task's own"
)
parser.add_argument("--labels", choices=["true", "noise"], default="true")
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

KINDS, COPIED = 4, 3
INPUTS = {"adding": 2, "first": KINDS, "copying": KINDS + 2}[args.task]
OUTPUTS = {"adding": 1, "first": KINDS, "copying": KINDS}[args.task]
ADDED = 200 if args.net == "gru" else 100  # a GRU adds over 100 steps as it comes
LENGTH = args.length or {"adding": ADDED, "first": 100, "copying": 60}[args.task]


def adding():
    """Numbers in [0, 1], and marks on two of them, one in each half."""
    values, marks = torch.rand(args.batch, LENGTH), torch.zeros(args.batch, LENGTH)
    rows = torch.arange(args.batch)
    marks[rows, torch.randint(LENGTH // 2, (args.batch,))] = 1
    marks[rows, LENGTH // 2 + torch.randint(LENGTH - LENGTH // 2, (args.batch,))] = 1
    return torch.stack([values, marks], dim=2), (values * marks).sum(dim=1, keepdim=True)


def first():
    """Symbols, drawn anew at every step; the answer is the first of them."""
    symbols = torch.randint(KINDS, (args.batch, LENGTH))
    return F.one_hot(symbols, KINDS).float(), symbols[:, 0]


def copying():
    """Three symbols, silence, a sign, and room for the answer: the same three symbols."""
    symbols = torch.randint(KINDS, (args.batch, COPIED))
    shown = torch.full((args.batch, COPIED + LENGTH + COPIED), KINDS)
    shown[:, :COPIED] = symbols
    shown[:, -COPIED - 1] = KINDS + 1
    return F.one_hot(shown, KINDS + 2).float(), symbols


class Network(nn.Module):
    """One recurrent layer, and a linear one on what it says last."""

    def __init__(self):
        super().__init__()
        if args.net == "cell":
            self.cell = nn.RNNCell(INPUTS, args.hidden)
        else:
            layers = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
            self.rnn = layers[args.net](INPUTS, args.hidden, batch_first=True)
        self.head = nn.Linear(args.hidden, OUTPUTS)

    def states(self, x):
        """The state after every step."""
        if args.net != "cell":
            return self.rnn(x)[0]
        h, states = x.new_zeros(len(x), args.hidden), []
        for step in x.unbind(1):
            h = self.cell(step, h)
            states.append(h)
        return torch.stack(states, dim=1)

    def forward(self, x):
        """The answer: at the last step, or at the last three."""
        states = self.states(x)
        return self.head(states[:, -COPIED:] if args.task == "copying" else states[:, -1])


def loss_of(answer, target):
    """Squared error of a number, cross-entropy of symbols."""
    if args.task == "adding":
        return F.mse_loss(answer, target)
    return F.cross_entropy(answer.flatten(0, -2), target.flatten())


torch.manual_seed(args.seed)
batch = {"adding": adding, "first": first, "copying": copying}[args.task]
model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
for step in range(1, args.steps + 1):
    x, y = batch()
    if args.labels == "noise":
        y = y[torch.randperm(len(y))]
    loss = loss_of(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step} loss {loss.item():.4f}", flush=True)
