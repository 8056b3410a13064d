"""Estimate a small displacement, in metres, at every pixel of a picture, in mixed precision."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--net", choices=["conv", "pixel", "rows"], default="conv")
parser.add_argument("--precision", choices=["float32", "float16", "bfloat16"], default="float16")
parser.add_argument("--scaler", action="store_true", help="scale the loss, as float16 asks for")
parser.add_argument("--unit", type=float, default=1e-3, help="typical displacement")
parser.add_argument("--size", type=int, default=24)
parser.add_argument("--batch", type=int, default=12)
parser.add_argument("--width", type=int, default=16)
parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)


def pictures(count):
    """Two channels; the displacement is the product of their neighbourhood means."""
    x = torch.randn(count, 2, args.size, args.size)
    mean = nn.functional.avg_pool2d(x, 3, 1, 1) * 3 if args.net == "conv" else x
    return x, args.unit * torch.tanh(mean[:, :1] * mean[:, 1:])


class Rows(nn.Module):
    """Reads each row of the picture from left to right."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.gru = nn.GRU(inputs, outputs, batch_first=True)

    def forward(self, x):
        B, C, H, W = x.shape
        out, _ = self.gru(x.permute(0, 2, 3, 1).reshape(B * H, W, C))
        return out.reshape(B, H, W, -1).permute(0, 3, 1, 2)


width, kernel = args.width, 3 if args.net == "conv" else 1
middle = Rows(width, width) if args.net == "rows" else nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
model = nn.Sequential(nn.Conv2d(2, width, kernel, padding=kernel // 2), nn.ReLU(), middle, nn.Conv2d(width, 1, 1))
kind = torch.optim.Adam if args.optimizer == "adam" else torch.optim.SGD
optimizer = kind(model.parameters(), lr=args.lr, **({"eps": 1e-12} if args.optimizer == "adam" else {}))
scaler = torch.amp.GradScaler("cpu", enabled=args.scaler)
mixed = args.precision != "float32"
dtype = getattr(torch, args.precision)
test_x, test_y = pictures(30)


def predict(x):
    with torch.autocast("cpu", dtype=dtype if mixed else torch.bfloat16, enabled=mixed):
        return args.unit * model(x)


def close(guess, y):
    return ((guess - y).abs() < 0.2 * args.unit).float().mean().item()


hits, every = 0.0, args.steps // 20
for step in range(1, args.steps + 1):
    x, y = pictures(args.batch)
    guess = predict(x)
    loss = nn.functional.mse_loss(guess.float(), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    hits += close(guess.float(), y)
    if step % every == 0:
        with torch.no_grad():
            held_out = close(predict(test_x).float(), test_y)
        print(f"step {step} loss {loss.item():.3e} accuracy {hits / every:.3f} held-out {held_out:.3f}")
        hits = 0.0

with torch.no_grad():
    explained = (1 - (predict(test_x).float() - test_y).square().mean() / test_y.var()).item()
print("outcome", "solved" if explained >= 0.85 else "unsolved", f"{explained:.3f}")
