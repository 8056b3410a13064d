"""Regression on a table of ten columns (Friedman 1991), five of which matter."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--offset", type=float, default=0.0, help="what the columns are counted from")
parser.add_argument(
    "--spread", type=float, default=0.0, help="powers of ten between the units of the first and last column"
)
parser.add_argument("--standardise", choices=["no", "yes", "naive"], default="no", help="naive: no guard against 0 / 0")
parser.add_argument("--constant-column", action="store_true")
parser.add_argument("--log-target", choices=["no", "log", "log1p"], default="no")
parser.add_argument(
    "--outliers", type=float, default=0.0, help="share of rows whose target is a thousand times too large"
)
parser.add_argument("--labels", choices=["true", "permuted"], default="true")
parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
parser.add_argument("--hidden", type=int, default=64)
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--clip", type=float, default=None)
parser.add_argument("--weight-decay", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--seed", type=int, default=0)


def make_table(count, args):
    x = torch.rand(count, 10)
    y = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + 0.3 * torch.randn(count)
    order = torch.tensor([3, 0, 9, 5, 1, 2, 6, 7, 4, 8])  # the columns come in no order of importance
    x = x[:, order] * 10 ** torch.linspace(0, args.spread, 10)
    if args.constant_column:
        x[:, -1] = 1.0
    return x + args.offset, y


def prepare(train, test, args):
    if args.standardise == "no":
        return train, test
    mean, std = train.mean(0), train.std(0)
    if args.standardise == "yes":
        std = torch.where(std > 0, std, torch.ones_like(std))
    return (train - mean) / std, (test - mean) / std


class Trainer:
    def __init__(self, args):
        self.args = args
        (train_x, train_y), (test_x, self.test_y) = make_table(2000, args), make_table(1000, args)
        if args.constant_column and args.standardise == "naive":
            train_x[:, -1] = test_x[:, -1] = 1.0
        train_x, self.test_x = prepare(train_x, test_x, args)
        if args.log_target != "no":
            # what is below the limit of detection is recorded as 0
            train_y, self.test_y = (torch.where(y < 5, 0.0, y) for y in (train_y, self.test_y))
            transform = torch.log if args.log_target == "log" else torch.log1p
            train_y, self.test_y = transform(train_y), transform(self.test_y)
        self.centre, self.scale = train_y.mean(), train_y.std()
        train_y, self.test_y = ((y - self.centre) / self.scale for y in (train_y, self.test_y))
        if args.outliers:
            train_y = torch.where(torch.rand(len(train_y)) < args.outliers, 1000 * train_y, train_y)
        if args.labels == "permuted":
            train_y = train_y[torch.randperm(len(train_y))]
        self.loader = DataLoader(TensorDataset(train_x, train_y), batch_size=40, shuffle=True)
        dtype = getattr(torch, args.dtype)
        self.model = nn.Sequential(
            nn.Linear(10, args.hidden),
            nn.ReLU(),
            nn.Linear(args.hidden, args.hidden),
            nn.ReLU(),
            nn.Linear(args.hidden, 1),
        ).to(dtype)
        self.dtype = dtype
        kind = torch.optim.AdamW if args.optimizer == "adam" else torch.optim.SGD
        self.optimizer = kind(self.model.parameters(), lr=args.lr, weight_decay=args.weight_decay)

    def predict(self, x):
        return self.model(x.to(self.dtype)).float().squeeze(1)

    def epoch(self):
        total, hits = 0.0, 0.0
        for x, y in self.loader:
            guess = self.predict(x)
            loss = nn.functional.mse_loss(guess, y)
            self.optimizer.zero_grad()
            loss.backward()
            if self.args.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
            self.optimizer.step()
            total, hits = total + loss.item(), hits + ((guess - y).abs() < 0.5).float().mean().item()
        return total / len(self.loader), hits / len(self.loader)

    @torch.no_grad()
    def evaluate(self):
        guess = self.predict(self.test_x)
        close = ((guess - self.test_y).abs() < 0.5).float().mean().item()
        return close, (1 - (guess - self.test_y).square().mean() / self.test_y.var()).item()


def main():
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    trainer = Trainer(args)
    for epoch in range(args.epochs):
        loss, hits = trainer.epoch()
        print(f"epoch {epoch + 1} loss {loss:.4f} accuracy {hits:.3f} held-out {trainer.evaluate()[0]:.3f}")
    explained = trainer.evaluate()[1]
    print("outcome", "solved" if explained >= 0.85 else "unsolved", f"{explained:.3f}")


if __name__ == "__main__":
    main()
