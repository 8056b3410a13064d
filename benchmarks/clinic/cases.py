"""The pairs, read from pairs.txt. What is ill, and which names count as a hit, is fixed before any detector is asked.

A pair is one script with one seed, ill and well by an ordinary argument or two. Half of the pairs of each fault are
held out: nobody looks at them while rules are calibrated. They differ from the open ones in seed and size, often in
network.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("pairs.txt")

# Names of findings that count as a hit, beside the fault's own. A step that is far too large is seen by what it does to
# the loss; so is one that grows during training, and there the size of the step is the cause, the loss the symptom.
ALSO = {
    "step-size-too-small": ("step-size",),
    "step-size-too-large": ("step-size", "unstable-loss"),
    "step-size-grows": ("unstable-loss", "step-size"),
    # gradients reach what they should, and a step too small or parameters that no optimizer holds waste them
    "reached-but-unlearned": ("reached-but-unlearned", "step-size"),
}


@dataclass(frozen=True)
class Pair:
    """Twins.

    fault   what the ill one has
    script  in scripts/
    both    arguments of both; the seed is among them
    ill     arguments that bring the fault
    well    arguments of the healthy twin in their place
    fold    "open" or "held-out"
    number  within the fault, counted from 1
    rank    within the fault and fold, counted from 1
    """

    fault: str
    script: str
    both: str
    ill: str
    well: str
    fold: str
    number: int = 0
    rank: int = 0

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.number}"

    @property
    def hits(self) -> tuple[str, ...]:
        """Names of findings that count."""
        return ALSO.get(self.fault, (self.fault,))

    def command(self, ill: bool) -> list[str]:
        return [f"{self.script}.py", *shlex.split(self.both), *shlex.split(self.ill if ill else self.well)]


def pairs() -> list[Pair]:
    """All pairs, numbered within their faults."""
    found: list[Pair] = []
    for block in TABLE.read_text().strip().split("\n\n")[1:]:
        fault, *lines = block.splitlines()
        for number, line in enumerate(lines, start=1):
            fold, script, both, ill, well = (part.strip() for part in line.split("|"))
            rank = 1 + sum((pair.fault, pair.fold) == (fault, fold) for pair in found)
            found.append(Pair(fault, script, both, ill, well, fold, number, rank))
    return found


def chosen(only: list[str], fold: str | None) -> list[Pair]:
    """The pairs of these faults (all if none is named) and this fold, or both."""
    return [pair for pair in pairs() if (not only or pair.fault in only) and fold in (None, pair.fold)]


def main() -> None:
    """Print the commands of the open pairs of the faults named, or of all."""
    for pair in chosen(sys.argv[1:], "open"):
        for ill in (True, False):
            print(f"{pair.name:28} {'ill ' if ill else 'well'}  scripts/{' '.join(pair.command(ill))}")


if __name__ == "__main__":
    main()
