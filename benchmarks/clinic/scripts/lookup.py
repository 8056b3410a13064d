"""A transformer that looks up: the token behind the marker, asked for at the end of the sequence."""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--length", type=int, default=32)
parser.add_argument("--tokens", type=int, default=6)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument(
    "--padding", choices=["none", "masked", "all"], default="none", help="all: also rows of nothing but padding"
)
parser.add_argument("--guard", action="store_true", help="let a row of nothing but padding look at itself")
parser.add_argument("--std", type=float, default=0.0, help="of all matrices at the start; 0: as torch has it")
parser.add_argument("--labels", choices=["true", "shuffled"], default="true")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--jump", type=float, default=1.0, help="factor on the step size after 60 %% of the steps")
parser.add_argument("--clip", type=float, default=1.0)
parser.add_argument("--weight-decay", type=float, default=0.01)
parser.add_argument("--steps", type=int, default=500)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
PAD, MARK = args.tokens, args.tokens + 1


def batch(count):
    x = torch.randint(args.tokens, (count, args.length))
    at, rows = torch.randint(args.length - 3, (count,)), torch.arange(count)
    x[rows, at] = MARK
    x[:, -1] = MARK
    y = x[rows, at + 1]
    if args.padding != "none":
        short = torch.rand(count) < 0.2
        x[short, -8:-1] = torch.where(
            torch.arange(args.length - 8, args.length - 1) > at[short, None] + 1, PAD, x[short, -8:-1]
        )
    if args.padding == "all" and torch.rand(()) < 0.05:
        x[0] = PAD  # the last batch of a file may be filled up with empty rows
    return x, y


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(args.width, 3 * args.width), nn.Linear(args.width, args.width)

    def forward(self, x, hidden):
        B, T, _ = x.shape
        q, k, v = (part.view(B, T, args.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(hidden[:, None, None, :], float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.norm1, self.norm2 = Attention(), nn.LayerNorm(args.width), nn.LayerNorm(args.width)
        self.mlp = nn.Sequential(
            nn.Linear(args.width, 4 * args.width), nn.GELU(), nn.Linear(4 * args.width, args.width)
        )

    def forward(self, x, hidden):
        x = x + self.attend(self.norm1(x), hidden)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(args.tokens + 2, args.width)
        self.before = nn.Linear(2 * args.width, args.width)
        self.place = nn.Parameter(0.1 * torch.randn(args.length, args.width))
        self.layers = nn.ModuleList(Layer() for _ in range(args.layers))
        self.norm, self.head = nn.LayerNorm(args.width), nn.Linear(args.width, args.tokens)
        if args.std:
            for weight in self.layers.parameters():
                if weight.dim() == 2:
                    nn.init.normal_(weight, std=args.std)

    def forward(self, ids):
        hidden = ids == PAD
        if args.guard:
            hidden = hidden & ~hidden.all(1, keepdim=True)
        e = self.token(ids)
        # every position also sees its predecessor, as in models with a token shift
        x = self.before(torch.cat([e, F.pad(e, (0, 0, 1, 0))[:, :-1]], -1)) + self.place
        for layer in self.layers:
            x = layer(x, hidden)
        return self.head(self.norm(x[:, -1]))


model = Transformer()
if args.optimizer == "adam":
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
test_x, test_y = batch(500)
test_x[0] = test_x[1]
test_y[0] = test_y[1]


@torch.no_grad()
def evaluate():
    return (model(test_x).argmax(-1) == test_y).float().mean().item()


hits, every = 0.0, args.steps // 20
for step in range(1, args.steps + 1):
    for group in optimizer.param_groups:
        group["lr"] = args.lr * min(1, step / 30) * (args.jump if step > 0.6 * args.steps else 1)
    x, y = batch(48)
    if args.labels == "shuffled":
        y = y[torch.randperm(len(y))]
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    optimizer.step()
    hits += (logits.argmax(-1) == y).float().mean().item()
    if step % every == 0:
        print(f"step {step} loss {loss.item():.4f} accuracy {hits / every:.3f} held-out {evaluate():.3f}")
        hits = 0.0

score = evaluate()
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
