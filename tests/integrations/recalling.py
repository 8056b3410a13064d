"""Recall one sign, as a plain script with a known verdict; the integrations are given the same.

    python tests/integrations/recalling.py first    # it lies 50 steps back, where no gradient gets
    python tests/integrations/recalling.py last     # it lies at the last step: learned

Every library trains on the very same batches from the very same start, with Adam, or with what a test says.
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F

LENGTH, ROWS, INPUTS, HIDDEN, STEPS, RATE, CLIP = 50, 32, 4, 24, 120, 5e-3, 1.0
TRUTH = {"first": {"vanishing-in-time"}, "last": {"healthy", "short-reach-harmless"}}


class Recall(nn.Module):
    """Which sign the first feature had, in one step of many."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(INPUTS, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def begin() -> Recall:
    """The model in its start."""
    torch.manual_seed(0)
    return Recall()


def batches(label: str, steps: int = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(x, y) of every training step."""
    generator = torch.Generator().manual_seed(1)
    place = {"first": 0, "last": -1}[label]
    inputs = [torch.randn(ROWS, LENGTH, INPUTS, generator=generator) for _ in range(steps)]
    return [(x, (x[:, place, 0] > 0).long()) for x in inputs]


def main() -> None:
    """Train, without any library."""
    model = begin()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for x, y in batches(sys.argv[1]):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    print(f"final loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
