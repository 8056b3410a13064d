"""What is written by a network: against a loop over the whole text so far, and against the network's own shares."""

import json
from dataclasses import asdict
from itertools import islice

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from longreach.cli import app
from longreach.errors import ArgumentError, RunReadError
from longreach.training.network import Architecture, Network
from longreach.training.plan import Plan
from longreach.training.problem import Shape, Sizes
from longreach.training.run import write_plan
from longreach.training.text.alphabet import Alphabet
from longreach.training.text.generate import PIECE, drawn, generated, printable
from longreach.training.text.problem import Text

SYMBOLS = "abcd\n"
SIZE = len(SYMBOLS) + 1


def network(size=SIZE, cell="lstm"):
    torch.manual_seed(1)
    made = Network(Architecture(Shape(size, size, symbols=True), cell, 8, 2, lag=4)).double().eval()
    for own in made.parameters():
        own.data *= 3  # an opinion
    return made


def answer_after(model, numbers):
    x = torch.tensor(numbers)[None, :, None]
    return model(x, torch.ones(1, len(numbers), dtype=torch.bool))[0][-1].detach()


@pytest.mark.parametrize("cell", ["lstm", "gru", "linear-recurrent"])
def test_the_likeliest_character_is_that_of_the_whole_text_so_far(cell):
    model, prompt = network(cell=cell), [0, 3, 1]
    written = list(islice(drawn(model, prompt, temperature=0), 40))
    so_far = list(prompt)
    for number in written:
        assert number == answer_after(model, so_far)[:-1].argmax()
        so_far.append(number)


def test_draws_follow_the_shares_of_the_network():
    model, prompt, count = network(), [2, 0], 800
    share = (answer_after(model, prompt)[:-1] / 0.7).softmax(dim=0)
    first = [next(drawn(model, prompt, temperature=0.7, seed=seed)) for seed in range(count)]
    found = torch.bincount(torch.tensor(first), minlength=len(share))
    chi_square = ((found - count * share).square() / (count * share)).sum()
    assert chi_square < 23.5  # 4 degrees of freedom: one draw in ten thousand is further off


def test_a_seed_decides_all():
    def text(seed):
        return list(islice(drawn(network(), [0], temperature=1, seed=seed), 60))

    assert text(5) == text(5) != text(6)
    assert text(None) != text(None)


def test_very_low_temperatures_are_greedy_and_high_ones_even():
    model = network()
    assert list(islice(drawn(model, [0], temperature=1e-300, seed=0), 30)) == list(
        islice(drawn(model, [0], temperature=0), 30)
    )
    many = torch.bincount(torch.tensor(list(islice(drawn(model, [0], temperature=1e9, seed=0), 1000))), minlength=6)
    assert many[5] == 0  # the unknown one is never drawn
    assert (many[:5] - 200).abs().max() < 51  # 4 standard deviations


def test_after_a_separator_a_document_begins_anew():
    model, separator, generator = network(), [3, 4], torch.Generator().manual_seed(0)
    document, documents = [4], 0
    for number in islice(drawn(model, [4], separator=separator, temperature=3, seed=0), 200):
        answer = answer_after(model, document)[:-1]
        share = ((answer - answer.max()) / 3).softmax(dim=0)
        assert number == torch.multinomial(share, 1, generator=generator)
        document.append(number)
        if document[1:][-2:] == separator:
            document, documents = [4], documents + 1
    assert documents > 3


def test_a_long_prompt_is_read_whole():
    model = network()
    prompt = torch.randint(0, 5, (2 * PIECE + 17,)).tolist()
    assert next(drawn(model, prompt, temperature=0)) == answer_after(model, prompt)[:-1].argmax()


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_temperatures_that_are_none_are_told_at_once(temperature):
    with pytest.raises(ArgumentError, match="--temperature: expected a number from 0 up"):
        drawn(network(), [0], temperature=temperature)


# From a run folder


