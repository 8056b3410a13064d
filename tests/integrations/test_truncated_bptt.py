"""Truncated backpropagation in Lightning: gradients against a loop written out by hand, and memory that stays flat."""

import subprocess
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from longreach import ranks
from longreach.errors import ArgumentError
from longreach.integrations.lightning import LongreachCallback, TruncatedBPTT, Windows
from longreach.integrations.windows import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
ROWS, INPUTS, HIDDEN = 3, 2, 4


class Network(TruncatedBPTT):
    def __init__(self, hidden=HIDDEN, **scheduled):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.LSTM(INPUTS, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.scheduled = scheduled
        self.losses, self.calls = [], []

    def window(self, batch, state):
        x, y = batch
        states, state = self.rnn(x, state)
        return (self.head(states) - y).square().mean(), state

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())
        self.calls.append("batch end")

    def on_before_optimizer_step(self, optimizer):
        self.calls.append("before step")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.2)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(network, windows, validation=None, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(**{"max_epochs": 1, "accelerator": "cpu", "logger": False, **quiet, **options})
    trainer.fit(network, windows, validation)
    return trainer


def sequences(steps, count=1, dtype=torch.float64):
    torch.manual_seed(1)
    return [tuple(torch.randn(ROWS, steps, size, dtype=dtype) for size in (INPUTS, 1)) for _ in range(count)]


def by_hand(network, batches, k1, k2, *, clip=None, carry=False):
    """Losses and weights of Williams & Peng's BPTT(k2; k1), step by step, as the papers tell it."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
    losses, inputs, targets, states = [], [], [], [None]
    for x, y in batches:
        if not carry:
            inputs, targets, states = [], [], [None]
        new = 0
        for t in range(x.shape[1]):
            inputs.append(x[:, t : t + 1])
            targets.append(y[:, t : t + 1])
            new += 1
            if new < k1 and t + 1 < x.shape[1]:
                continue
            end = len(inputs)
            begin = max(end - new - (k2 - k1), 0)
            state, errors = states[begin], []
            for s in range(begin, end):
                output, state = network.rnn(inputs[s], state)
                if s >= end - new:
                    errors.append((network.head(output) - targets[s]).square().mean())
                states[s + 1 :] = [tuple(part.detach() for part in state)]
            loss = torch.stack(errors).mean()
            optimizer.zero_grad()
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
            for group in optimizer.param_groups:
                group["lr"] = 0.2 * 0.5 ** (len(losses) // 2)
            new = 0
    return losses, list(network.parameters())


@pytest.mark.parametrize("carry", [False, True], ids=["anew", "carried"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (5, 5), (2, 6), (2, 5), (3, 4), (4, 7), (1, 30), (30, 30)])
def test_it_is_the_loop_of_the_papers(k1, k2, carry):
    batches = sequences(13, count=2)
    expected = by_hand(Network().double(), batches, k1, k2, clip=0.05, carry=carry)
    network = Network()
    fit(network, Windows(batches, k1=k1, k2=k2, carry=carry), gradient_clip_val=0.05, precision="64-true")
    torch.testing.assert_close(network.losses, expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(list(network.parameters()), expected[1], rtol=1e-10, atol=1e-14)


def test_the_trainer_counts_windows_as_steps():
    network = Network()
    trainer = fit(network, Windows(sequences(13, count=2, dtype=torch.float32), k1=4, k2=8), max_epochs=2)
    assert trainer.global_step == len(network.losses) == 16
    assert network.calls == ["before step", "batch end"] * 16
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.2 * 0.5**8


def test_gradients_are_accumulated_over_windows():
    network = Network()
    windows = Windows(sequences(12, dtype=torch.float32), k1=3, k2=3)
    assert fit(network, windows, accumulate_grad_batches=2).global_step == 2
    assert network.calls == ["batch end", "before step", "batch end"] * 2


@pytest.mark.parametrize("sizes", [(13,), (1,) * 13, (5, 5, 3), (2, 9, 2), (12, 1)])
def test_chunks_of_any_length_are_the_same_as_one_tensor(sizes):
    ((x, y),) = sequences(13)
    chunks = zip(x.split(sizes, 1), y.split(sizes, 1), strict=True)
    (whole, *_), (pieces, *_) = (list(zip(*Windows([b], k1=3, k2=7), strict=True)) for b in ((x, y), iter(chunks)))
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def spans(windows):
    """(steps, how many of them were there before, whether nothing is remembered) of every window."""
    return [(w.steps.flatten().tolist(), w.old, w.begins) for w in windows]


def test_documents_end_where_the_chunks_say_so():
    steps = torch.arange(9)[None, :]
    chunks = iter([steps[:, :5], None, None, steps[:, 5:]])
    assert spans(Windows([chunks], k1=3, k2=5)) == [
        ([0, 1, 2], 0, True),
        ([1, 2, 3, 4], 2, False),
        ([5, 6, 7], 0, True),
        ([6, 7, 8], 2, False),
    ]


def test_what_is_carried_starts_anew_with_every_epoch():
    windows = Windows([torch.arange(4)[None, :], torch.arange(4, 8)[None, :]], k1=2, k2=3, carry=True)
    epoch = [([0, 1], 0, True), ([1, 2, 3], 1, False), ([3, 4, 5], 1, False), ([5, 6, 7], 1, False)]
    assert spans(windows) == spans(windows) == epoch


def test_a_file_is_read_a_window_at_a_time(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(ROWS, 40, INPUTS))
    stored[:] = np.random.default_rng(0).standard_normal(stored.shape)

    class Disk:
        """An array that tells what is read of it."""

        shape, read = stored.shape, []

        def __getitem__(self, index):
            self.read.append(stored[index].shape[1])
            return stored[index]

    found = []
    for window in Windows([{"x": Disk(), "name": "a"}], k1=5, k2=20):
        assert sum(Disk.read) == len(found) * 5 + 5  # nothing ahead of its turn
        assert window.steps["name"] == "a"
        found.append(window.part(window.old, window.length)["x"])
    torch.testing.assert_close(torch.cat(found, 1), torch.from_numpy(np.array(stored)), rtol=0, atol=0)


def test_memory_does_not_grow_with_the_sequence():
    chunk, chunks, used = 500, 40, []

    class Measured(Network):
        def window(self, batch, state):
            used.append(resident())
            return super().window(batch, state)

    stream = (tuple(torch.randn(8, chunk, size) for size in (INPUTS, 1)) for _ in range(chunks))
    fit(Measured(hidden=64), Windows([stream], k1=50, k2=50))
    assert len(used) == chunk * chunks // 50
    # all states of the whole sequence at once would be 40 MB, what the gradient needs of them several times as much
    assert max(used) - used[20] < 10e6


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("k1", [2, 3])
def test_states_of_any_shape_are_cut(k1):
    class Nested(Network):
        def window(self, batch, state):
            loss, inner = super().window(batch, state["lstm"][0] if state else None)
            assert not state or not any(part.requires_grad for part in state["lstm"][0]) or self.within
            self.within = True
            return loss, {"lstm": [inner], "count": (state["count"] if state else 0) + 1}

        def on_train_batch_start(self, batch, batch_idx):
            self.within = False

    network = Nested()
    fit(network, Windows(sequences(12, dtype=torch.float32), k1=k1, k2=k1))
    assert network._state["count"] == 12 // k1
    assert not any(part.requires_grad for part in network._state["lstm"][0])


def test_validation_in_between_does_not_touch_the_state():
    class Validated(Network):
        def validation_step(self, batch, batch_idx):
            self.rnn(batch[0])

    batches = sequences(12, dtype=torch.float32)
    plain, checked = Network(), Validated()
    fit(plain, Windows(batches, k1=3, k2=6))
    check = DataLoader(batches, batch_size=None)
    fit(checked, Windows(batches, k1=3, k2=6), check, val_check_interval=1, check_val_every_n_epoch=None)
    assert checked.losses == plain.losses


def test_a_batch_that_is_no_window():
    with pytest.raises(ArgumentError, match=r"expected a window of a sequence, got a Tensor; train on Windows\(loader"):
        fit(Network(), DataLoader(torch.zeros(1, 2, 2)))


@pytest.mark.parametrize(("k1", "k2"), [(0, 1), (3, 2), (-1, -1)])
def test_steps_that_contradict_each_other(k1, k2):
    with pytest.raises(ArgumentError, match=f"expected 1 <= k1 <= k2 steps, got k1={k1}, k2={k2}"):
        Windows([], k1=k1, k2=k2)


def test_tensors_of_unequal_length_and_none():
    with pytest.raises(ArgumentError, match="as many steps each along axis 1, got tensors of 4, 5 steps"):
        list(Windows([(torch.zeros(2, 5), torch.zeros(2, 4))], k1=1, k2=1))
    with pytest.raises(ArgumentError, match="along axis 1, got none"):
        list(Windows([torch.zeros(5)], k1=1, k2=1))


def test_each_process_needs_its_own_share(monkeypatch):
    data = TensorDataset(torch.zeros(4, 6, 1))
    loaders = DataLoader(data), DataLoader(data, sampler=torch.utils.data.DistributedSampler(data, 2, 0))
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(ArgumentError, match="each of 2 processes its own share, got a DataLoader with a Sequential"):
        list(Windows(loaders[0], k1=3, k2=3))
    windows = Windows(loaders[1], k1=3, k2=3)
    assert len(list(windows)) == 4
    assert windows.sampler is loaders[1].sampler  # whose epoch the trainer sets
    assert all(isinstance(window, Window) for window in windows)


def test_a_window_is_watched_and_logged_as_a_batch(tmp_path):
    class Logged(Network):
        def window(self, batch, state):
            loss, state = super().window(batch, state)
            self.log("loss", loss, on_step=False, on_epoch=True)
            return loss, state

    callback = LongreachCallback(tmp_path / "run", budget=1.0)
    trainer = fit(Logged(), Windows(sequences(60, dtype=torch.float32), k1=5, k2=5), callbacks=[callback])
    assert trainer.callback_metrics["loss"].item() == pytest.approx(np.mean(trainer.lightning_module.losses), rel=1e-5)
    record = callback.run.diagnosis.record
    assert record.steps == 12
    (window,) = record.windows
    assert (window.module, window.length) == ("rnn", 5)
    assert window.seen > 5  # needs are looked for beyond the cut


def test_a_module_of_the_package_that_is_in_use():
    code = (
        "import pytorch_lightning as pl; from longreach.integrations.lightning import LongreachCallback, TruncatedBPTT"
    )
    code += "; assert issubclass(TruncatedBPTT, pl.LightningModule) and issubclass(LongreachCallback, pl.Callback)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
