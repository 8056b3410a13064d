"""Dilated convolutions over noisy waves: which of two frequencies opened the recording?"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--length", type=int, default=64)
parser.add_argument("--opening", type=int, default=16, help="steps of the recording that count")
parser.add_argument("--channels", type=int, default=16)
parser.add_argument("--blocks", type=int, default=5)
parser.add_argument("--activation", choices=["relu", "tanh"], default="relu")
parser.add_argument("--plain", action="store_true", help="without the residual connections")
parser.add_argument("--gain", type=float, default=1.0, help="factor on the weights at the start")
parser.add_argument("--volume", type=float, default=1.0, help="of the recordings")
parser.add_argument("--dc", type=float, default=0.0, help="offset of the recordings")
parser.add_argument("--roll", type=int, default=0, help="rows by which the labels are shifted against the recordings")
parser.add_argument("--spikes", type=float, default=0.0, help="share of recordings with a fault of the sensor")
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
parser.add_argument("--clip", type=float, default=0.0)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--seed", type=int, default=0)


def recordings(count, args):
    t = torch.arange(args.length).float()
    first, second = torch.randint(2, (2, count))
    phase = 2 * torch.pi * torch.rand(2, count, 1)
    frequency = torch.tensor([0.1, 0.25])
    a = torch.sin(2 * torch.pi * frequency[first, None] * t + phase[0])
    b = torch.sin(2 * torch.pi * frequency[second, None] * t + phase[1])
    x = torch.where(t < args.opening, a, b) + 0.2 * torch.randn(count, args.length)
    return args.volume * x[:, None] + args.dc, first


class CausalBlock(nn.Module):
    def __init__(self, inputs, outputs, dilation, args):
        super().__init__()
        self.pad = nn.ConstantPad1d((2 * dilation, 0), 0.0)
        self.conv = nn.Conv1d(inputs, outputs, 3, dilation=dilation)
        self.act = nn.ReLU() if args.activation == "relu" else nn.Tanh()
        self.skip = None if args.plain else nn.Conv1d(inputs, outputs, 1)
        self.conv.weight.data.mul_(args.gain)

    def forward(self, x):
        out = self.act(self.conv(self.pad(x)))
        return out if self.skip is None else out + self.skip(x)


class DilatedNet(nn.Module):
    def __init__(self, args):
        super().__init__()
        widths = [1] + [args.channels] * args.blocks
        self.blocks = nn.Sequential(*(CausalBlock(widths[i], widths[i + 1], 2**i, args) for i in range(args.blocks)))
        self.head = nn.Linear(args.channels, 2)

    def forward(self, x):
        return self.head(self.blocks(x)[:, :, -1])


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main():
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    (x, y), (test_x, test_y) = recordings(1200, args), recordings(500, args)
    y = y.roll(args.roll)
    if args.spikes:
        broken = torch.rand(len(x)) < args.spikes
        x[broken] = x[broken] * 1e4
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    model = DilatedNet(args)
    kind = torch.optim.Adam if args.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(args.epochs):
        hits = 0.0
        for inputs, labels in loader:
            logits = model(inputs)
            loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            if args.clip:
                nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            optimizer.step()
            hits += (logits.argmax(1) == labels).float().mean().item() / len(loader)
        held_out = accuracy(model, test_x, test_y)
        print(f"epoch {epoch + 1} loss {loss.item():.4f} accuracy {hits:.3f} held-out {held_out:.3f}")
    score = accuracy(model, test_x, test_y)
    print("outcome", "solved" if score >= 0.9 else "unsolved", f"{score:.3f}")


if __name__ == "__main__":
    main()
