"""Text from a trained network, character by character."""

from collections.abc import Iterator
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor

from longreach.errors import ArgumentError, RunReadError
from longreach.nn.cell import State
from longreach.training.network import Network
from longreach.training.text.alphabet import Alphabet

PIECE = 1024  # characters of a prompt read at once: a long one takes no more memory


def generated(
    folder: Path, *, prompt: str = "", length: int = 1000, temperature: float = 0.8, seed: int | None = None
) -> Iterator[str]:
    """The prompt, and what the network of a run folder writes after it: so many characters, as they come.

    prompt  what a document begins with; empty: its first characters are the network's own
    Raises  as `run.load`, `Alphabet.numbers` and `drawn` do, RunReadError where the network was not trained on text and
            ArgumentError for a length below 1: at once, not when the first character is asked for
    """
    from longreach.training.run import load

    kind, recipe, network = load(folder)
    if kind != "text":
        raise RunReadError(
            f"{folder}: expected a network trained on text, got one trained on {kind} data; train one with "
            "`longreach train text FILE`"
        )
    if length < 1:
        raise ArgumentError(f"--length: expected a whole number above 0, got {length}")
    alphabet = Alphabet(recipe["alphabet"], recipe["unit"])
    given = alphabet.numbers(prompt)
    separator = [alphabet.symbols.index(symbol) for symbol in recipe["separator"]]
    begun = _last_document(given, separator) or [0]  # number 0 is the first character of all the text
    follow = drawn(network, begun, separator=separator, temperature=temperature, seed=seed)
    return alphabet.text(chain(given, islice(follow, length)))


def printable(text: str, stream: TextIO) -> str:
    """The text as this stream can take it: on a terminal, what would steer it is shown as an escape, not sent."""
    if stream.isatty():
        text = "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def drawn(
    network: Network,
    prompt: list[int],
    *,
    separator: list[int] | None = None,
    temperature: float = 0.8,
    seed: int | None = None,
) -> Iterator[int]:
    """The numbers of the characters that follow a prompt, without an end.

    Each is drawn with p(c) ∝ exp(answer(c) / temperature). The last number, the unknown character, is never drawn.

    separator    after it a new document begins: the state is reset, as in training
    temperature  1: as often as the network expects it; below 1: more of what is likely; 0: always the likeliest
    seed         decides every draw; None: another text each time
    Cost         one step of the network a character, however many came before
    Raises       ArgumentError for an empty prompt, or a temperature that is no number from 0 up
    """
    if not (isfinite(temperature) and temperature >= 0):
        raise ArgumentError(f"--temperature: expected a number from 0 up, got {temperature}; 0.8 is usual")
    if not prompt:
        raise ArgumentError("prompt: expected at least one character to begin with, got none")
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return _drawn(network, prompt, separator or [], temperature, generator)


def _drawn(
    network: Network, prompt: list[int], separator: list[int], temperature: float, generator: torch.Generator
) -> Iterator[int]:
    answer, state = _read(network, prompt)
    recent: list[int] = []
    while True:
        number = _draw(answer[:-1], temperature, generator)
        yield number
        recent = [*recent, number][-max(len(separator), 1) :]
        if recent == separator:
            state, recent = None, []
        answer, state = _step(network, [number], state)


def _last_document(numbers: list[int], separator: list[int]) -> list[int]:
    """From the end of the last separator on, which is a document's first input."""
    size = len(separator)
    for end in range(len(numbers), size - 1, -1) if size else ():
        if numbers[end - size : end] == separator:
            return numbers[end - 1 :]
    return separator[-1:] + numbers


def _read(network: Network, prompt: list[int]) -> tuple[Tensor, State]:
    answer, state = _step(network, prompt[:PIECE], None)
    for first in range(PIECE, len(prompt), PIECE):
        answer, state = _step(network, prompt[first : first + PIECE], state)
    return answer, state


@torch.no_grad()
def _step(network: Network, numbers: list[int], state: State | None) -> tuple[Tensor, State]:
    """The answer after the last of these characters, and the state."""
    place = next(network.parameters()).device
    asked = torch.zeros(1, len(numbers), dtype=torch.bool, device=place)
    asked[0, -1] = True
    answers, state = network(torch.tensor(numbers, device=place)[None, :, None], asked, state)
    return answers[0].double().cpu(), state


def _draw(answer: Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(answer.argmax())
    share = ((answer - answer.max()) / temperature).softmax(dim=0)
    return int(torch.multinomial(share, 1, generator=generator))
