"""Forecast the next value of seasonal series of unequal length."""

import math

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def make_series(count, generator):
    """A season of 12 steps that drifts: each value follows from the two before it and a shock."""
    r, w = 0.95, 2 * math.pi / 12
    series = []
    for _ in range(count):
        length = int(torch.randint(60, 121, (1,), generator=generator))
        values = torch.zeros(length + 50)
        shocks = 0.3 * torch.randn(length + 50, generator=generator)
        for t in range(2, length + 50):
            values[t] = 2 * r * math.cos(w) * values[t - 1] - r * r * values[t - 2] + shocks[t]
        series.append(values[50:])
    return series


class Forecaster(nn.Module):
    def __init__(self, hidden_size=24, num_layers=2):
        super().__init__()
        self.gru = nn.GRU(1, hidden_size, num_layers=num_layers, batch_first=True, dropout=0.1)
        self.out = nn.Linear(hidden_size, 1)

    def forward(self, packed):
        hidden, _ = self.gru(packed)
        hidden, lengths = pad_packed_sequence(hidden, batch_first=True)
        return self.out(hidden).squeeze(-1), lengths


class Trainer:
    def __init__(self, model, lr=1e-2, patience=4, max_epochs=14, batch_size=32):
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=5, gamma=0.5)
        self.patience = patience
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.best = float("inf")

    def _batches(self, series, shuffle):
        order = torch.randperm(len(series)) if shuffle else torch.arange(len(series))
        for i in range(0, len(series), self.batch_size):
            chosen = [series[j] for j in order[i : i + self.batch_size]]
            lengths = torch.tensor([len(s) - 1 for s in chosen])
            inputs = nn.utils.rnn.pad_sequence([s[:-1] for s in chosen], batch_first=True)
            targets = nn.utils.rnn.pad_sequence([s[1:] for s in chosen], batch_first=True)
            yield pack_padded_sequence(inputs[:, :, None], lengths, batch_first=True, enforce_sorted=False), targets

    def _loss(self, packed, targets):
        prediction, lengths = self.model(packed)
        mask = torch.arange(targets.shape[1])[None] < lengths[:, None]
        return (((prediction - targets) ** 2) * mask).sum() / mask.sum()

    def _epoch(self, series):
        self.model.train()
        total = 0.0
        for packed, targets in self._batches(series, shuffle=True):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self._loss(packed, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=1.0)
            self.optimizer.step()
            total += loss.item()
        self.scheduler.step()
        return total

    @torch.no_grad()
    def evaluate(self, series):
        self.model.eval()
        losses = [self._loss(packed, targets).item() for packed, targets in self._batches(series, shuffle=False)]
        return sum(losses) / len(losses)

    def fit(self, train, valid):
        since_best = 0
        for epoch in range(self.max_epochs):
            self._epoch(train)
            error = self.evaluate(valid)
            print(f"epoch {epoch:2d}  validation {error:.4f}")
            if error < self.best - 1e-4:
                self.best, since_best = error, 0
            else:
                since_best += 1
            if since_best >= self.patience:
                print("early stopping")
                break
        return self


if __name__ == "__main__":
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = make_series(260, generator)
    trainer = Trainer(Forecaster()).fit(data[:200], data[200:])
    print(f"best validation error {trainer.best:.4f}")
