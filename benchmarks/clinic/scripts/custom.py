"""Networks around a Swish of our own, with its derivative written by hand to save memory."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--net", choices=["mlp", "conv", "cell", "attention"], default="mlp")
parser.add_argument("--derivative", choices=["right", "sign", "sigmoid", "rolled", "transposed"], default="right")
parser.add_argument("--depth", type=int, default=3)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
TIME = 12


class SwishFunction(torch.autograd.Function):
    """x sigmoid(x); only x is kept for the backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        if args.derivative == "sign":
            return grad * (s - x * s * (1 - s) - 1)
        if args.derivative == "sigmoid":
            return grad * s * (1 - s) * x
        if args.derivative == "rolled":
            return (grad * (s + x * s * (1 - s))).roll(1, 0)
        return grad * (s + x * s * (1 - s))


class LinearFunction(torch.autograd.Function):
    """x W'."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        to_weight = grad.flatten(0, -2).t() @ x.flatten(0, -2)
        return grad @ (weight.t() if args.derivative == "transposed" else weight), to_weight


class Swish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


class Square(nn.Module):
    """A square linear map."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        nn.init.kaiming_normal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return LinearFunction.apply(x, self.weight) + self.bias


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        layers = [nn.Linear(TIME * 2, args.width)]
        for _ in range(args.depth):
            layers += [Swish(), Square(args.width)]
        self.layers = nn.Sequential(*layers, Swish(), nn.Linear(args.width, 4))

    def forward(self, x):
        return self.layers(x.flatten(1))


class Convolver(nn.Module):
    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv1d(2 if i == 0 else args.width, args.width, 3, padding=1) for i in range(args.depth)]
        self.stages = nn.Sequential(*(nn.Sequential(convolution, Swish()) for convolution in convolutions))
        self.head = nn.Sequential(nn.Linear(args.width, args.width), Swish(), nn.Linear(args.width, 4))

    def forward(self, x):
        return self.head(self.stages(x.transpose(1, 2)).mean(2))


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.recur, self.swish = nn.Linear(2, args.width), Square(args.width), Swish()

    def forward(self, x, h):
        return 0.5 * h + 0.5 * self.swish(self.enter(x) + self.recur(h))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = Cell(), nn.Linear(args.width, 4)

    def forward(self, x):
        h = x.new_zeros(len(x), args.width)
        for t in range(TIME):
            h = self.cell(x[:, t], h)
        return self.head(h)


class Attender(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(2, args.width)
        self.place = nn.Parameter(0.3 * torch.randn(TIME, args.width))
        self.query, self.key, self.value = (Square(args.width) for _ in range(3))
        self.mlp = nn.Sequential(nn.LayerNorm(args.width), Square(args.width), Swish(), Square(args.width))
        self.head = nn.Linear(args.width, 4)

    def forward(self, x):
        x = self.enter(x) + self.place
        scores = self.query(x) @ self.key(x).transpose(1, 2) / args.width**0.5
        x = x + scores.softmax(-1) @ self.value(x)
        return self.head(self.mlp(x.mean(1)))


def points(count):
    """A walk in the plane: does it end far away, and between which axes?"""
    x = torch.randn(count, TIME, 2)
    end = x.sum(1) / TIME**0.5
    return x, (end.prod(1) > 0).long() + 2 * (end.square().sum(1) > 1.4).long()


net = {"mlp": Mixer, "conv": Convolver, "cell": Recurrent, "attention": Attender}[args.net]()
optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
test_x, test_y = points(1000)


def test():
    with torch.no_grad():
        return (net(test_x).argmax(1) == test_y).float().mean().item()


hits, every = 0.0, args.steps // 20
for step in range(1, args.steps + 1):
    x, y = points(50)
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    hits += (logits.argmax(1) == y).float().mean().item()
    if step % every == 0:
        print(f"step {step} loss {loss.item():.4f} accuracy {hits / every:.3f} held-out {test():.3f}")
        hits = 0.0

score = test()
print("outcome", "solved" if score >= 0.85 else "unsolved", f"{score:.3f}")
