"""Classify small grey pictures: a horizontal bar, a vertical bar, a cross or a square, somewhere, in noise."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--depth", type=int, default=2, help="convolutions")
parser.add_argument("--channels", type=int, default=12)
parser.add_argument("--activation", choices=["relu", "tanh", "sigmoid"], default="relu")
parser.add_argument("--residual", action="store_true")
parser.add_argument("--norm", action="store_true")
parser.add_argument("--pixels", choices=["unit", "byte", "sensor"], default="unit", help="range of the grey levels")
parser.add_argument("--normalise", action="store_true", help="to mean 0 and variance 1 over the training pictures")
parser.add_argument("--bias", type=float, default=None, help="of the convolutions at the start")
parser.add_argument("--gain", type=float, default=1.0, help="factor on the convolutions' weights at the start")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--clip", type=float, default=0.0)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--labels", choices=["true", "shuffled"], default="true")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

SIZE = 12


def pictures(count):
    x, y = 0.2 * torch.rand(count, 1, SIZE, SIZE), torch.randint(4, (count,))
    for picture, kind in zip(x[:, 0], y.tolist(), strict=True):
        i, j = torch.randint(SIZE - 5, (2,)).tolist()
        part = picture[i : i + 5, j : j + 5]
        if kind in (0, 2):
            part[2, :] += 0.7
        if kind in (1, 2):
            part[:, 2] += 0.7
        if kind == 3:
            part[[0, 4], :] += 0.7
            part[1:4, [0, 4]] += 0.7
    x = x.clamp(0, 1)
    return {"unit": x, "byte": (255 * x).round(), "sensor": 10000 + (65535 * x).round()}[args.pixels], y


class Stage(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, args.channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(args.channels) if args.norm else nn.Identity()
        self.act = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}[args.activation]

    def forward(self, x):
        out = self.act(self.norm(self.conv(x)))
        return x + out if args.residual and x.shape == out.shape else out


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(Stage(1 if i == 0 else args.channels) for i in range(args.depth))
        self.head = nn.Linear(args.channels * 9, 4)
        for stage in self.stages:
            stage.conv.weight.data.mul_(args.gain)
            if args.bias is not None:
                nn.init.constant_(stage.conv.bias, args.bias)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(F.max_pool2d(x, 4).flatten(1))


train_x, train_y = pictures(1200)
test_x, test_y = pictures(500)
if args.labels == "shuffled":
    train_y = train_y[torch.randperm(len(train_y))]
if args.normalise:
    mean, std = train_x.mean(), train_x.std()
    train_x, test_x = (train_x - mean) / std, (test_x - mean) / std
model = Net()
if args.optimizer == "sgd":
    optimizer = torch.optim.SGD(model.parameters(), args.lr, momentum=0.9, weight_decay=args.weight_decay)
else:
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=args.weight_decay)


def test():
    model.eval()
    with torch.no_grad():
        return (model(test_x).argmax(1) == test_y).float().mean().item()


for epoch in range(1, args.epochs + 1):
    model.train()
    losses, hits = 0.0, 0
    for rows in torch.randperm(len(train_x)).split(30):
        optimizer.zero_grad()
        out = model(train_x[rows])
        loss = F.cross_entropy(out, train_y[rows])
        loss.backward()
        if args.clip:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        losses += loss.item() * len(rows)
        hits += (out.argmax(1) == train_y[rows]).sum().item()
    n = len(train_x)
    print(f"epoch {epoch} loss {losses / n:.4f} accuracy {hits / n:.3f} held-out {test():.3f}")

score = test()
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
