"""The Trainer of transformers, training small networks that were built from a config: nothing is downloaded."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.integrations.recalling import CLIP, RATE, ROWS, TRUTH, Recall, batches, begin
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import longreach
from longreach.errors import ArgumentError
from longreach.integrations.transformers import watch


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        recall = begin()
        self.rnn, self.head = recall.rnn, recall.head

    def forward(self, x, labels):
        logits = Recall.forward(self, x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def rows(label="first", steps=8):
    return [{"x": a, "labels": b} for x, y in batches(label, steps) for a, b in zip(x, y, strict=True)]


def trainer(model, data, output="out", **options):
    defaults = {
        "per_device_train_batch_size": ROWS,
        "num_train_epochs": 1,
        "max_grad_norm": CLIP,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    arguments = TrainingArguments(output_dir=str(output), **{**defaults, **options})
    return Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, schedule))


@pytest.mark.parametrize("label", TRUTH)
def test_the_verdict_is_that_of_the_plain_script(label, same_as_plain, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    training = trainer(Classifier(), rows(label, steps=120), report_to="tensorboard")
    callback = watch(training, budget=0.2)
    training.train()
    diagnosis = callback.run.diagnosis
    same_as_plain(label, diagnosis)
    assert callback.run.folder == tmp_path / "out" / "longreach"
    assert json.loads((callback.run.folder / "diagnosis.json").read_text())["verdict"] == diagnosis.verdict
    assert f"verdict  {diagnosis.verdict.replace('-', ' ')}" in capsys.readouterr().err
    reach = diagnosis.record.layers[0].reach.lag
    assert training.state.log_history[-1]["longreach/reach/rnn"] == reach
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.value for event in board.Scalars("train/longreach/reach/rnn")] == [reach]


def test_a_language_model_from_a_config_is_judged_as_in_a_plain_loop():
    torch.manual_seed(0)
    sizes = {"vocab_size": 7, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2}
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(**sizes, **still)
    tokens = [{"input_ids": ids, "labels": ids} for ids in torch.randint(7, (12 * 4, 16))]
    plain, trained = GPT2LMHeadModel(config), GPT2LMHeadModel(config)
    trained.load_state_dict(plain.state_dict())
    training = trainer(trained, tokens, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    callback = watch(training, budget=1.0)
    training.train()

    optimizer = torch.optim.Adam(plain.parameters(), lr=RATE)
    with longreach.watch(plain, optimizer, budget=1.0) as watched:
        for step in range(6):
            optimizer.zero_grad()
            for half in range(2):
                start = 8 * step + 4 * half
                ids = torch.stack([row["input_ids"] for row in tokens[start : start + 4]])
                plain(input_ids=ids, labels=ids, num_items_in_batch=8 * 16).loss.backward()  # as the trainer counts
            torch.nn.utils.clip_grad_norm_(plain.parameters(), CLIP)
            optimizer.step()
    expected = watched.diagnose()
    assert callback.run.diagnosis.record.steps == 6
    assert len(callback.run.diagnosis.record.loss.values) == 6
    torch.testing.assert_close(
        callback.run.diagnosis.record.loss.values, expected.record.loss.values, rtol=1e-5, atol=0
    )
    assert callback.run.diagnosis.verdict == expected.verdict
    assert [f.name for f in callback.run.diagnosis.findings] == [f.name for f in expected.findings]


def test_a_training_that_is_resumed_is_a_run_of_its_own(tmp_path):
    training = trainer(Classifier(), rows(), save_strategy="steps", save_steps=5, max_steps=5)
    callback = watch(training, budget=1.0)
    training.train()
    assert (callback.run.folder.name, callback.run.diagnosis.record.steps) == ("longreach", 5)
    training = trainer(Classifier(), rows(), max_steps=8)
    with watch(training, tmp_path / "out" / "longreach", budget=1.0) as callback:
        training.train(resume_from_checkpoint=True)
    assert (callback.run.folder.name, callback.run.diagnosis.record.steps) == ("longreach-2", 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk")])
def test_what_was_measured_is_kept_when_training_is_cut_short(error):
    class Stopping(Classifier):
        calls = 0

        def forward(self, x, labels):
            self.calls += 1
            if self.calls == 6:
                raise error
            return super().forward(x, labels)

    backward = torch.autograd.backward
    training = trainer(Stopping(), rows())
    with pytest.raises(type(error)), watch(training, budget=1.0) as callback:
        training.train()
    assert torch.autograd.backward is backward
    written = json.loads((callback.run.folder / "diagnosis.json").read_text())
    assert written["steps"] == 5
    assert f"the training was ended by {type(error).__name__}: {error}" in written["notes"]


def test_evaluation_leaves_nothing(tmp_path):
    training = trainer(Classifier(), rows())
    callback = watch(training)
    training.evaluate(rows(steps=2))
    assert callback.run is None
    assert not list(tmp_path.rglob("longreach*"))


def test_a_budget_is_a_share():
    with pytest.raises(ArgumentError, match=r"budget: expected a share of the wall time in \(0, 1\], got 0"):
        watch(trainer(Classifier(), rows()), budget=0)
