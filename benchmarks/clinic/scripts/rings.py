"""Tell from which of three rings a point in the plane comes."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--depth", type=int, default=3, help="hidden layers")
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--activation", choices=ACTIVATIONS, default="relu")
parser.add_argument("--init", choices=["default", "he", "xavier", "normal", "constant"], default="default")
parser.add_argument("--std", type=float, default=1.0, help="of the weights, with --init normal; value, with constant")
parser.add_argument("--bias", type=float, default=None, help="of the hidden layers at the start")
parser.add_argument("--residual", action="store_true")
parser.add_argument("--norm", action="store_true")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--jump", type=float, default=1.0, help="factor on the step size after 60 %% of the epochs")
parser.add_argument("--clip", type=float, default=0.0)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--radius", type=float, default=1.0, help="of the inner ring")
parser.add_argument("--centre", type=float, default=0.0)
parser.add_argument("--labels", choices=["true", "random"], default="true")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)


def make_rings(count):
    ring = torch.randint(3, (count,))
    angle = 2 * torch.pi * torch.rand(count)
    radius = ring + 1 + 0.1 * torch.randn(count)
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * radius[:, None]
    return args.radius * points + args.centre, ring


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs) if args.norm else nn.Identity()
        self.act = ACTIVATIONS[args.activation]()

    def forward(self, x):
        out = self.act(self.norm(self.linear(x)))
        return x + out if args.residual and x.shape == out.shape else out


blocks = [Block(2 if layer == 0 else args.width, args.width) for layer in range(args.depth)]
model = nn.Sequential(*blocks, nn.Linear(args.width, 3))
for block in blocks:
    weight = block.linear.weight
    if args.init == "he":
        nn.init.kaiming_normal_(weight)
    elif args.init == "xavier":
        nn.init.xavier_uniform_(weight, gain=nn.init.calculate_gain("tanh"))
    elif args.init == "normal":
        nn.init.normal_(weight, std=args.std)
    elif args.init == "constant":
        nn.init.constant_(weight, args.std)
    if args.init in ("he", "xavier"):
        nn.init.zeros_(block.linear.bias)
    if args.bias is not None:
        nn.init.constant_(block.linear.bias, args.bias)

if args.optimizer == "sgd":
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)
else:
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)

x, y = make_rings(2000)
if args.labels == "random":
    y = torch.randint(3, y.shape)
test_x, test_y = make_rings(1000)


def evaluate():
    model.eval()
    with torch.no_grad():
        return (model(test_x).argmax(1) == test_y).float().mean().item()


for epoch in range(args.epochs):
    if args.jump != 1 and epoch == 3 * args.epochs // 5:
        for group in optimizer.param_groups:
            group["lr"] *= args.jump
    model.train()
    hits = 0
    for rows in torch.randperm(len(x)).split(50):
        logits = model(x[rows])
        loss = F.cross_entropy(logits, y[rows])
        optimizer.zero_grad()
        loss.backward()
        if args.clip:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        hits += (logits.argmax(1) == y[rows]).sum().item()
    print(f"epoch {epoch + 1} loss {loss.item():.4f} accuracy {hits / len(x):.3f} held-out {evaluate():.3f}")

score = evaluate()
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
