"""Four networks, four ways in which the two curves can lie:  python examples/four_cases.py

A plain RNN is shown 60 numbers and asked for one of them. Which one, and how it may train, decides which of the four
pictures longreach draws. One core takes about ten seconds.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import longreach

STEPS = 60


@dataclass(frozen=True)
class Case:
    """How far back the number lies that is asked for, and how the network is trained."""

    name: str
    lag: int
    updates: int = 400
    rows: int = 32
    rate: float = 3e-3


CASES = (
    Case("need beyond reach", lag=40),
    Case("no need beyond reach", lag=1),
    Case("need within reach, and still unlearned", lag=5, rate=1e-6),
    Case("nothing could have been found", lag=40, updates=10, rows=1),
)


class Network(nn.Module):
    """The plain RNN of most tutorials."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The last state, read out."""
        return self.head(self.rnn(x)[0][:, -1])[:, 0]


def run(case: Case) -> longreach.Diagnosis:
    """Train one network under watch."""
    torch.manual_seed(0)
    model = Network()
    optimizer = torch.optim.Adam(model.parameters(), case.rate)
    with longreach.watch(model, optimizer) as watch:
        for _ in range(case.updates):
            x = torch.randn(case.rows, STEPS, 1)
            loss = F.mse_loss(model(x), x[:, -1 - case.lag, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watch.diagnose()


def main() -> None:
    """Draw all four, and check them."""
    found = {case.name: run(case) for case in CASES}
    for name, diagnosis in found.items():
        print(f"{name}\n\n{diagnosis}")

    beyond, without, within, unknown = found.values()
    reach, need = beyond.record.layers[0].reach, beyond.record.layers[0].need
    assert reach is not None
    assert need is not None
    assert (need.lag, beyond.verdict) == (40, "vanishing-in-time")
    assert reach.lag < need.lag
    assert without.verdict == "short-reach-harmless"
    reach, need = within.record.layers[0].reach, within.record.layers[0].need
    assert reach is not None
    assert need is not None
    assert need.lag == 5
    assert need.lag <= reach.lag
    assert within.verdict == "step-size"
    assert unknown.undecided


if __name__ == "__main__":
    main()
