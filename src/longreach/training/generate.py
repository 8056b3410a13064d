"""Text from a trained network, character by character."""

import codecs
from collections.abc import Iterator
from itertools import islice
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from longreach.errors import ArgumentError, RunReadError
from longreach.nn.cell import State
from longreach.training.alphabet import Alphabet
from longreach.training.network import Network

PIECE = 1024  # characters of a prompt read at once: a long one takes no more memory


def generated(
    folder: Path, *, prompt: str = "", length: int = 1000, temperature: float = 0.8, seed: int | None = None
) -> Iterator[str]:
    """What the network of a run folder writes on: the prompt first, then `length` characters as they come.

    prompt  what the text begins with; empty: what the text that was learned from began with, which is not shown
    Raises  as `load` and `generate` do; RunReadError where the network was not trained on text. At once, not when the
            first character is asked for
    """
    from longreach.training.run import load

    kind, recipe, network = load(folder)
    if kind != "text":
        raise RunReadError(
            f"{folder}: expected a network trained on text, got one trained on {kind}; train one with "
            "`longreach train text FILE`"
        )
    alphabet = Alphabet(recipe["alphabet"], recipe["unit"])
    begun = alphabet.numbers(prompt) if prompt else alphabet.known(recipe["opening"])
    numbers = islice(generate(network, alphabet, begun, temperature=temperature, seed=seed), _checked(length))
    return alphabet.text([alphabet.numbers(prompt), numbers])


def generate(
    network: Network, alphabet: Alphabet, prompt: list[int], *, temperature: float = 0.8, seed: int | None = None
) -> Iterator[int]:
    """The numbers of the characters that follow, without an end.

    Each is drawn with p(c) ∝ exp(answer(c) / temperature); the unknown character is never drawn.

    temperature  1: as often as the network expects it; below 1 more of what is likely; 0: always the likeliest
    seed         decides every draw; None: another text each time
    Cost         one step of the network a character, whatever came before
    Raises       ArgumentError for an empty prompt, or a temperature that is no number from 0 up
    """
    if not (isfinite(temperature) and temperature >= 0):
        raise ArgumentError(f"--temperature: expected a number from 0 up, got {temperature}; 0.8 is usual")
    if not prompt:
        raise ArgumentError("prompt: expected at least one character to begin with, got none")
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    return _drawn(network, alphabet, prompt, temperature, generator)