@pytest.fixture
def run(tmp_path):
    def made(symbols=SYMBOLS, unit="character", separator="", kind="text"):
        model = network(len(symbols) + 1).float()
        size = len(symbols) + 1
        architecture = Architecture(Shape(size, size, symbols=True), "lstm", 8, 2, lag=4)
        plan = Plan(
            architecture,
            Sizes(4, 8, 8),
            lr=1e-3,
            weight_decay=0.0,
            updates=10,
            judge_every=5,
            patience=10,
            clip=None,
            remedies=(),
        )
        recipe = {"kind": kind, "unit": unit, "alphabet": symbols, "separator": separator}
        write_plan(tmp_path, kind, {"files": []}, recipe, plan)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        assert json.loads((tmp_path / "train.json").read_text())["plan"]["architecture"] == asdict(architecture)
        return tmp_path

    return made


def test_a_run_writes_on_after_the_prompt(run):
    folder = run()
    text = "".join(generated(folder, prompt="bad", length=50, temperature=0))
    greedy = islice(drawn(network().float(), [1, 0, 3], temperature=0), 50)
    assert text == "bad" + "".join(SYMBOLS[number] for number in greedy)


def test_without_a_prompt_a_document_begins(run):
    greedy = islice(drawn(network().float(), [0], temperature=0), 20)
    assert "".join(generated(run(), length=20, temperature=0)) == "".join(SYMBOLS[number] for number in greedy)
    greedy = islice(drawn(network().float(), [4], separator=[4], temperature=0), 20)
    assert "".join(generated(run(separator="\n"), length=20, temperature=0)) == "".join(SYMBOLS[n] for n in greedy)


@pytest.mark.parametrize(
    ("prompt", "separator", "begun"),
    [
        ("ab\ncd", "\n", [4, 2, 3]),
        ("cd", "\n", [4, 2, 3]),
        ("ab\n", "\n", [4]),
        ("abdcda", "dc", [2, 3, 0]),
        ("abd", "dc", [2, 0, 1, 3]),
        ("ab\ncd", "", [0, 1, 4, 2, 3]),
    ],
)
def test_a_prompt_is_read_from_its_last_document_on(run, monkeypatch, prompt, separator, begun):
    seen = []
    monkeypatch.setattr(
        "longreach.training.text.generate.drawn", lambda network, prompt, **_: seen.append(prompt) or [0, 1]
    )
    assert "".join(generated(run(separator=separator), prompt=prompt, length=1)) == prompt + "a"
    assert seen == [begun]


def test_characters_that_the_network_does_not_know_are_named(run):
    with pytest.raises(ArgumentError, match=r"--prompt: .* got 'é', '☃'; leave them out. It knows \\nabcd"):
        generated(run(), prompt="aébé☃")
    with pytest.raises(ArgumentError, match=r"bytes of the text .* got 0xc3"):
        generated(run("".join(map(chr, range(128))), "byte"), prompt="é")


def test_bytes_that_are_no_text_are_shown_safely():
    alphabet = Alphabet("".join(map(chr, range(256))), "byte")
    numbers = [*"né€".encode(), 0xFF, 0x41, 0xE2, 0x82]
    assert "".join(alphabet.text(numbers)) == "né€�A�"
    assert alphabet.numbers("né") == [*"né".encode()]
    assert "".join(alphabet.text(alphabet.numbers("naïve €"))) == "naïve €"


class Screen:
    encoding = "ascii"

    def isatty(self):
        return True


def test_nothing_that_is_written_steers_a_terminal():
    assert printable("a\x1b[2Jb\n\té", Screen()) == "a\\x1b[2Jb\n\t\\xe9"


def test_runs_of_other_kinds_and_lengths_are_told(run):
    with pytest.raises(ArgumentError, match="--length: expected a whole number above 0, got 0"):
        generated(run(), length=0)
    with pytest.raises(RunReadError, match="expected a network trained on text, got one trained on series data"):
        generated(run(kind="series"))


def test_training_leaves_a_sample(run):
    folder = run()
    (folder / "text.txt").write_text(SYMBOLS * 200)
    told = Text.read([folder / "text.txt"]).leave(folder, lambda batch: batch.x)
    assert (folder / "sample.txt").read_text() == "".join(generated(folder, length=500, seed=0)) + "\n"
    assert f"longreach generate {folder}" in told[1]


def test_the_command_writes_it(run):
    folder = run()
    found = CliRunner().invoke(app, ["generate", str(folder), "--prompt", "cab", "--length", "30", "--seed", "3"])
    assert found.exit_code == 0
    assert found.output == "".join(generated(folder, prompt="cab", length=30, seed=3)) + "\n"
