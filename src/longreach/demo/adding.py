"""The adding problem (Hochreiter & Schmidhuber 1997): the sum of the two marked numbers of a hundred.

An ordinary training script. It knows nothing of longreach.
"""

import torch
from torch import nn

STEPS, LENGTH, BATCH = 1200, 100, 64


def batch():
    """Numbers in [0, 1] and marks, one in each half; the target is the sum of the marked numbers."""
    values, marks = torch.rand(BATCH, LENGTH), torch.zeros(BATCH, LENGTH)
    rows = torch.arange(BATCH)
    marks[rows, torch.randint(LENGTH // 2, (BATCH,))] = 1
    marks[rows, LENGTH // 2 + torch.randint(LENGTH // 2, (BATCH,))] = 1
    return torch.stack([values, marks], dim=2), (values * marks).sum(dim=1)


class Adder(nn.Module):
    """A recurrent network that reads the sequence, and a linear layer on its last output."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 64, batch_first=True)
        self.head = nn.Linear(64, 1)

    def forward(self, x):
        """The sum, from the output at the last step."""
        return self.head(self.rnn(x)[0][:, -1]).squeeze(1)


def main():
    """Train, and say the loss now and then."""
    torch.manual_seed(0)
    model = Adder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(1, STEPS + 1):
        x, y = batch()
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 300 == 0:
            print(f"step {step:4}  loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
