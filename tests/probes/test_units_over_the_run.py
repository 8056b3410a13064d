"""What samples of units, weights and inputs say together, and that looking at them changes nothing."""

import pytest
import torch
from torch import nn

import longreach
from longreach.probes import observe
from longreach.probes.chance import Chance
from longreach.probes.inputs import Inputs
from longreach.probes.units import Units
from longreach.probes.weights import Weights
from longreach.quantities import chance, inputs, units, weights
from longreach.quantities.chance import ChanceSample
from longreach.quantities.inputs import InputSample
from longreach.quantities.units import UnitsSample
from longreach.quantities.weights import WeightSample


def unit_samples(*masks, saturated=0):
    return [UnitsSample("fc", 10 * n, "ReLU", 4, 50, mask, saturated, True, mask == 15) for n, mask in enumerate(masks)]


def test_dead_is_what_was_dead_in_all_of_the_second_half():
    (found,) = units.pool({"fc": unit_samples(0b0000, 0b0111, 0b0111, 0b1011, 0b0011)})
    assert found.dead == 0.5
    assert found.since == 10
    assert (found.samples, found.inputs) == (3, 150)
    assert not found.cut


def test_saturated_is_what_was_so_in_most_samples():
    samples = [UnitsSample("fc", step, "tanh", 4, 50, 0, mask, True, False) for step, mask in ((8, 3), (9, 1), (10, 9))]
    (found,) = units.pool({"fc": samples})
    assert found.saturated == 0.25
    assert found.since == 8


def test_activations_of_one_module_are_kept_apart():
    other = UnitsSample("fc", 0, "tanh", 4, 50, 0, 15, True, False)
    assert [found.kind for found in units.pool({"fc": [*unit_samples(15), other]})] == ["ReLU", "tanh"]


def weight_samples(*sizes):
    return [WeightSample("w", 10 * n, (4, 4), size, 3.0, 0.1) for n, size in enumerate(sizes)]


def test_a_matrix_at_its_first_sample_and_at_its_best_late_one():
    (found,) = weights.pool({"w": weight_samples(1.0, 0.5, 0.02, 0.015, 0.01)})
    assert (found.size_start, found.size, found.since) == (1.0, 0.02, 20)
    assert weights.pool({"w": weight_samples(1.0)}) == ()


def test_inputs_and_chance_are_medians():
    samples = [InputSample("fc", step, 3, 1.0, mean, 2.0, 4.0, 1.0) for step, mean in enumerate((1.0, -30.0, 20.0))]
    (found,) = inputs.pool({"fc": samples})
    assert (found.offset, found.mean, found.spread) == (10, 20, 4)
    levels = {"": [ChanceSample("", step, level) for step, level in enumerate((0.7, 0.0, 0.5, 0.6))]}
    assert chance.pool(levels) == 0.6
    assert chance.pool({}) is None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(2, 8, 3), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.2))
        self.rnn = nn.LSTM(8, 12, num_layers=2, dropout=0.3, batch_first=True)
        self.cell, self.head = nn.GRUCell(12, 6), nn.Linear(6, 3)

    def forward(self, x):
        flow, _ = self.rnn(self.front(x).transpose(1, 2))
        h = x.new_zeros(len(x), 6)
        for step in flow.unbind(1):
            h = self.cell(step, h)
        return self.head(torch.tanh(h))


def train(*, watched):
    torch.manual_seed(3)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)

    def steps():
        for _ in range(6):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(torch.randn(16, 2, 9)), torch.randint(3, (16,)))
            loss.backward()
            optimizer.step()
            yield loss.item()

    if not watched:
        return list(steps()), None
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        return list(steps()), watch


def test_looking_changes_nothing(monkeypatch):
    monkeypatch.setattr(observe, "PROBES", (Units, Weights, Inputs, Chance))
    plain, _ = train(watched=False)
    losses, watch = train(watched=True)
    assert watch is not None
    assert losses == plain
    assert watch.store.notes() == []
    record = watch.record()
    kinds = {(found.module, found.kind) for found in record.units}
    assert kinds == {("front.1", "ReLU"), ("rnn", "LSTM, layer 0"), ("rnn", "LSTM, layer 1"), ("cell", "tanh")}
    assert {found.module for found in record.inputs} == {"front.0"}
    assert len(record.weights) == 8
    assert record.chance == pytest.approx(1.0986, abs=0.1)
    assert type(record).from_json(record.to_json()) == record
