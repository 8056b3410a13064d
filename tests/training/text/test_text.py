"""Text: what is read against plain Python, what is asked against slices of the text, and what bad files get."""

import codecs
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from longreach.errors import ArgumentError, DataError
from longreach.training.problem import Sizes
from longreach.training.text import characters as reading
from longreach.training.text import problem as text_module
from longreach.training.text.counts import DELTA
from longreach.training.text.problem import Text

VERSE = "Tyger Tyger, burning bright,\nIn the forests of the night;\n"


@pytest.fixture
def write(tmp_path):
    def written(content, name="text.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def shown(text, numbers):
    """Numbers as characters, ▯ for the unknown."""
    return "".join((text.alphabet.symbols + "▯")[number] for number in numbers)


# Reading


@given(st.lists(st.text(alphabet="ab\n\r€😀é", max_size=30), min_size=1, max_size=5), st.integers(1, 9))
@settings(deadline=None)
def test_files_are_read_as_python_reads_them(tmp_path_factory, contents, chunk):
    folder = tmp_path_factory.mktemp("texts")
    paths = [folder / f"{number}.txt" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode() + b"x")
    whole = [path.read_text(encoding="utf-8") for path in paths]  # translates line ends
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        found = reading.read(paths)
    assert "".join(found.alphabet[number] for number in found[:]) == "".join(whole)
    assert found.alphabet == "".join(dict.fromkeys("".join(whole)))
    assert list(found.first) == ["".join(whole).index(symbol) for symbol in found.alphabet]
    assert found.starts.tolist() == [0, *np.cumsum([len(text) for text in whole])[:-1]]


@given(st.text(alphabet="ab|", max_size=60), st.sampled_from(["|", "||", "a|", "|a|"]), st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_separators_are_found_wherever_pieces_end(text, separator, size):
    pieces = [text[first : first + size] for first in range(0, len(text), size)]
    joined, marks = "", []
    for piece, places in reading.marked(pieces, separator):
        marks += [len(joined) + place for place in places]
        joined += piece
    assert joined == text
    ends = np.cumsum([len(document) + len(separator) for document in text.split(separator)[:-1]])
    assert marks == [end - 1 for end in ends]


def test_an_alphabet_that_grows_is_kept_in_wider_numbers(tmp_path):
    symbols = "".join(chr(0x100 + number) for number in range(0x20000) if not 0xD800 <= 0x100 + number < 0xE000)
    kept = reading.Characters()
    kept.begin()
    for first in range(0, len(symbols), 50_000):  # 256 and 65 536 are passed
        kept.add(symbols[first : first + 50_000])
    kept.add(symbols[::-1])
    count = len(symbols)
    assert kept.alphabet == symbols
    assert kept[:].tolist() == [*range(count), *reversed(range(count))]
    assert kept[np.array([[0, count], [count - 1, 300]])].tolist() == [[0, count - 1], [count - 1, 300]]


def test_the_checksum_tells_texts_apart(write):
    one, two, same = (reading.read([write(text, name)]) for text, name in (("abc", "1"), ("acb", "2"), ("abc", "3")))
    assert one.checksum == same.checksum != two.checksum


@pytest.mark.parametrize(("encoding", "content"), [("utf-16", "né☃".encode("utf-16")), ("cp1252", b"n\xe9\x80")])
def test_encodings_are_read_when_they_are_named(write, encoding, content):
    assert reading.read([write(content)], encoding=encoding).alphabet == content.decode(encoding)


def test_a_mark_of_the_byte_order_is_no_character(write):
    assert reading.read([write(codecs.BOM_UTF8 + b"abc")]).alphabet == "abc"


def test_bytes_are_taken_as_they_are(write):
    content = bytes(range(256)) * 4
    text = Text.read([write(content)], unit="byte")
    assert text.alphabet.symbols.encode("latin-1") == bytes(range(256))
    assert next(iter(text.scores(torch.zeros(1, 257), torch.zeros(1, dtype=torch.long)))) == "bits per byte"


# What is asked


def test_every_step_is_asked_for_the_next_character(write):
    text = Text.read([write(VERSE * 20)])
    sizes = Sizes(batch=2, window=30, hop=10)
    draw, whole = text.training(sizes), (VERSE * 20)[: text.streams["training"].length]
    ring = len(whole) // 20 * 10
    for number in range(2 * ring // 10):
        x, y, asked, _ = draw(number)
        answers = y.split(asked.sum(dim=1).tolist())
        for row in (0, 1):
            begin = len(whole) - (2 - row) * ring + number * 10 % ring
            assert shown(text, x[row, -10:, 0]) == whole[begin : begin + 10]
            assert shown(text, answers[row]) == whole[begin + 1 : begin + 11]  # after the very last one none is known
    assert draw(7)[1].equal(text.training(sizes)(7)[1])


def test_parts_follow_each_other_and_are_asked_whole(write):
    content = "".join(np.random.default_rng(0).choice(list("abcd"), 1000))
    text = Text.read([write(content)], validation=0.1, test=0.2)
    sizes = Sizes(batch=3, window=16, hop=16)
    expected = {"validation": content[701:800], "test": content[801:]}
    for part, answers in expected.items():
        assert "".join(shown(text, batch.y) for batch in in_one_row(text, part)) == answers
        several = "".join(shown(text, batch.y) for batch in text.held_out(part, sizes))
        assert sorted(several) == sorted(answers)
    assert text.answers == 699


def in_one_row(text, part):
    return text.held_out(part, Sizes(batch=1, window=16, hop=16))


def test_files_do_not_see_each_other_and_separators_are_foreseen(write):
    text = Text.read(
        [write("ab|cd|" * 60, "1"), write("xy" * 200, "2")], document_separator="|", validation=0.3, test=0.3
    )
    stream = text.streams["training"]
    assert stream.marks.tolist() == list(range(2, 304, 3))[: len(stream.marks)]
    _, y, asked, resets = text.training(Sizes(1, 304, 304))(0)
    for step in range(303):
        assert resets[0, step] == (step == 0 or step % 3 == 2)
    assert asked[0, :303].all()
    assert shown(text, y) == ("ab|cd|" * 60)[1:304]
    test = in_one_row(text, "validation")
    told = "".join(shown(text, batch.y) for batch in test)
    assert told.replace("▯", "") == ("ab|cd|" * 60)[305:]  # not the x that follows the last |
    assert told.count("▯") == 532 - 360 - 1


def test_characters_that_training_lacks_are_one_unknown_symbol_and_told(write):
    content = VERSE * 30 + "☃❄☃" * 10 + "th" * 10
    text = Text.read([write(content)])
    assert "☃" not in text.alphabet.symbols
    assert text.shape.inputs == text.shape.outputs == len(text.alphabet.symbols) + 1
    told = "".join(shown(text, batch.y) for part in ("validation", "test") for batch in in_one_row(text, part))
    assert told.count("▯") == 30
    assert any("30 of the" in note and "never come in the text to learn from" in note for note in text.remarks())


def test_loss_is_nats_and_scores_are_bits(write):
    text = Text.read([write("ab" * 300)])
    answer = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1, 0])
    nats = [math.log(sum(math.exp(v) for v in row)) - row[c] for row, c in zip(answer.tolist(), (1, 0), strict=True)]
    loss = text.loss(answer, y)
    assert_close(loss.item(), sum(nats) / 2)
    (bits,) = text.scores(answer, y).values()
    assert_close(bits.tolist(), [n / math.log(2) for n in nats])
    (gradient,) = torch.autograd.grad(loss, answer)
    assert_close(gradient, (answer.softmax(1) - torch.eye(3, dtype=torch.float64)[y]).detach() / 2)
    assert text.loss(answer[:0], y[:0]).item() == 0


def test_counting_is_what_a_loop_counts(write):
    content = VERSE * 11 + "zzyzx" * 3  # the test begins inside a verse and ends in what training lacks
    text = Text.read([write(content)], validation=0.1, test=0.1)
    train, size = text.streams["training"].length, text.alphabet.size
    begin = train + text.streams["validation"].length
    known = set(content[:train])
    folded = "".join(symbol if symbol in known else "▯" for symbol in content)

    def naive(order):
        before = ("^" + folded[:train])[:train], "^" + folded[begin:]
        counts, totals = Counter(), Counter()
        for step in range(train - 1):
            context = (before[0][step] + folded[step])[2 - order :]
            counts[context, folded[step + 1]] += 1
            totals[context] += 1
        bits = 0.0
        for step in range(len(folded) - begin - 1):
            context = (before[1][step] + folded[begin + step])[2 - order :]
            count = counts[context, folded[begin + step + 1]]
            bits -= math.log2((count + DELTA) / (totals[context] + DELTA * (size + 1)))
        return bits / (len(folded) - begin - 1)

    found = text.counted("test")
    assert found == pytest.approx({"how often each comes": naive(0), "the two before": naive(2)}, rel=1e-12)
    assert text.naive("test")["bits per character"] == min(found.values())


def test_the_recipe_is_json_and_the_same_again(write):
    path = write(VERSE * 20)
    recipe = Text.read([path], document_separator="\\n").recipe()
    assert recipe["separator"] == "\n"
    assert recipe["alphabet"] == "".join(dict.fromkeys(VERSE))
    assert recipe == Text.read([str(path)], document_separator="\n").recipe()
    assert recipe != Text.read([write(VERSE * 20 + "x")]).recipe()


MEASURED = """
import resource, sys
from longreach.training.problem import Sizes
from longreach.training.text.problem import Text

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

text = Text.read([sys.argv[1]])
text.naive("test")
sizes = Sizes(batch=32, window=512, hop=512)
draw = text.training(sizes)
seen = sum(draw(number).asked.sum().item() for number in range(text.streams["training"].hops(sizes)))
seen += sum(batch.asked.sum().item() for part in ("validation", "test") for batch in text.held_out(part, sizes))
print(len(text._characters), seen, peak())
"""


def test_memory_does_not_grow_with_the_text(tmp_path):
    peaks = []
    for times in (4, 32):  # 1.25 and 10 million characters
        path = tmp_path / f"{times}.txt"
        rng = np.random.default_rng(0)
        with path.open("wb") as out:
            for _ in range(times):
                out.write(rng.integers(97, 123, 312_500, dtype=np.uint8).tobytes())
        told = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
        length, seen, peak = map(int, told.stdout.split())
        assert length == times * 312_500
        assert seen > 0.98 * length
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 4 * 1024  # KB: the text alone has grown by 8.5 MB, eight times that as int64


# Bad input


@pytest.mark.parametrize(
    ("content", "options", "error", "words"),
    [
        (b"", {}, DataError, "text.txt: expected text, got an empty file; leave it out"),
        (codecs.BOM_UTF8, {}, DataError, "got an empty file"),
        (b"one line\n", {}, DataError, "expected at least 500 characters, got 9"),
        (b"a" * 5000, {}, DataError, "two different characters, got only 'a'; there is nothing to learn"),
        (b"a" * 1234 + b"\xe9tude", {}, DataError, "expected text in utf-8, got the byte 0xe9 at offset 1234"),
        (b"ab" * 600_000 + b"\x80", {}, DataError, "0x80 at offset 1200000"),
        ("né".encode("utf-16"), {}, DataError, "byte 0xff at offset 0; .*--encoding utf-16.*--unit byte"),
        (b"abc" * 300, {"encoding": "utf-16"}, DataError, "expected text in utf-16"),
        (b"abc" * 300, {"encoding": "klingon"}, ArgumentError, "--encoding: expected one that Python knows.*'klingon'"),
        (b"abc" * 300, {"encoding": "base64"}, ArgumentError, "--encoding: expected one that Python knows"),
        (b"abc" * 300, {"encoding": "utf-8", "unit": "byte"}, ArgumentError, "bytes have none"),
        (b"abc" * 300, {"unit": "word"}, ArgumentError, "--unit: expected character or byte, got 'word'"),
        (b"abc" * 300, {"document_separator": "@@"}, DataError, "expected '@@' between documents, found it in none"),
        (b"abc" * 300, {"validation": 0.0}, ArgumentError, "expected shares above 0"),
        (b"abc" * 300, {"validation": 0.5, "test": 0.5}, ArgumentError, "together at most 0.9, got 0.5 and 0.5"),
    ],
)
def test_data_that_cannot_be_learned_from_are_told(write, content, options, error, words):
    with pytest.raises(error, match=words):
        Text.read([write(content)], **options)


def test_files_that_cannot_be_read_are_told(tmp_path, write):
    with pytest.raises(DataError, match=r"none\.txt: expected a file that can be read, got: No such file"):
        Text.read([tmp_path / "none.txt"])
    with pytest.raises(DataError, match="expected a text file, got a folder; name files in it"):
        Text.read([tmp_path])
    with pytest.raises(DataError, match=r"empty\.txt: expected text, got an empty file"):
        Text.read([write(VERSE * 20), write("", "empty.txt")])
    with pytest.raises(ArgumentError, match="at least one text file"):
        Text.read([])


def test_long_texts_are_judged_by_no_more_than_a_million_characters(write, monkeypatch):
    content = VERSE * 100
    monkeypatch.setattr(text_module, "JUDGED", 200)
    text = Text.read([write(content)])
    assert [text.streams[part].length for part in ("validation", "test")] == [200, 200]
    asked = Text.read([write(content)], test=0.2)
    assert [asked.streams[part].length for part in ("validation", "test")] == [200, len(content) // 5]


def test_too_little_for_one_window_is_told(write):
    text = Text.read([write(VERSE * 20)])
    with pytest.raises(DataError, match=r"has 1044 steps, and 32 rows of one window, 64 steps each, need 2048"):
        text.training(Sizes(32, 64, 64))
    longest = text.longest
    assert text.training(Sizes(text.advice().batch, longest, longest))(0).asked.any()


def test_parts_without_a_question_are_told(write):
    files = [write("ab" * 300, "0"), *(write("a", f"{number + 1}") for number in range(100))]
    with pytest.raises(DataError, match="the validation part: expected two characters of one file"):
        Text.read(files)
