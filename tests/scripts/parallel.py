"""A bit at the first of 40 steps, trained by several processes at once: what `torchrun` starts."""

import argparse
import os
import signal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--wrap", choices=["ddp", "fsdp", "none"], required=True)
parser.add_argument("--steps", type=int, default=80)
parser.add_argument("--die-at", type=int, default=-1, help="step at which the last rank kills itself")
args = parser.parse_args()

LENGTH, BATCH = 40, 64
rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
if world > 1:
    dist.init_process_group("gloo")
torch.manual_seed(0)


class Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, 32, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


model = Recall()
if args.wrap == "ddp":
    model = DistributedDataParallel(model)
if args.wrap == "fsdp":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (world,))
    for part in (model.rnn, model.head, model):
        fully_shard(part, mesh=mesh)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
share = BATCH // world
for step in range(args.steps):
    x = torch.randn(BATCH, LENGTH, 2)
    y = (x[:, 0, 0] > 0).long()
    mine = slice(rank * share, (rank + 1) * share)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x[mine]), y[mine])
    loss.backward()
    optimizer.step()
    if step == args.die_at and rank == world - 1:
        os.kill(os.getpid(), signal.SIGKILL)
if world > 1:
    dist.destroy_process_group()
print(f"rank {rank} final loss {loss.item():.6f}")
