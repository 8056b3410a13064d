"""Units of the data as the first layer gets them: where they are read, and what is left out."""

import pytest
import torch
from torch import nn

import longreach
from longreach.probes.inputs import measure
from longreach.quantities.inputs import InputSample


def seen(model, *batches):
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        for given in batches:
            optimizer.zero_grad()
            out = model(given)
            (out[0] if isinstance(out, tuple) else out).square().mean().backward()
            optimizer.step()
    return watch.store.samples(InputSample)


def test_means_and_deviations():
    values = torch.randn(4000, 5).double() * torch.tensor([1.0, 2, 3, 400, 5]) + torch.tensor([0.0, 0, 90, 0, 0])
    values = torch.cat([values, torch.full((4000, 1), 7.0)], dim=1)  # the last one never changes
    found = measure(values, "fc", 2)
    assert found is not None
    assert found.features == 5
    assert found.mean == pytest.approx(90, rel=0.01)
    assert found.deviation == pytest.approx(3, rel=0.1)
    assert found.largest == pytest.approx(400, rel=0.1)
    assert found.smaller == pytest.approx(2, rel=0.1)
    assert found.scale == pytest.approx(float(values.square().mean().sqrt()))


def test_a_rare_event_is_no_small_feature():
    values = torch.randn(1000, 2)
    values[:, 1] = 0.0
    values[0, 1] = 1.0
    found = measure(values, "fc", 0)
    assert found is not None
    assert found.smaller == 1 / 8


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(7, 3),
        torch.ones(20, 3),
        torch.full((20, 3), float("nan")),
        0.1 * torch.ones(20, 3) + 1e-8 * torch.rand(20, 3),
    ],
)
def test_what_tells_nothing(values):
    assert measure(values, "fc", 0) is None


def test_features_lie_along_the_last_axis_or_are_the_channels_of_pictures():
    pictures = torch.randn(8, 3, 6, 6)
    pictures[:, 1] += 500
    ((found,),) = seen(nn.Conv2d(3, 4, 3), pictures).values()
    assert found.features == 3
    assert found.mean == pytest.approx(500, rel=0.01)
    ((found,),) = seen(nn.LSTM(5, 4), torch.randn(10, 8, 5)).values()
    assert found.features == 5


class Scaling(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x):
        return self.body((x - 1000) / 10)


def test_what_a_model_does_to_its_input_first_is_done_by_then():
    found = seen(Scaling(), 1000 + 10 * torch.randn(64, 3, 4))
    assert set(found) == {"body.1"}
    assert found["body.1"][0].scale == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)),
        nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 1)),
    ],
)
def test_a_normalisation_layer_makes_units_indifferent(model):
    assert seen(model, 1e4 + torch.randn(32, 3)) == {}


def test_token_ids_have_no_units():
    assert seen(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 1)), torch.randint(5, (32,))) == {}


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        h = x.new_zeros(x.shape[1], 4)
        for step in x:
            h = self.cell(step, h)
        return h


def test_a_cell_called_in_a_loop_reads_the_data_at_every_call():
    x = torch.zeros(40, 4, 3)
    x[20:] = torch.randn(20, 4, 3)
    (found,) = seen(Loop(), x)["cell"]
    assert found.features == 3  # only later calls show any
