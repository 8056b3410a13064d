"""Delayed XOR: whether the bits at two steps long past differ. Either bit alone tells nothing of it."""

import sys

import torch
from torch import nn

torch.manual_seed(0)
STEPS, FIRST, SECOND = 60, 9, 39  # of 60 steps; the label comes at the last
TRAINING = int(sys.argv[1]) if len(sys.argv) > 1 else 300


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, bits):
        return self.head(self.rnn(2 * bits - 1)[0][:, -1])


model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
right = []
for _ in range(TRAINING):
    bits = torch.randint(2, (32, STEPS, 1)).float()
    label = (bits[:, FIRST] != bits[:, SECOND]).float()
    answer = model(bits)
    loss = nn.functional.binary_cross_entropy_with_logits(answer, label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    right.append(((answer > 0) == (label > 0)).float().mean().item())
print(f"accuracy {sum(right[-100:]) / 100:.3f}")
