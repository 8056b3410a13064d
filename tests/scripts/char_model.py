# Next-character model of a list of records: each says a random name, and says it again after the sign "=".
import random

import torch
import torch.nn as nn

random.seed(1)
torch.manual_seed(1)

LETTERS = "abcdefgh"
NAME = 34  # letters in a name, so the second saying is 35 characters away from the first
CHUNK, STREAMS, HIDDEN = 100, 32, 64


def make_text(records):
    names = ("".join(random.choices(LETTERS, k=NAME)) for _ in range(records))
    return "".join(f"{name}={name}\n" for name in names)


text = make_text(4000)
vocabulary = sorted(set(text))
index = {c: i for i, c in enumerate(vocabulary)}
data = torch.tensor([index[c] for c in text])
data = data[: len(data) // STREAMS * STREAMS].view(STREAMS, -1)

embedding = nn.Embedding(len(vocabulary), 32)
lstm = nn.LSTM(32, HIDDEN, batch_first=True)
decoder = nn.Linear(HIDDEN, len(vocabulary))
parameters = [*embedding.parameters(), *lstm.parameters(), *decoder.parameters()]
optimizer = torch.optim.Adam(parameters, lr=3e-3)
criterion = nn.CrossEntropyLoss()


def accuracy(logits, targets):
    return (logits.argmax(-1) == targets).float().mean().item()


def train():
    hidden = None
    for step, start in enumerate(range(0, data.shape[1] - CHUNK - 1, CHUNK)):
        x = data[:, start : start + CHUNK]
        y = data[:, start + 1 : start + CHUNK + 1]
        if hidden is not None:
            hidden = tuple(h.detach() for h in hidden)
        out, hidden = lstm(embedding(x), hidden)
        logits = decoder(out)
        loss = criterion(logits.reshape(-1, len(vocabulary)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step:4d}  loss {loss.item():.3f}  accuracy {accuracy(logits, y):.2f}")
    print(f"final loss {loss.item():.3f} accuracy {accuracy(logits, y):.2f}")


train()
