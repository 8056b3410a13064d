"""The training of recalling.py as a loop over `accelerate`.

python tests/integrations/accelerated.py first
"""

import sys

from accelerate import Accelerator
from tests.integrations.recalling import CLIP, RATE, batches, begin
from torch.nn import functional as F
from torch.optim import Adam


def prepared():
    """(accelerator, model, optimizer), as accelerate gives them back."""
    accelerator = Accelerator(cpu=True)
    model = begin()
    return accelerator, *accelerator.prepare(model, Adam(model.parameters(), lr=RATE))


def train(accelerator, model, optimizer, label):
    """One pass over the batches; the last loss."""
    for x, y in batches(label):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    print(f"final loss {train(*prepared(), sys.argv[1]):.3f}")
