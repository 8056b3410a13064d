"""Labelled sequences: read from every form, split by label, scaled by what is learned from, and told apart."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from longreach.errors import ArgumentError, DataError
from longreach.training.labelled.confusion import Confusion
from longreach.training.labelled.encoding import Encoding, encoding_of
from longreach.training.labelled.problem import Sequences
from longreach.training.labelled.sequence import Labelled
from longreach.training.labelled.splitting import split
from longreach.training.network import Architecture, Network
from longreach.training.problem import Sizes

SIZES = Sizes(batch=8, window=1, hop=1)


def waves(count: int = 40, *, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Slow and fast ones, of 20 to 60 steps, beside a feature of other size that says nothing."""
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        label, pace = (("slow", 0.3), ("fast", 0.7))[number % 2]
        steps = np.arange(random.integers(20, 60))
        wave = np.sin(pace * steps + random.uniform(0, 2 * np.pi))
        found.append((label, np.stack([wave, 100 + 5 * random.standard_normal(len(steps))], axis=1).astype(np.float32)))
    return found


def in_memory(sequences: list[tuple[str, np.ndarray]]) -> Labelled:
    data = Labelled(features=("wave", "noise"))
    for place, (label, sequence) in enumerate(sequences):
        data.add(sequence, label, f"sequence {place}", None)
    return data


def as_folder(root: Path, sequences: list[tuple[str, np.ndarray]], kind: str) -> Path:
    for place, (label, sequence) in enumerate(sequences):
        (root / label).mkdir(parents=True, exist_ok=True)
        file = root / label / f"{place:03}.{kind}"
        if kind == "npy":
            np.save(file, sequence)
        else:
            polars.DataFrame(sequence, schema=["wave", "noise"]).write_csv(file)
    return root


def as_table(file: Path, sequences: list[tuple[str, np.ndarray]], **more: list[str]) -> Path:
    rows = [
        {"id": place, "label": label, "t": step, "wave": float(wave), "noise": float(noise)}
        | {name: values[place] for name, values in more.items()}
        for place, (label, sequence) in enumerate(sequences)
        for step, (wave, noise) in enumerate(sequence)
    ]
    table = polars.DataFrame(rows)
    (table.write_parquet if file.suffix == ".parquet" else table.write_csv)(file)
    return file


def contents(data: Labelled) -> list[tuple[str, bytes]]:
    return sorted((label, one.tobytes()) for label, one in zip(data.labels, data.sequences, strict=True))


@pytest.mark.parametrize("form", ["csv", "npy", "long.csv", "long.parquet"])
def test_every_form_gives_the_same_sequences(form, tmp_path):
    given = waves(12)
    if form.startswith("long"):
        problem = Sequences.read(as_table(tmp_path / form, given), sequence="id", time="t")
    else:
        problem = Sequences.read(as_folder(tmp_path / "waves", given, form))
    assert contents(problem.data) == contents(in_memory(given))
    assert problem.data.features == (("column 1", "column 2") if form == "npy" else ("wave", "noise"))


def test_rows_of_a_long_table_may_lie_in_any_order_if_a_column_says_the_time(tmp_path):
    file = as_table(tmp_path / "waves.csv", waves(12))
    shuffled = polars.read_csv(file).sample(fraction=1.0, shuffle=True, seed=1)
    shuffled.write_csv(tmp_path / "shuffled.csv")
    found = Sequences.read(tmp_path / "shuffled.csv", sequence="id", time="t")
    assert contents(found.data) == contents(in_memory(waves(12)))


def test_texts_are_read_from_rows_and_from_files(tmp_path):
    texts = [("yes", f"ja {place}") for place in range(5)] + [("no", "nein, " * place + "nein") for place in range(5)]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("label", "said"), *texts])
    for place, (label, text) in enumerate(texts):
        (tmp_path / "texts" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / label / f"{place}.txt").write_text(text)
    rows, files = Sequences.read(tmp_path / "texts.csv", text="said"), Sequences.read(tmp_path / "texts")
    for problem in (rows, files):
        assert sorted(zip(problem.data.labels, problem.data.sequences, strict=True)) == sorted(texts)
        assert problem.shape.symbols
        assert problem.shape.outputs == 2


