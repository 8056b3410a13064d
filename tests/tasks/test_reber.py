"""The embedded Reber grammar, against an automaton written down by hand from the published diagram."""

import math
from collections import Counter

import pytest
import torch

from longreach.tasks import Reber

# state: {symbol: next}, of the plain grammar as every textbook draws it
PLAIN = {
    "start": {"B": "behind B"},
    "behind B": {"T": "S loop", "P": "T loop"},
    "S loop": {"S": "S loop", "X": "upper"},
    "T loop": {"T": "T loop", "V": "lower"},
    "upper": {"X": "T loop", "S": "last"},
    "lower": {"P": "upper", "V": "last"},
    "last": {"E": "over"},
}


def is_plain(string):
    state = "start"
    for symbol in string:
        if symbol not in PLAIN.get(state, {}):
            return False
        state = PLAIN[state][symbol]
    return state == "over"


def is_embedded(string):
    frame = string[0] + string[-1] == "BE" and string[1] == string[-2] in "TP"
    return frame and is_plain(string[2:-2])


def successors(prefix):
    """What may come behind a prefix of an embedded string, by walking the plain automaton."""
    if len(prefix) == 1:
        return set("TP")
    state = "start"
    for place, symbol in enumerate(prefix[2:]):
        if state == "over":
            return {"E"} if place == len(prefix) - 3 else set()
        state = PLAIN[state][symbol]
    return {prefix[1]} if state == "over" else set(PLAIN[state])


def probability(string):
    return math.prod(1 / len(successors(string[:place])) for place in range(1, len(string)))


def strings(batch):
    x, y, asked, _ = batch
    answers = iter(y.tolist())
    for symbols, seen in zip(x.argmax(dim=2).tolist(), asked, strict=True):
        shown = ["BTPSXVE"[symbol] for symbol in symbols[: int(seen.sum())]]
        following = ["BTPSXVE"[next(answers)] for _ in shown]
        assert shown[1:] == following[:-1]
        yield "".join([shown[0], *following])


def allowed(string):
    """1 for each symbol that may come, at every step."""
    steps = range(1, len(string))
    return [[float(symbol in successors(string[:place])) for symbol in "BTPSXVE"] for place in steps]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_automaton_here_knows_published_strings():
    for string in ("BTSSXXTVVE", "BPVVE", "BTXXVPSE", "BPVPXVPXVPXVVE", "BTSXXVPSE"):
        assert is_plain(string)
    for string in ("BTSSPXSE", "BPTVVB", "BTXXVVSE", "BPVSPSE", "BTSSSE"):
        assert not is_plain(string)
    assert is_embedded("BTBPVVETE")
    assert not is_embedded("BTBPVVEPE")
    assert successors("BTBPVVE") == {"T"}
    assert successors("BTBPVVET") == {"E"}


@pytest.mark.parametrize("length", [9, 12, 40])
def test_all_strings_belong_to_the_grammar_and_none_is_too_long(length):
    drawn = list(strings(Reber(length).draw(2000, generator())))
    assert all(is_embedded(string) for string in drawn)
    assert max(len(string) for string in drawn) <= length
    assert min(len(string) for string in drawn) == 9


@pytest.mark.parametrize("length", [12, 40])
def test_strings_are_as_likely_as_the_grammar_has_them(length):
    n = 20_000
    often = Counter(strings(Reber(length).draw(n, generator())))
    short = all_strings(12)
    total = sum(probability(string) for string in short) if length == 12 else 1 - 5.669e-5
    for string in short:
        expected = n * probability(string) / total
        assert abs(often[string] - expected) < 5 * expected**0.5


def all_strings(longest):
    ready, open_ends = [], ["B"]
    while open_ends:
        prefix = open_ends.pop()
        for symbol in successors(prefix):
            string = prefix + symbol
            if is_embedded(string):
                ready.append(string)
            elif len(string) < longest:
                open_ends.append(string)
    return ready


def test_chance_is_the_loss_of_the_shares_of_all_symbols():
    exact = Counter()
    for string in all_strings(12):
        for symbol in string[1:]:
            exact[symbol] += probability(string)
    shares = [often / exact.total() for often in exact.values()]
    assert Reber(12).chance == pytest.approx(-sum(share * math.log(share) for share in shares), rel=1e-12)

    task = Reber()
    batch = task.draw(20_000, generator())
    shares = torch.bincount(batch.y, minlength=7).double() / len(batch.y)
    loss = task.loss(shares.log().repeat(len(batch.y), 1), batch.y)
    assert loss.item() == pytest.approx(task.chance, rel=2e-3)  # a hundred thousand and more symbols


def test_wrong_where_what_must_not_come_scores_as_high():
    task = Reber()
    batch = task.draw(40, generator())
    scores = []
    for string in strings(batch):
        scores += allowed(string)
    answer = torch.tensor(scores)
    assert not task.wrong(answer, batch).any()
    tied = answer.clone()
    tied[int(batch.asked[:3].sum()) + 4, 0] = 1  # the fourth string's fifth step: B never comes there
    assert task.wrong(tied, batch).nonzero().flatten().tolist() == [3]


def test_whoever_forgets_the_second_symbol_fails_half_of_the_time():
    task = Reber()
    batch = task.draw(2000, generator())
    scores = []
    for string in strings(batch):
        as_if = string[0] + "T" + string[2:-2] + "TE"  # always T
        scores += allowed(as_if)
    share = task.wrong(torch.tensor(scores), batch).double().mean().item()
    assert abs(share - 0.5) < 5 * 0.5 / 2000**0.5
