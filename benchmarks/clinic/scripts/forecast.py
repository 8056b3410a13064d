"""Forecast the next value of oscillations of random frequency, at every step."""

import argparse

import torch
import torch.nn as nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--net", choices=["rnn", "gru", "lstm"], default="lstm")
parser.add_argument("--length", type=int, default=40)
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--ahead", type=int, default=1)
parser.add_argument("--targets", choices=["own", "neighbour"], default="own")
parser.add_argument("--volume", type=float, default=1.0)
parser.add_argument("--level", type=float, default=0.0, help="what the series are counted from")
parser.add_argument("--normalise", action="store_true", help="subtract the level and divide by the volume")
parser.add_argument("--broken", type=float, default=0.0, help="share of batches with a broken sensor")
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=5e-3)
parser.add_argument("--warm", type=float, default=1.0, help="factor that the step size has reached at the end")
parser.add_argument("--clip", type=float, default=0.0)
parser.add_argument("--accumulate", action="store_true", help="never zero the gradients")
parser.add_argument("--rebuild", action="store_true", help="build the recurrent layer anew, after the optimizer")
parser.add_argument("--steps", type=int, default=400)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)


def series(count):
    t = torch.arange(args.length + args.ahead)
    frequency, phase = 0.2 + 0.6 * torch.rand(count, 1), 6.3 * torch.rand(count, 1)
    values = torch.sin(frequency * t + phase)[..., None] + 0.02 * torch.randn(count, args.length + args.ahead, 1)
    x, y = values[:, : -args.ahead], values[:, args.ahead :]
    if args.targets == "neighbour":
        y = y.roll(1, 0)
    if args.normalise:
        return x, y
    return args.volume * x + args.level, y


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.build()
        self.head = nn.Linear(args.hidden, 1)

    def build(self):
        self.rnn = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[args.net](1, args.hidden, batch_first=True)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


model = Forecaster()
if args.optimizer == "adam":
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
else:
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
if args.rebuild:
    model.build()
growth = args.warm ** (1 / args.steps)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, growth)
test_x, test_y = series(500)


def close(guess, y):
    return ((guess - y)[:, 5:].abs() < 0.15).float().mean().item()


def error():
    with torch.no_grad():
        return (model(test_x) - test_y)[:, 5:].square().mean().item() / test_y.var().item()


hits, every = 0.0, args.steps // 20
for step in range(1, args.steps + 1):
    x, y = series(48)
    if args.broken and torch.rand(()) < args.broken:
        y = 1000 * y
    guess = model(x)
    loss = nn.functional.mse_loss(guess, y)
    if not args.accumulate:
        optimizer.zero_grad()
    loss.backward()
    if args.clip:
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
    optimizer.step()
    schedule.step()
    hits += close(guess, y)
    if step % every == 0:
        with torch.no_grad():
            held_out = close(model(test_x), test_y)
        print(f"step {step} loss {loss.item():.4f} accuracy {hits / every:.3f} held-out {held_out:.3f}")
        hits = 0.0

explained = 1 - error()
print("outcome", "solved" if explained >= 0.95 else "unsolved", f"{explained:.3f}")