def test_a_csv_without_names_has_no_row_less(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for place in range(3):
            (tmp_path / label / f"{place}.csv").write_text(f"1,2\n3,{place}\n5,6\n")
    problem = Sequences.read(tmp_path)
    assert {len(one) for one in problem.data.sequences} == {3}
    assert problem.data.features == ("column 1", "column 2")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=80), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_a_split_sets_apart_a_share_of_each_label(letters, validation, test):
    data = Labelled(sequences=["x"] * len(letters), labels=letters, names=letters)
    counts = Counter(letters)
    if max(counts.values()) < 3:
        with pytest.raises(DataError, match="labels none has 3 sequences, which would do"):
            split(data, validation=validation, test=test, seed=0)
        return
    parts = split(data, validation=validation, test=test, seed=0)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(letters)))
    for label, count in counts.items():
        own = {part: sum(letters[place] == label for place in places) for part, places in parts.items()}
        assert own["training"] >= 1
        assert (own["validation"] >= 1) == (count >= 3)
        assert (own["test"] >= 1) == (count >= 2)
        assert abs(own["test"] - test * count) <= 1
        assert abs(own["validation"] - validation * count) <= 1.5


def test_a_split_depends_on_its_seed_alone():
    data = in_memory(waves(40))
    first, again, other = (split(data, validation=0.2, test=0.2, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[part], again[part]) for part in first)
    assert not np.array_equal(first["test"], other["test"])


def test_a_column_or_folders_may_say_what_is_tested(tmp_path):
    names = ["train", "train", "train", "train", "Test", "test", "val", "val"]
    problem = Sequences.read(as_table(tmp_path / "waves.csv", waves(8), part=names), sequence="id", split_column="part")
    assert {part: len(places) for part, places in problem.parts.items()} == {"training": 4, "validation": 2, "test": 2}
    assert "part" not in problem.data.features
    as_folder(tmp_path / "both" / "train", waves(12), "csv")
    as_folder(tmp_path / "both" / "TEST", waves(4, seed=1), "csv")
    problem = Sequences.read(tmp_path / "both")
    assert {part: len(places) for part, places in problem.parts.items()} == {"training": 10, "validation": 2, "test": 4}


def test_an_empty_part_is_no_part(tmp_path):
    parts = ["train", "", "train", "train", "test", "test", "val", "val"]
    columns = {"said": [*"abababab"], "label": [*"xyxyxyxy"], "part": parts}
    polars.DataFrame(columns).write_parquet(tmp_path / "texts.parquet")
    with pytest.raises(DataError, match=r"row 2: column 'part': expected one of train, .*, got ''"):
        Sequences.read(tmp_path / "texts.parquet", text="said", split_column="part")


