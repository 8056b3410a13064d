"""Read endless streams window by window, and answer each question with the last letter that was heard."""

import argparse

import torch
import torch.nn as nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--net", choices=["rnn", "gru", "lstm"], default="gru")
parser.add_argument("--window", type=int, default=40, help="steps between two detachments of the state")
parser.add_argument("--delay", type=int, default=15, help="steps from a letter to its question, at least")
parser.add_argument("--letters", type=int, default=4)
parser.add_argument("--hidden", type=int, default=48)
parser.add_argument("--streams", type=int, default=32)
parser.add_argument("--windows", type=int, default=400)
parser.add_argument("--lr", type=float, default=5e-3)
parser.add_argument(
    "--chrono", type=float, default=0.0, help="how long the gates stay open at the start; 0: as torch has it"
)
parser.add_argument("--target-shift", type=int, default=0, help="streams by which the answers are rolled")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)

BLANK, QUESTION = args.letters, args.letters + 1


def make_streams(count, length):
    """Letter, blanks, question, a few blanks, and again; each stream at a pace of its own."""
    x = torch.full((count, length), BLANK)
    y = torch.full((count, length), -100)
    for row in range(count):
        t = int(torch.randint(args.delay, (1,)))
        while True:
            asked = t + args.delay + int(torch.randint(4, (1,)))
            if asked >= length:
                break
            letter = int(torch.randint(args.letters, (1,)))
            x[row, t], x[row, asked], y[row, asked] = letter, QUESTION, letter
            t = asked + 1 + int(torch.randint(4, (1,)))
    return x, y


class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[args.net]
        self.embed = nn.Embedding(args.letters + 2, 16)
        self.rnn = kind(16, args.hidden, batch_first=True)
        self.out = nn.Linear(args.hidden, args.letters)
        if args.chrono:
            self.rnn.bias_hh_l0.data[args.hidden : 2 * args.hidden] += torch.tensor(args.chrono).log()
        if args.net == "rnn":
            nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, x, state=None):
        out, state = self.rnn(self.embed(x), state)
        return self.out(out), state


def detach(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


model = Listener()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
criterion = nn.CrossEntropyLoss()
x, y = make_streams(args.streams, args.windows * args.window)
if args.target_shift:
    y = torch.where(y >= 0, y.roll(args.target_shift, 0).roll(7 * args.window, 1).clamp(min=-100), y)
test_x, test_y = make_streams(50, 200)


def accuracy(logits, targets):
    asked = targets >= 0
    return (logits.argmax(-1)[asked] == targets[asked]).float().mean().item() if asked.any() else float("nan")


state = None
seen, right = 0, 0.0
for step in range(args.windows):
    here = slice(step * args.window, (step + 1) * args.window)
    state = None if state is None else detach(state)
    logits, state = model(x[:, here], state)
    target = y[:, here]
    if not (target >= 0).any():
        continue
    loss = criterion(logits.flatten(0, 1), target.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    seen, right = seen + 1, right + accuracy(logits, target)
    if (step + 1) % (args.windows // 20) == 0:
        with torch.no_grad():
            held_out = accuracy(model(test_x)[0], test_y)
        print(f"window {step + 1} loss {loss.item():.4f} accuracy {right / seen:.3f} held-out {held_out:.3f}")
        seen, right = 0, 0.0

with torch.no_grad():
    score = accuracy(model(test_x)[0], test_y)
print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")
