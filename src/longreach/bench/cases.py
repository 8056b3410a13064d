"""What a bench consists of: tasks at lengths, cells with remedies, and the trainings that they make together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from longreach.errors import ArgumentError
from longreach.tasks import Published, Task, named

GUESSING = "guessing weights"  # stands where a cell would
NONE = "none"
PLAIN = str.maketrans({" ": "-", "/": "-", ":": "."})  # for the names of files


@dataclass(frozen=True)
class Challenge:
    """A task, with its fields but for the length.

    variant  of the task, and what else is not as usual: "pascanu longest=200"; "" where there is only one
    """

    name: str
    variant: str
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def read(cls, text: str) -> "Challenge":
        """From "adding", "adding:bai" or "temporal-order:pascanu:longest=200".

        Raises  ArgumentError for a task or a field that there is not
        """
        name, *parts = text.split(":")
        usual = {field.name: field.default for field in fields(named(name)) if field.name != "length"}
        options: dict[str, Any] = {}
        for part in parts:
            option, _, value = part.partition("=") if "=" in part else ("variant", "", part)
            if option not in usual:
                can = f"one of {', '.join(usual)}" if usual else "nothing after its name"
                raise ArgumentError(f"--tasks {text}: {name}: expected {can}, got {option!r}")
            options[option] = value if option == "variant" else _value(value)
        options = {option: value for option, value in options.items() if value != usual[option]}
        others = [f"{option}={_shown(value)}" for option, value in options.items() if option != "variant"]
        variant = " ".join([options.get("variant", usual.get("variant", "")), *others]).strip()
        return cls(name, variant, tuple(options.items()))

    def at(self, length: int) -> Task:
        """The task itself. Raises ArgumentError for a length that it cannot have."""
        try:
            return named(self.name)(length=length, **dict(self.options))
        except ArgumentError as error:
            raise ArgumentError(f"--tasks {self}, --lengths {length}: {error}") from None

    def published(self) -> tuple[Published, ...]:
        """Figures of this variant; of all, where the task has none."""
        own, figures = self.variant.split(" ")[0], named(self.name).published
        return tuple(one for one in figures if one.variant in (own, "")) if own and "=" not in own else figures

    def __str__(self) -> str:
        return f"{self.name}:{self.variant.replace(' ', ':')}" if self.variant else self.name


@dataclass(frozen=True)
class Course:
    """A cell, and the remedies that it is trained with."""

    cell: str
    remedies: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " with ".join([self.cell, *(["+".join(self.remedies)] if self.remedies else [])])


@dataclass(frozen=True)
class Case:
    """One training, or one guessing.

    steps    updates at most
    seconds  that are guessed for
    """

    challenge: Challenge
    length: int
    course: Course
    seed: int
    steps: int
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Of its files: no two cases of a bench have the same."""
        parts = [str(self.challenge), str(self.length), str(self.course), f"seed-{self.seed}"]
        return "_".join(parts).translate(PLAIN)

    def __str__(self) -> str:
        return f"{self.challenge}, T = {self.length}, {self.course}, seed {self.seed}"


@dataclass(frozen=True)
class Asked:
    """What the user asked for, word for word: what makes one bench the same as another.

    Raises  ArgumentError when it is made, whatever is wrong in it
    """

    tasks: str
    lengths: str
    cells: str
    remedies: str
    seeds: int
    steps: int
    guess: float

    def __post_init__(self) -> None:
        for name, value, least in (("--seeds", self.seeds, 1), ("--steps", self.steps, 1), ("--guess", self.guess, 0)):
            if not value >= least:
                raise ArgumentError(f"{name}: expected {least} or more, got {value}")
        for challenge in self.challenges():
            for length in self.all_lengths():
                challenge.at(length)
        self.courses()

    def challenges(self) -> list[Challenge]:
        """The tasks, each once."""
        return list(dict.fromkeys(Challenge.read(text) for text in _parts("--tasks", self.tasks)))

    def all_lengths(self) -> list[int]:
        """From the shortest on."""
        try:
            return sorted({int(text) for text in _parts("--lengths", self.lengths)})
        except ValueError:
            raise ArgumentError(f"--lengths: expected whole numbers as 100,200, got {self.lengths!r}") from None

    def courses(self) -> list[Course]:
        """Every cell with every remedy, or several at once."""
        from longreach.remedies import named as remedy
        from longreach.training.network import choices

        cells, remedies = _parts("--cells", self.cells), _parts("--remedies", self.remedies)
        for cell in cells:
            choices(cell)
        names = [() if text == NONE else tuple(text.split("+")) for text in remedies]
        for name in (name for several in names for name in several):
            remedy(name)
        return [Course(cell, several) for cell in cells for several in names]

    def cases(self) -> Iterator[Case]:
        """First the first seed of everything: a bench that is stopped early has something to say of all."""
        for seed in range(self.seeds):
            for challenge in self.challenges():
                for length in self.all_lengths():
                    if self.guess and seed == 0:
                        yield Case(challenge, length, Course(GUESSING), 0, 0, self.guess)
                    for course in self.courses():
                        yield Case(challenge, length, course, seed, self.steps)


def _parts(option: str, text: str) -> Sequence[str]:
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise ArgumentError(f"{option}: expected one name or more, as A,B; got {text!r}")
    return found


def _value(text: str) -> int | float | bool | str:
    """What a field of a task is given: a number, yes or no, or a word."""
    if text in ("yes", "no"):
        return text == "yes"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _shown(value: int | float | bool | str) -> str:
    return str(value) if not isinstance(value, bool) else "yes" if value else "no"