def test_scaling_is_fitted_on_the_training_part_alone():
    data = in_memory(waves(10))
    training = np.arange(6)
    encoding = encoding_of(data, training)
    shown = np.concatenate([data.sequences[place] for place in training]).astype(np.float64)
    assert_close(np.array(encoding.mean), shown.mean(0))
    assert_close(np.array(encoding.deviation), shown.std(0))
    scaled = torch.cat([encoding.encode(data.sequences[place]) for place in training])
    assert_close(scaled.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    for place in range(6, 10):
        data.sequences[place] *= 1000
    assert encoding_of(data, training) == encoding


def test_a_missing_number_is_the_mean_and_what_never_changes_is_0():
    data = Labelled(features=("a", "b"))
    for label in "xy":
        data.add(np.array([[1, 7], [np.nan, 7], [3, 7]], np.float32), label, label, None)
    encoding = encoding_of(data, np.arange(2))
    assert encoding.encode(data.sequences[0]).tolist() == [[-1, 0], [0, 0], [1, 0]]
    assert encoding.remarks() == ["16.7% of the numbers are missing; the mean stands for them"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_symbols_are_numbered_and_strange_ones_share_a_number(learned, other):
    encoding = encoding_of(Labelled([learned], ["a"], ["a"]), np.arange(1))
    assert encoding.alphabet is not None
    symbols = encoding.alphabet.symbols
    assert "".join(symbols[number] for number in encoding.encode(learned).squeeze(1)) == learned
    twin = [symbols.index(one) if one in symbols else len(symbols) for one in other]
    assert encoding.encode(other).squeeze(1).tolist() == twin
    assert Encoding.from_recipe(json.loads(json.dumps(encoding.recipe()))) == encoding


def test_a_batch_asks_once_at_each_sequences_last_step(tmp_path):
    problem = Sequences.read(as_folder(tmp_path, waves(), "csv"))
    batch = problem.training(SIZES)(0)
    for x, asked, y in zip(batch.x, batch.asked, batch.y, strict=True):
        (last,) = asked.nonzero().squeeze(1).tolist()
        assert not x[last + 1 :].any()
        found = [
            label
            for label, one in zip(problem.data.labels, problem.data.sequences, strict=True)
            if len(one) == last + 1 and torch.equal(problem.encoding.encode(one), x[: last + 1])
        ]
        assert found == [problem.labels[y]]


def test_padding_changes_no_answer(tmp_path):
    problem = Sequences.read(as_folder(tmp_path, waves(), "csv"))
    network = Network(Architecture(problem.shape, "lstm", 7)).double().eval()
    together = torch.cat(
        [network(one.x.double(), one.asked)[0] for one in problem.held_out("test", Sizes(64, window=1, hop=1))]
    )
    alone = torch.cat(
        [network(one.x.double(), one.asked)[0] for one in problem.held_out("test", Sizes(1, window=1, hop=1))]
    )
    assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_loss_scores_and_naive_against_loops(tmp_path):
    problem = Sequences.read(as_folder(tmp_path, waves(31), "csv"))
    answer = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 0, 1])
    chance = torch.exp(answer) / torch.exp(answer).sum(1, keepdim=True)
    loss = problem.loss(answer, y)
    assert_close(loss, -torch.stack([chance[row, label].log() for row, label in enumerate(y)]).mean())
    (gradient,) = torch.autograd.grad(loss, answer)
    assert_close(gradient, ((chance - F.one_hot(y, 2)) / 5).detach())
    right = [
        max(range(2), key=row.__getitem__) == label for row, label in zip(answer.tolist(), y.tolist(), strict=True)
    ]
    assert problem.scores(answer, y)["accuracy"].tolist() == right
    learned = Counter(problem.data.labels[place] for place in problem.parts["training"])
    tested = [problem.data.labels[place] for place in problem.parts["test"]]
    most = learned.most_common()[0][0]
    assert problem.naive("test")["accuracy"] == tested.count(most) / len(tested)
    nll = [-np.log(learned[label] / learned.total()) for label in tested]
    assert_close(problem.naive("test")["loss"], float(np.mean(nll)))


