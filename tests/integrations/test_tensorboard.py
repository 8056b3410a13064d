"""Event folders, read back with TensorBoard's own reader."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.integrations.recalling import RATE, batches, begin
from tests.integrations.test_scalars import track
from torch.nn import functional as F

import longreach
from longreach.errors import RunReadError
from longreach.integrations.heatmap import BOTTOM, CIVIDIS, LEFT, RIGHT, TOP, UNKNOWN, draw
from longreach.integrations.scalars import Run
from longreach.integrations.tensorboard import write


def values(board, name):
    return {event.step: event.value for event in board.Scalars(f"longreach/{name}")}


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_a_run_folder_is_told_as_its_diagnosis_tells_it(plain_folder, tmp_path):
    write(plain_folder("first"), tmp_path / "board")
    run, board = Run.of(plain_folder("first")), read(tmp_path / "board")
    assert run.diagnosis.verdict == "vanishing-in-time"
    assert values(board, "loss") == pytest.approx(dict(zip(*told(run.history.losses), strict=True)))
    reach = run.reach()["rnn"]
    assert values(board, "reach/rnn") == dict(zip(reach.steps, reach.reach, strict=True))
    assert set(values(board, "non_finite").values()) == {0}
    (text,) = board.Tensors("longreach/verdict/text_summary")
    assert b"verdict: vanishing-in-time" in text.tensor_proto.string_val[0]
    assert b"LR101" in text.tensor_proto.string_val[0]
    (picture,) = board.Images("longreach/reach_over_training/rnn")
    shown = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert (shown == draw(reach, "rnn", run.diagnosis.record.layers[0].need.lag)).all()


def told(track):
    return track.steps, track.values


def test_nan_and_infinities_of_a_watched_training_are_there(tmp_path, caplog):
    model = begin()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    with longreach.watch(model, optimizer, budget=1.0) as watch:
        for step, (x, y) in enumerate(batches("first", 12)):
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) * (math.nan if step == 9 else 1)).backward()
            optimizer.step()
    write(watch, tmp_path)
    board = read(tmp_path)
    assert [step for step, loss in values(board, "loss").items() if math.isnan(loss)] == [9, 10, 11]
    assert math.isnan(values(board, "update/head.weight")[9])
    count = values(board, "non_finite")
    assert count[8] == 0 if 8 in count else min(count.values()) == 0
    assert count[11] > count[9] > 0
    (text,) = board.Tensors("longreach/verdict/text_summary")
    assert b"LR401 non-finite" in text.tensor_proto.string_val[0]
    assert not caplog.records  # no line for each of them


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunReadError, match="expected a run folder"):
        write(tmp_path, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_the_picture_has_the_colours_of_the_gain():
    picture = draw(track("rnn", values=(0, 0)), "rnn")
    assert picture.shape == (440, 720, 3)
    early, late, far = LEFT + 9, RIGHT - 9, TOP + 15
    lowest, highest = CIVIDIS[0], CIVIDIS[-1]
    assert (picture[BOTTOM - 2 - 9, early] != lowest).any()
    assert tuple(picture[far, late]) == tuple(lowest)  # at lag 2 of the last sampled step nothing is left
    powers = np.linspace(-4, 0, len(CIVIDIS))
    expected = [np.interp(-2 / math.log(10), powers, channel) for channel in CIVIDIS.T]  # e^-2 at lag 2 of the first
    np.testing.assert_allclose(picture[far, early], expected, atol=6)
    assert abs(picture[BOTTOM - 7, early].astype(int) - highest).max() < 30


def test_what_was_not_measured_is_grey():
    broken = track("rnn")
    broken = type(broken)(broken.layer, broken.steps, broken.lags, ((0.0, math.nan, math.nan),) * 2, (0, 0))
    assert tuple(draw(broken, "rnn")[TOP + 20, LEFT + 50]) == UNKNOWN
    single = type(broken)(broken.layer, (3,), ((0,),), ((0.0,),), (0,))
    assert draw(single, "<script>" * 100, need=4).shape == (440, 720, 3)
