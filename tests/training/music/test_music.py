"""Piano rolls: the literature's loss, against loops over pieces, steps and keys, and against closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch.testing import assert_close

from longreach.batch import Batch
from longreach.errors import DataError
from longreach.training.music.pieces import read
from longreach.training.music.problem import SCORE, Music
from longreach.training.network import Architecture, Network
from longreach.training.problem import Sizes

REAL = Path("../shared/data/poly_music")
SIZES = Sizes(batch=3, window=1, hop=1)


def pieces(*lengths: int, keys: int = 5, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 2, (steps, keys), dtype=np.uint8) for steps in lengths]


def music(**options: bool) -> Music:
    return Music(
        {"training": pieces(4, 9, 2, 7), "validation": pieces(3, 30, seed=1), "test": pieces(5, seed=2)}, **options
    )


def step_by_step(network: Network, rolls: list[np.ndarray], *, first_step: bool) -> list[float]:
    """The flat list: -log-likelihood of every predicted step of every piece, each piece by itself."""
    found = []
    for roll in rolls:
        heard = torch.from_numpy(roll).double()
        if first_step:
            heard = torch.cat([torch.zeros(1, heard.shape[1]).double(), heard])
        x, y = heard[:-1], heard[1:]
        answers, _ = network(x[None], torch.ones(1, len(x), dtype=torch.bool))
        for answer, sounding in zip(answers, y, strict=True):
            p = torch.sigmoid(answer)
            chance = [a if on else 1 - a for a, on in zip(p.tolist(), sounding.tolist(), strict=True)]
            found.append(-sum(math.log(one) for one in chance))
    return found


@pytest.mark.parametrize("first_step", [False, True])
@torch.no_grad()
def test_the_score_is_the_mean_over_the_flat_list_of_all_steps(first_step):
    problem = music(first_step=first_step)
    network = Network(Architecture(problem.shape, "gru", 6)).double().eval()
    answers = [(network(one.x.double(), one.asked)[0], one.y) for one in problem.held_out("validation", SIZES)]
    scores = torch.cat([problem.scores(answer, y.double())[SCORE] for answer, y in answers])
    truth = step_by_step(network, list(problem.pieces["validation"]), first_step=first_step)
    assert len(truth) == (33 if first_step else 31)
    assert_close(sorted(scores.tolist()), sorted(truth), rtol=1e-10, atol=0)


def test_the_loss_is_the_scores_mean_and_its_gradient_the_error_of_the_chances():
    problem = music()
    answer = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 2, (6, 5)).double()
    loss = problem.loss(answer, y)
    (gradient,) = torch.autograd.grad(loss, answer)
    assert_close(loss, problem.scores(answer, y)[SCORE].mean())
    assert_close(gradient, (torch.sigmoid(answer) - y).detach() / 6)


@pytest.mark.parametrize("first_step", [False, True])
def test_a_batch_asks_for_the_step_after_the_one_that_it_shows(first_step):
    problem = music(first_step=first_step)
    batch = problem.training(SIZES)(0)
    asked = batch.asked.sum(1).tolist()
    shown = [x[: len(y)] for x, y in zip(batch.x, batch.y.split(asked), strict=True)]
    rolls = {roll.tobytes() for roll in problem.pieces["training"]}
    for x, y in zip(shown, batch.y.split(asked), strict=True):
        whole = y if first_step else torch.cat([x[:1], y])
        assert whole.numpy().astype(np.uint8).tobytes() in rolls
        assert_close(x[1:], y[:-1])
    if first_step:
        assert not batch.x[:, 0].any()
    assert not batch.x[~batch.asked].any()


def test_an_epoch_asks_for_every_answer_once():
    problem = music()
    draw = problem.training(SIZES)
    assert sum(int(draw(number).asked.sum()) for number in (0, 1)) == problem.answers == 3 + 8 + 1 + 6
    assert problem.longest == max(draw(number).x.shape[1] for number in (0, 1)) == 8


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_other_pieces_have_another_recipe(part):
    own, other = music(), music()
    other.pieces[part][0][0, 0] ^= 1
    assert own.recipe() == music().recipe() != other.recipe()


def test_naive_is_the_constant_answer_of_each_keys_frequency():
    problem = music()
    begun = np.concatenate([roll[1:] for roll in problem.pieces["training"]])
    share = torch.from_numpy((begun.sum(0) + 0.5) / (len(begun) + 1))
    (batch,) = problem.held_out("test", SIZES)
    constant = torch.logit(share).expand(len(batch.y), 5)
    assert_close(problem.naive("test")[SCORE], problem.loss(constant, batch.y.double()).item())


def test_a_key_that_never_sounded_in_training_has_a_finite_naive_score():
    silent = [np.zeros((5, 2), np.uint8)]
    problem = Music({"training": silent, "validation": silent, "test": [np.ones((5, 2), np.uint8)]})
    assert_close(problem.naive("test")[SCORE], 2 * math.log(10))  # (0 + 1/2) / (4 + 1)


def test_a_melody_that_repeats_is_learned_until_nothing_is_left():
    """Notes 0 1 2 0 1 2 …: where a piece starts is told by its first step, so the next key is certain."""
    melody = [np.eye(3, dtype=np.uint8)[np.arange(start, start + 8 + start) % 3] for start in range(3)]
    problem = Music(dict.fromkeys(("training", "validation", "test"), melody))
    network = Network(Architecture(problem.shape, "gru", 8))
    optimizer, draw = torch.optim.Adam(network.parameters(), lr=0.05), problem.training(SIZES)
    for number in range(150):
        x, y, asked, _ = draw(number)
        optimizer.zero_grad()
        problem.loss(network(x, asked)[0], y).backward()
        optimizer.step()
    (batch,) = problem.held_out("test", SIZES)
    assert problem.loss(network(batch.x, batch.asked)[0], batch.y) < 0.02 < problem.naive("test")[SCORE]


def save(path: Path, kind: str, parts: dict[str, list[np.ndarray]]) -> Path:
    if kind == "mat":
        rows = {}
        for name, rolls in parts.items():
            rows[name + "data"] = np.empty((1, len(rolls)), object)
            rows[name + "data"][0, :] = rolls
        savemat(path / "music.mat", rows)
    elif kind == "json":
        notes = {
            name: [[(np.flatnonzero(step) + 21).tolist() for step in roll] for roll in rolls]
            for name, rolls in parts.items()
        }
        (path / "music.json").write_text(json.dumps(notes))
    else:
        for name, rolls in parts.items():
            (path / "music" / name).mkdir(parents=True)
            for place, roll in enumerate(rolls):
                np.save(path / "music" / name / f"{place}.npy", roll)
    return path / ("music" if kind == "folder" else f"music.{kind}")


@pytest.mark.parametrize("kind", ["mat", "json", "folder"])
def test_pieces_come_back_from_every_kind_of_file(kind, tmp_path):
    parts = {
        "train": pieces(4, 6, keys=88),
        "valid": pieces(3, 8, keys=88, seed=1),
        "test": pieces(5, 5, keys=88, seed=2),
    }
    found = read(save(tmp_path, kind, parts))
    for part, name in (("training", "train"), ("validation", "valid"), ("test", "test")):
        assert len(found[part]) == len(parts[name])
        assert all(np.array_equal(one, other) for one, other in zip(found[part], parts[name], strict=True))


def test_a_rest_is_a_step_without_keys(tmp_path):
    parts = {name: [[[-1], [21, 108], []]] for name in ("train", "valid", "test")}
    (tmp_path / "music.json").write_text(json.dumps(parts))
    assert [list(np.flatnonzero(step)) for step in read(tmp_path / "music.json")["training"][0]] == [[], [0, 87], []]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected lists of MIDI numbers"),
        ("[1]", "expected lists of MIDI numbers"),
        ('{"train": [[[20]]]}', "note 20 lies beyond a piano's 21 to 108"),
        ('{"train": [[["C4"]]]}', "expected lists of MIDI numbers"),
        ('{"train": [[[60],[60]]], "test": [[[60]]]}', "expected pieces under 'validdata', got 1 pieces under 'train'"),
        ('{"train": []}', "expected pieces under 'traindata', got 0 pieces"),
        ('{"train": [[]], "valid": [[[60]]], "test": [[[60]]]}', "piece 0 of training: expected a piano roll"),
    ],
)
def test_a_file_of_notes_that_is_none_is_told(content, message, tmp_path):
    (tmp_path / "music.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "music.json")


def test_files_that_are_no_music_are_told(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "none.mat")
    for name, message in (
        ("a.mat", "expected a MATLAB file"),
        ("a.mid", "expected piano rolls as .mat, .json or a folder"),
    ):
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(DataError, match=message):
            read(tmp_path / name)
    (tmp_path / "empty.mat").touch()
    with pytest.raises(DataError, match="expected a MATLAB file"):
        read(tmp_path / "empty.mat")


def test_rolls_that_are_none_are_told(tmp_path):
    good = {"valid": pieces(4), "test": pieces(4)}
    for roll, message in (
        (np.full((3, 5), 64, np.uint8), "piece 0 of training: expected 1 where a key sounds and 0 elsewhere"),
        (np.ones((3, 4), np.uint8), "expected as many keys in every piece, got 4, 5"),
        (np.ones(3, np.uint8), "expected a piano roll"),
        (np.full((3, 5), "C"), "expected numbers"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with pytest.raises(DataError, match=message):
            read(save(folder, "folder", {"train": [roll], **good}))
    save(tmp_path, "folder", {"train": pieces(4), **good})
    np.save(tmp_path / "music" / "train" / "0.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match="expected an array of numpy"):
        read(tmp_path / "music")


def test_a_piece_without_a_step_to_predict_is_told():
    parts = {"training": pieces(4), "validation": pieces(5, 1), "test": pieces(4)}
    with pytest.raises(DataError, match="piece 1 of validation: expected 2 steps or more, got 1"):
        Music(parts)
    assert Music(parts, first_step=True).answers == 4


@pytest.mark.skipif(not REAL.exists(), reason="the music sets lie outside the project")
def test_the_literatures_sets_have_the_literatures_sizes():
    found = read(REAL / "JSB_Chorales.mat")
    assert [len(rolls) for rolls in found.values()] == [229, 76, 77]
    problem = Music(found)
    assert problem.shape.inputs == problem.shape.outputs == 88
    (batch,) = problem.held_out("test", Sizes(batch=77, window=1, hop=1))
    assert isinstance(batch, Batch)
    assert len(batch.y) == sum(len(roll) - 1 for roll in found["test"])