def test_slow_and_fast_waves_are_told_apart_and_the_confusion_says_so(tmp_path):
    problem = Sequences.read(as_folder(tmp_path / "waves", waves(120), "csv"))
    network = Network(Architecture(problem.shape, "gru", 16, lag=8))
    optimizer, draw = torch.optim.Adam(network.parameters(), lr=0.02), problem.training(SIZES)
    for number in range(120):
        x, y, asked, _ = draw(number)
        optimizer.zero_grad()
        problem.loss(network(x, asked)[0], y).backward()
        optimizer.step()
    with torch.no_grad():
        told = problem.leave(tmp_path, lambda batch: network(batch.x, batch.asked)[0])
    with (tmp_path / "confusion.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["is", "taken for fast", "taken for slow"]
    assert [row[0] for row in rows] == ["fast", "slow"]
    counts = np.array([row[1:] for row in rows], dtype=int)
    assert counts.sum() == len(problem.parts["test"])
    assert counts.trace() == counts.sum()
    assert told[0] == "balanced accuracy 1, the mean over labels; 0.5 by chance"


def test_balanced_accuracy_is_the_mean_over_labels():
    confusion = Confusion(("a", "b", "c"), np.array([[90, 10, 0], [5, 5, 0], [0, 0, 0]]))
    assert confusion.balanced == (0.9 + 0.5) / 2
    assert confusion.told() == [
        "balanced accuracy 0.7, the mean over labels; 0.3333 by chance",
        "",
        "    taken for",
        "is   a   b  c",
        "a   90  10  0",
        "b    5   5  0",
        "c    0   0  0",
        "",
    ]


def test_of_many_labels_the_most_frequent_mistakes_are_told():
    labels = tuple(f"label number {place}" for place in range(8))
    counts = 9 * np.eye(8, dtype=int)
    counts[2, 5], counts[0, 1] = 4, 1
    assert Confusion(labels, counts).told()[2:] == [
        "4 of 13 'label number 2' were taken for 'label number 5'",
        "1 of 10 'label number 0' were taken for 'label number 1'",
        "",
    ]


def test_other_data_have_another_recipe(tmp_path):
    problem = Sequences.read(as_table(tmp_path / "a.csv", waves(12)), sequence="id", time="t")
    same = Sequences.read(tmp_path / "a.csv", sequence="id", time="t")
    other = Sequences.read(as_table(tmp_path / "b.csv", waves(12, seed=1)), sequence="id", time="t")
    assert json.dumps(problem.recipe()) == json.dumps(same.recipe()) != json.dumps(other.recipe())


def test_other_labels_have_another_recipe():
    labels, rows = zip(*waves(12), strict=True)
    parts = {"training": np.arange(6), "validation": np.arange(6, 9), "test": np.arange(9, 12)}
    one = Sequences(in_memory([*zip(labels, rows, strict=True)]), parts).recipe()
    for other in ((labels[1], labels[0], *labels[2:]), (*labels[:10], labels[11], labels[10])):
        assert Sequences(in_memory([*zip(other, rows, strict=True)]), parts).recipe() != one


def test_unequal_labels_are_told(tmp_path):
    many = [("often", sequence) for _, sequence in waves(30)] + [("seldom", sequence) for _, sequence in waves(5)]
    many.append(("once", waves(1)[0][1]))
    told = Sequences.read(as_folder(tmp_path, many, "csv")).remarks()
    assert told[0].endswith("3 labels: 25 to learn from, 6 to validate, 5 to test")
    assert told[1:] == [
        "labels are unequal: 30 sequences are 'often', 1 'once'; look at balanced accuracy",
        "labels with too few sequences to be tested: 'once'",
    ]


HEAD = "id,label,t,wave\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "expected a table, got an empty file"),
        (HEAD, "expected a line of names and lines of entries, got one line: id, label, t, wave"),
        (HEAD + "1,a,0,0.5\n1,a,0,0.7\n", "expected each time once in a sequence, got 0 twice in sequence 1"),
        (HEAD + "1,a,0,0.5\n1,b,1,0.7\n", "sequence 1: expected one 'label' in all its rows, got a and b"),
        (HEAD + "1,a,1,0.5\n1,a,0,x\n2,b,0,1\n", "column 'wave', row 2: expected a number, got 'x'"),
        (HEAD + "1,a,0,0.5\n2,,0,1\n", "column 'label': expected an entry in every row, got none in row 2"),
        (HEAD + "1,a,0,1e999\n2,a,0,1\n", "column 'wave', row 1: expected a finite number, got inf"),
        ("id,label,t\n1,a,0\n", "expected columns of features besides id, label, t, got none"),
        ("id,klass,t,wave\n1,a,0,1\n", "--label: expected columns of id, klass, t, wave; got 'label'"),
        (HEAD + "".join(f"{place},a,0,{place}\n" for place in range(6)), "expected two labels or more"),
        (HEAD + "".join(f"{place},{'ab'[place % 2]},0,7\n" for place in range(8)), "expected features that change"),
        (HEAD + "1,a,0,1\n2,b,0,2\n", "expected sequences for validation, got none; of 2 labels none has 3"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_told(rows, message, tmp_path):
    (tmp_path / "waves.csv").write_text(rows)
    with pytest.raises(DataError, match=message):
        Sequences.read(tmp_path / "waves.csv", sequence="id", time="t")


def test_labels_that_training_does_not_show_are_named(tmp_path):
    strange = [*waves(6), ("odd", waves(1)[0][1]), ("even", waves(1)[0][1])]
    parts = ["train"] * 4 + ["val", "test", "test", "val"]
    file = as_table(tmp_path / "waves.csv", strange, part=parts)
    with pytest.raises(DataError, match="expected labels that training shows too, got 'even' in validation alone"):
        Sequences.read(file, sequence="id", split_column="part")
    with pytest.raises(DataError, match=r"column 'label': expected one of train, .*, got 'slow'"):
        Sequences.read(file, sequence="id", split_column="label", label="part")


def test_options_that_do_not_fit_are_told(tmp_path):
    file, folder = as_table(tmp_path / "a.csv", waves(6)), as_folder(tmp_path / "a", waves(6), "csv")
    with pytest.raises(ArgumentError, match=r"expected --sequence COLUMN.* got neither"):
        Sequences.read(file)
    with pytest.raises(ArgumentError, match="got both"):
        Sequences.read(file, sequence="id", text="label")
    with pytest.raises(ArgumentError, match="--label, --sequence: expected two columns, got 'label' for both"):
        Sequences.read(file, sequence="label")
    with pytest.raises(ArgumentError, match="--time: expected with a table, got the folder"):
        Sequences.read(folder, time="t")
    with pytest.raises(ArgumentError, match=r"--test: expected a share above 0 and up to 0.4, got 0.9"):
        Sequences.read(folder, test=0.9)
    with pytest.raises(DataError, match="there is no such file or folder"):
        Sequences.read(tmp_path / "none")


def test_files_that_do_not_fit_together_are_told(tmp_path):
    def folder(name: str, **files: bytes) -> Path:
        for file, content in files.items():
            stem, ending = file.rsplit("_", 1)
            (tmp_path / name / "a").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "a" / f"{stem}.{ending}").write_bytes(content)
        return tmp_path / name

    for path, message in (
        (folder("kinds", a_csv=b"x\n1\n", b_txt=b"text"), "expected files of one kind, got .csv, .txt"),
        (folder("columns", a_csv=b"x,y\n1,2\n", b_csv=b"x,z\n1,2\n"), "expected the same columns as in .*, got x, z"),
        (folder("empty", a_csv=b""), "expected a table, got an empty file"),
        (folder("no_row", a_csv=b"x,y\n"), "expected a line of names and lines of entries, got one line: x, y"),
        (folder("no_text", a_txt=b""), "expected a sequence, got one without a step"),
        (folder("latin", a_txt=b"\xe9t\xe9"), "expected text in utf-8, got the byte 0xe9"),
        (folder("words", a_csv=b"x\n1\nhm\n"), "column 'x', row 2: expected a number, got 'hm'"),
        (folder("picture", a_png=b"x"), "expected sequences as .csv, .npy or .txt, got .png"),
        (folder("broken", a_npy=b"\x93NUMPY"), "expected an array of numpy"),
    ):
        with pytest.raises(DataError, match=message):
            Sequences.read(path)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="expected a folder for each label"):
        Sequences.read(tmp_path / "nothing")
