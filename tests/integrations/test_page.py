"""Every block of docs/integrations.md runs, one after the other, as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from tests.integrations import accelerated
from tests.integrations.test_transformers import Classifier, rows, trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

pytestmark = [
    pytest.mark.usefixtures("wandb_ends"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
# a word of each block that tells it from the others, in the order of the page
BLOCKS = ["LongreachCallback", "(sequences", "np.load", "Recordings()", "watch(trainer)", "prepare", "board"]
BLOCKS += ["wandb.init", "mlflow.start_run"]


class Module(LightningModule, Classifier):
    def training_step(self, batch, batch_idx):
        return self(*batch)["loss"]

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


def train(accelerator, model, optimizer):
    for x, y in accelerated.batches("first", 4):
        accelerator.backward(F.cross_entropy(model(x), y))
        optimizer.step()
        optimizer.zero_grad()


def given():
    """What each block expects to be there."""
    accelerator, model, optimizer = accelerated.prepared()
    pieces = [[(torch.randn(2, steps, 2), torch.randn(2, steps, 1)) for steps in (30, 50)]] * 2
    loader = DataLoader(accelerated.batches("first", 4), batch_size=None)
    return {
        "LongreachCallback": {"module": Module(), "loader": loader},
        "(sequences": {"sequences": [(torch.randn(2, 100, 2), torch.randn(2, 100, 1))]},
        "Recordings()": {"recordings": pieces},
        "watch(trainer)": {"trainer": trainer(Classifier(), rows(steps=4))},
        "prepare": {"accelerator": accelerator, "model": model, "optimizer": optimizer, "train": train},
    }


def test_the_blocks_of_the_page_run(plain_folder, tmp_path, capsys):
    (tmp_path / "longreach-runs").mkdir()
    (tmp_path / "longreach-runs" / "mine").symlink_to(plain_folder("first"))
    np.save("inputs.npy", np.zeros((2, 100, 2), np.float32))
    np.save("targets.npy", np.zeros((2, 100, 1), np.float32))
    names, needed = {}, given()
    found = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for word, block in zip(BLOCKS, found, strict=True):
        assert word in block
        names |= needed.get(word, {})
        exec(compile(block, f"{PAGE.name}: {word}", "exec"), names)
        told = capsys.readouterr().out
        if "callback.run" in block:
            assert told.splitlines()[-1] == names["callback"].run.diagnosis.verdict
        if "watched" in block:
            assert "verdict" in told
    assert names["callback"].run.folder == tmp_path / "out" / "longreach"
    assert names["trainer"].state.global_step == 4
    assert list(tmp_path.glob("board/events*"))
    assert list(tmp_path.glob("wandb/offline-run*"))
    assert (tmp_path / "mlflow.db").is_file()
