#!/usr/bin/env python
"""Classify event sequences by the kind of their first event."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class EventDataset(Dataset):
    """Sequences of event vectors. The label is the kind of the first one."""

    def __init__(self, size, length, kinds, seed):
        self.size, self.length, self.kinds, self.seed = size, length, kinds, seed

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + i)
        kinds = torch.randint(self.kinds, (self.length,), generator=generator)
        strength = 0.5 + torch.rand(self.length, 1, generator=generator)
        return F.one_hot(kinds, self.kinds) * strength, int(kinds[0])


class Encoder(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.project = nn.Linear(inputs, hidden)
        self.cell = nn.LSTMCell(hidden, hidden)

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.cell.hidden_size)
        c = torch.zeros_like(h)
        for t in range(x.size(1)):
            h, c = self.cell(torch.tanh(self.project(x[:, t])), (h, c))
        return h


class Classifier(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.encoder = Encoder(inputs, hidden)
        self.classifier = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, classes)
        )

    def forward(self, x):
        return self.classifier(self.encoder(x))


def run_epoch(model, loader, device, optimizer=None):
    model.train(optimizer is not None)
    seen = right = 0
    total = 0.0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        with torch.set_grad_enabled(optimizer is not None):
            logits = model(x)
            loss = F.cross_entropy(logits, y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seen += len(y)
        right += (logits.argmax(1) == y).sum().item()
        total += loss.item() * len(y)
    return total / seen, right / seen


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=70)
    parser.add_argument("--kinds", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    device = torch.device("cpu")
    train = DataLoader(
        EventDataset(3200, args.length, args.kinds, seed=1),
        batch_size=args.batch_size,
        shuffle=True,
        num_workers=args.workers,
    )
    test = DataLoader(EventDataset(320, args.length, args.kinds, seed=2), batch_size=args.batch_size)
    model = Classifier(args.kinds, args.hidden, args.kinds).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        loss, accuracy = run_epoch(model, train, device, optimizer)
        print(f"epoch {epoch}: loss {loss:.4f} accuracy {accuracy:.3f}")
    loss, accuracy = run_epoch(model, test, device)
    print(f"test loss {loss:.4f} accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
