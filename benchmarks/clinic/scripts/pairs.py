"""Metric learning: points of the same kind close together, points of different kinds apart."""

import argparse

import torch
import torch.nn as nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--loss", choices=["distance", "similarity", "entropy"], default="distance")
parser.add_argument("--eps", type=float, default=0.0, help="under the root, in the division or in the logarithm")
parser.add_argument("--net", choices=["mlp", "gru"], default="mlp")
parser.add_argument("--kinds", type=int, default=6)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--twins", type=float, default=0.1, help="share of points that are listed twice")
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
centres = 2 * torch.randn(args.kinds, 2, 8)


def points(count):
    """Each kind lives around two centres; what is listed twice is exactly the same."""
    kind, which = torch.randint(args.kinds, (count,)), torch.randint(2, (count,))
    x = centres[kind, which] + 0.6 * torch.randn(count, 8)
    again = torch.rand(count) < args.twins
    again[0] = False
    source = torch.where(again, torch.arange(count) - 1, torch.arange(count))
    return x[source], kind[source]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        if args.net == "gru":
            self.body = nn.GRU(1, args.width, batch_first=True)
        else:
            self.body = nn.Sequential(nn.Linear(8, args.width), nn.ReLU(), nn.Linear(args.width, args.width), nn.ReLU())
        self.out = nn.Linear(args.width, args.kinds)

    def forward(self, x):
        return self.out(self.body(x[..., None])[0][:, -1] if args.net == "gru" else self.body(x))


def distance_loss(z, kind):
    apart = (z[:, None] - z[None]).square().sum(2)
    distance = (apart + args.eps).sqrt()
    same = (kind[:, None] == kind[None]).float()
    pairs = 1 - torch.eye(len(z))
    loss = same * distance.square() + (1 - same) * (1 - distance).clamp(min=0).square()
    return (loss * pairs).sum() / pairs.sum()


def similarity_loss(z, kind):
    z = torch.relu(z)  # parts of a whole, never negative
    unit = z / (z.norm(dim=1, keepdim=True) + args.eps)
    same = (kind[:, None] == kind[None]).float()
    return (unit @ unit.t() - same).square().mean()


def entropy_loss(z, kind):
    p = (100 * z).softmax(1)
    target = nn.functional.one_hot(kind, args.kinds)
    fit = -(target * (p + args.eps).log()).sum(1).mean()
    spread = -(p * (p + args.eps).log()).sum(1).mean()
    return fit + 0.01 * spread


criterion = {"distance": distance_loss, "similarity": similarity_loss, "entropy": entropy_loss}[args.loss]
model = Encoder()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
memory_x, memory_y = points(500)
test_x, test_y = points(500)


@torch.no_grad()
def nearest(x, y):
    """Share of points whose nearest neighbour in memory is of their kind."""
    z, memory = model(x), model(memory_x)
    if args.loss == "similarity":
        z, memory = (nn.functional.normalize(torch.relu(part), dim=1) for part in (z, memory))
    found = torch.cdist(z, memory).argmin(1)
    return (memory_y[found] == y).float().mean().item() if z.isfinite().all() else 0.0


for step in range(1, args.steps + 1):
    x, kind = points(64)
    loss = criterion(model(x), kind)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % (args.steps // 20) == 0:
        print(
            f"step {step} loss {loss.item():.4f} accuracy {nearest(x, kind):.3f} held-out {nearest(test_x, test_y):.3f}"
        )

score = nearest(test_x, test_y)
print("outcome", "solved" if score >= 0.85 else "unsolved", f"{score:.3f}")
