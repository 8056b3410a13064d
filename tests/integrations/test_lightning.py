"""Lightning's own trainer, training a small network: watched, interrupted, resumed, and by windows."""

import json
import os
import subprocess
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tests.integrations.recalling import CLIP, RATE, STEPS, TRUTH, Recall, batches, begin
from torch.nn import functional as F
from torch.utils.data import DataLoader

from longreach.errors import ArgumentError, RunFolderError
from longreach.integrations.lightning import LongreachCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        recall = begin()
        self.rnn, self.head = recall.rnn, recall.head

    def forward(self, x):
        return Recall.forward(self, x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=RATE)


class Validated(Module):
    validation_step = Module.training_step


class ByHand(Module):
    """Two optimizers, stepped by hand, one after the other."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            self.clip_gradients(optimizer, CLIP, "norm")
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), lr=RATE) for part in (self.rnn, self.head)]


def trainer(*callbacks, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    defaults = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "logger": False, "gradient_clip_val": CLIP}
    return pl.Trainer(callbacks=list(callbacks), **{**quiet, **defaults, **options})


def loader(label="first", steps=STEPS):
    return DataLoader(batches(label, steps), batch_size=None)


@pytest.fixture
def said(monkeypatch):
    """What Lightning is asked to say; whether its loggers do hangs on what else has been imported."""
    heard: list[str] = []
    monkeypatch.setattr("longreach.integrations.lightning.rank_zero_info", heard.append)
    return heard


@pytest.mark.parametrize("label", TRUTH)
def test_the_verdict_is_that_of_the_plain_script(label, same_as_plain, tmp_path, said):
    callback, logger = LongreachCallback(budget=0.2), CSVLogger(tmp_path / "logs")
    trainer(callback, logger=logger).fit(Module(), loader(label))
    same_as_plain(label, callback.run.diagnosis)
    assert f"verdict  {callback.run.diagnosis.verdict.replace('-', ' ')}" in said[0]
    assert callback.run.folder == tmp_path / "logs" / "lightning_logs" / "version_0" / "longreach"
    written = json.loads((callback.run.folder / "diagnosis.json").read_text())
    assert written["verdict"] == callback.run.diagnosis.verdict
    words = callback.run.diagnosis.verdict.replace("-", " ")
    assert words in (callback.run.folder / "report.html").read_text()
    assert set(written["run"]["versions"]) == {"python", "torch", "lightning"}
    assert callback.run.history.before.steps[0] == 0
    assert callback.run.history.updates  # seen although the step makes its gradients itself
    last = np.genfromtxt(
        tmp_path / "logs/lightning_logs/version_0/metrics.csv", delimiter=",", names=True, deletechars=""
    )
    assert last["longreach/reach/rnn"] == callback.run.diagnosis.record.layers[0].reach.lag
    assert last["longreach/need/rnn"] == callback.run.diagnosis.record.layers[0].need.lag
    assert last["step"] == STEPS


@pytest.mark.parametrize(
    ("module", "options", "steps"),
    [
        (Module, {"accumulate_grad_batches": 2}, 6),
        (ByHand, {"gradient_clip_val": None}, 24),  # a step of each optimizer
        (Module, {"precision": "bf16-mixed"}, 12),
        (Module, {"precision": "64-true"}, 12),
    ],
    ids=["accumulated", "by hand", "16 bits", "64 bits"],
)
def test_every_way_to_step_is_seen(module, options, steps):
    callback = LongreachCallback("run", budget=1.0)
    trainer(callback, **options).fit(module(), loader(steps=12))
    record, course = callback.run.diagnosis.record, callback.run.history
    assert record.steps == steps
    assert len(course.losses.steps) >= 12 // options.get("accumulate_grad_batches", 1)
    assert {track.name for track in course.updates} == {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"}
    assert "longreach/reach/rnn" in {track.name for track in callback.run.courses()}
    assert record.clipping.limit == CLIP
    assert not [note for note in record.notes if "stopped" in note]


class Stopping(Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_start(self, batch, batch_idx):
        if batch_idx == 7:
            raise self.error


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt(), SystemExit), (OSError("disk"), OSError)])
def test_what_was_measured_is_kept_when_training_is_cut_short(error, raised, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # Lightning gives up listening to Ctrl-C
    callback = LongreachCallback("run", budget=1.0)
    backward = torch.autograd.backward
    with pytest.raises(raised):
        trainer(callback).fit(Stopping(error), loader(steps=12))
    assert torch.autograd.backward is backward
    written = json.loads((callback.run.folder / "diagnosis.json").read_text())
    assert written["steps"] == 7
    assert f"the training was ended by {type(error).__name__}: {error}" in written["notes"]
    assert not (callback.run.folder / "run.lock").exists()


def test_a_training_that_is_resumed_is_a_run_of_its_own(tmp_path):
    (tmp_path / "run").mkdir()  # an empty one is taken as it is
    callback = LongreachCallback(tmp_path / "run", budget=1.0)
    first = trainer(callback)
    first.fit(Module(), loader(steps=5))
    first.save_checkpoint("here.ckpt")
    assert (callback.run.folder, callback.run.diagnosis.record.steps) == (tmp_path / "run", 5)
    trainer(callback, max_epochs=3).fit(Module(), loader(steps=5), ckpt_path="here.ckpt")
    assert (callback.run.folder, callback.run.diagnosis.record.steps) == (tmp_path / "run-2", 10)


def test_validation_leaves_nothing(tmp_path):
    callback = LongreachCallback()
    trainer(callback).validate(Validated(), loader(steps=2), verbose=False)
    assert callback.run is None
    assert not list(tmp_path.rglob("longreach*"))


def test_the_sanity_check_and_validation_are_no_steps(tmp_path):
    callback = LongreachCallback("run", budget=1.0)
    trainer(callback, num_sanity_val_steps=1, max_epochs=2).fit(Validated(), loader(steps=4), loader(steps=2))
    assert callback.run.diagnosis.record.steps == 8


def test_trouble_with_the_folder_comes_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    module = Module()
    start = module.head.weight.clone()
    with pytest.raises(RunFolderError, match="expected a folder that can be written"):
        trainer(LongreachCallback("file/run")).fit(module, loader(steps=2))
    assert torch.equal(module.head.weight, start)


def test_a_budget_is_a_share():
    with pytest.raises(ArgumentError, match=r"budget: expected a share of the wall time in \(0, 1\], got 2"):
        LongreachCallback(budget=2)


def test_of_two_processes_the_first_writes(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0:4", "1:None"]  # each has its share of eight batches
    assert [path.name for path in tmp_path.rglob("record.sqlite")] == ["record.sqlite"]
    assert done.stderr.count("run folder:") == 1


TWO = """
from tests.integrations.test_lightning import LongreachCallback, Module, loader, trainer

callback = LongreachCallback("run", budget=1.0)
fitting = trainer(callback, strategy="ddp", devices=2)
fitting.fit(Module(), loader(steps=8))
print(f"{fitting.global_rank}:{callback.run and callback.run.diagnosis.record.steps}", flush=True)
"""
