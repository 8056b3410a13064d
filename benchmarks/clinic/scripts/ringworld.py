"""Message passing on rings: one node knows the class of its ring, and the node opposite has to name it."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--nodes", type=int, default=12)
parser.add_argument("--classes", type=int, default=4)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--update", choices=["tanh", "relu", "sigmoid", "residual"], default="residual")
parser.add_argument("--aggregate", choices=["mean", "sum"], default="mean")
parser.add_argument("--gain", type=float, default=1.0, help="factor on the weights at the start")
parser.add_argument("--layers", type=int, default=0, help="rounds of messages; 0: as many as half the ring is long")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--clip", type=float, default=0.0)
parser.add_argument("--steps", type=int, default=500)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
HALF = args.nodes // 2
index = torch.arange(args.nodes)
ring = torch.zeros(args.nodes, args.nodes)
ring[index, (index + 1) % args.nodes] = ring[index, (index - 1) % args.nodes] = 1.0
ring += torch.eye(args.nodes)
if args.aggregate == "mean":
    ring /= ring.sum(1, keepdim=True)


def rings(count):
    label = torch.randint(args.classes, (count,))
    x = torch.zeros(count, args.nodes, args.classes + 1)
    x[:, :, -1] = 0.3 * torch.rand(count, args.nodes)  # what a node has of its own
    x[:, 0, : args.classes] = F.one_hot(label, args.classes).float()
    return x, label


class Messages(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(args.width, args.width)
        self.norm = nn.LayerNorm(args.width) if args.update == "residual" else nn.Identity()
        self.linear.weight.data.mul_(args.gain)

    def forward(self, h):
        message = self.linear(self.norm(ring @ h))
        if args.update == "residual":
            return h + F.relu(message)
        return {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[args.update](message)


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(args.classes + 1, args.width)
        self.rounds = nn.ModuleList(Messages() for _ in range(args.layers or HALF))
        self.decode = nn.Linear(args.width, args.classes)

    def forward(self, x):
        h = self.encode(x)
        for messages in self.rounds:
            h = messages(h)
        return self.decode(h[:, HALF])


net = GraphNet()
kind = torch.optim.Adam if args.optimizer == "adam" else torch.optim.SGD
optimizer = kind(net.parameters(), lr=args.lr)
test_x, test_y = rings(500)


@torch.no_grad()
def test():
    return (net(test_x).argmax(1) == test_y).float().mean().item()


hits, every = 0.0, args.steps // 20
for step in range(args.steps):
    x, y = rings(48)
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    if args.clip:
        nn.utils.clip_grad_norm_(net.parameters(), args.clip)
    optimizer.step()
    hits += (logits.argmax(1) == y).float().mean().item()
    if (step + 1) % every == 0:
        print(f"step {step + 1} loss {loss.item():.4f} accuracy {hits / every:.3f} held-out {test():.3f}")
        hits = 0.0

score = test()
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
