"""Four networks, one task, four pictures:  python examples/four_pictures.py

The task: noise, a mark on one step, and 50 steps later the question which sign the marked number had. An LSTM as
PyTorch starts it has forgotten by then, and longreach says so. A transformer sees every step, a stack of dilated
convolutions its receptive field of 64, a linear recurrence as far back as its rates let it: all three learn the task,
and longreach leaves them alone. Two cores take less than a minute.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import longreach

STEPS, LAG, WIDTH = 96, 50, 32


# %% The four networks: (row, step, 2) in, one number a row out
class Transformer(nn.Module):
    """Two blocks of attention in which every step sees itself and the steps before it."""

    def __init__(self):
        super().__init__()
        self.enter, self.places = nn.Linear(2, WIDTH), nn.Embedding(STEPS, WIDTH)
        block = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.leave = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attention by PyTorch's own layers."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        x = self.enter(x) + self.places(torch.arange(x.shape[1]))
        return self.leave(self.blocks(x, mask=mask, is_causal=True))[:, -1, 0]


class Dilated(nn.Module):
    """Convolutions of two taps that lie 1, 2, 4, ... 32 steps apart: an output sees 64 steps."""

    def __init__(self):
        super().__init__()
        widths = [2] + [WIDTH] * 6
        self.layers = nn.ModuleList(nn.Conv1d(widths[n], widths[n + 1], 2, dilation=2**n) for n in range(6))
        self.leave = nn.Linear(WIDTH, 1)

    @property
    def field(self) -> int:
        """How many steps an output sees."""
        return 1 + sum(layer.dilation[0] for layer in self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Zeros in front, so that no output sees what comes after it."""
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = F.leaky_relu(layer(F.pad(x, (layer.dilation[0], 0))))
        return self.leave(x[:, :, -1])[:, 0]


class Linear(nn.Module):
    """h_t = λ h_{t-1} + √(1 - λ²) u_t with one λ a unit: all steps at once, as a convolution by Fourier transform."""

    def __init__(self, slowest: float = 0.99, fastest: float = 0.9):
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.rates = nn.Parameter(torch.linspace(fastest, slowest, WIDTH))
        self.leave = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The last state, read out."""
        rates, steps = self.rates.clamp(0, 0.999)[:, None], torch.arange(x.shape[1])
        kernel = (1 - rates**2).sqrt() * rates**steps
        u, size = self.enter(x).transpose(1, 2), 2 * len(steps)
        h = torch.fft.irfft(torch.fft.rfft(u, n=size) * torch.fft.rfft(kernel, n=size), n=size)
        return self.leave(h[..., len(steps) - 1])[:, 0]


class Recurrent(nn.Module):
    """The LSTM of most tutorials."""

    def __init__(self):
        super().__init__()
        self.lstm, self.leave = nn.LSTM(2, WIDTH, batch_first=True), nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The last output, read out."""
        return self.leave(self.lstm(x)[0][:, -1])[:, 0]


# %% The task, and a training loop
def batch(rows: int = 64) -> tuple[Tensor, Tensor]:
    """Noise with a mark LAG steps before the end, and the sign of what is marked."""
    noise, mark = torch.randn(rows, STEPS), torch.zeros(rows, STEPS)
    mark[:, -1 - LAG] = 1.0
    return torch.stack([noise, mark], dim=2), noise[:, -1 - LAG].sign()


def train(model: nn.Module, steps: int, rate: float) -> tuple[float, longreach.Diagnosis]:
    """The share of right answers at the end, and what longreach found."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    with longreach.watch(model, optimizer) as watch:
        for _ in range(steps):
            x, y = batch()
            optimizer.zero_grad()
            F.soft_margin_loss(model(x), y).backward()
            optimizer.step()
    with torch.no_grad():
        x, y = batch(1000)
        return (model(x).sign() == y).float().mean().item(), watch.diagnose()


def reach(diagnosis: longreach.Diagnosis) -> int:
    """How far back the model sees, in steps."""
    (layer,) = diagnosis.record.layers
    assert layer.reach is not None
    return layer.reach.lag


def codes(diagnosis: longreach.Diagnosis) -> set[str]:
    """What was found."""
    return {finding.code for finding in diagnosis.findings}


# %%
def main(seed: int = 0) -> None:
    """Train all four, print their pictures, and check them."""
    torch.manual_seed(seed)
    found = {}
    for make, steps, rate in (
        (Transformer, 150, 3e-3),
        (Dilated, 150, 3e-3),
        (Linear, 700, 1e-2),
        (Recurrent, 300, 3e-3),
    ):
        right, found[make] = train(make(), steps, rate)
        print(f"{make.__name__}: {right:.0%} of the answers are right\n\n{found[make]}")
        assert (right > 0.9) == (make is not Recurrent)

    assert reach(found[Transformer]) == STEPS - 1
    assert reach(found[Dilated]) == Dilated().field - 1
    assert reach(found[Linear]) >= LAG
    assert all("LR101" not in codes(found[make]) for make in (Transformer, Dilated, Linear))

    assert reach(found[Recurrent]) < LAG
    assert found[Recurrent].record.layers[0].need.lag == LAG
    assert found[Recurrent].verdict == "vanishing-in-time"

    # rates of 0.9 everywhere: after 43 steps 1.1 % is left, after 44 less than 1 %
    fading = longreach.measure(Linear(0.9, 0.9), batch(), F.soft_margin_loss)
    assert fading.layers[0].reach.lag == int(math.log(0.01) / math.log(0.9)) == 43


if __name__ == "__main__":
    main()
