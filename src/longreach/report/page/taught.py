"""What a training came to: scores, what was chosen, and why. Its files may hold anything: what is odd is left out."""

from dataclasses import dataclass
from typing import Any

from longreach.report.sentences import duration
from longreach.story import Trained


@dataclass(frozen=True)
class Taught:
    """A training in words.

    network  one line about what was trained
    reasons  why, in sentences
    scores   of the test: name, of the network, of the best rule without one; numbers or None
    ended    how long it took; None while it goes on, or where it was stopped
    left     what lies in the folder
    """

    network: str
    reasons: tuple[str, ...]
    scores: tuple[tuple[str, float | None, float | None], ...]
    ended: str | None
    left: tuple[str, ...]

    @property
    def headline(self) -> tuple[str, float | None, float | None] | None:
        """The score to tell first: one that can be compared, if there is any."""
        known = [score for score in self.scores if score[1] is not None]
        return next((score for score in known if score[2] is not None), next(iter(known), None))


def taught(trained: Trained) -> Taught:
    """What the files of a training tell."""
    plan = _mapping(trained.plan.get("plan"))
    outcome = _mapping(trained.outcome)
    test, naive = _mapping(outcome.get("test")), _mapping(outcome.get("naive"))
    names = dict.fromkeys((*test, *naive))
    return Taught(
        network=_network(plan),
        reasons=_sentences(plan.get("reasons")),
        scores=tuple((name, _number(test.get(name)), _number(naive.get(name))) for name in names),
        ended=_ended(outcome) if trained.outcome is not None else None,
        left=_sentences(outcome.get("left")),
    )


def _network(plan: dict[str, Any]) -> str:
    of = _mapping(plan.get("architecture"))
    sizes = _mapping(plan.get("sizes"))
    told = (
        (of, "cell", "{}"),
        (of, "hidden", "{} units"),
        (of, "layers", "layers: {}"),
        (plan, "updates", "at most {} updates"),
        (sizes, "batch", "of {} sequences"),
        (plan, "lr", "step size {}"),
    )
    known = [(form, group[name]) for group, name, form in told if isinstance(group.get(name), int | float | str)]
    return ", ".join(form.format(value) for form, value in known)


def _ended(outcome: dict[str, Any]) -> str:
    seconds, updates = _number(outcome.get("seconds")), outcome.get("updates")
    counts = (("skipped", "skipped"), ("returns", "ways back"))
    trouble = "".join(f", {outcome[name]} {what}" for name, what in counts if outcome.get(name))
    return f"{updates} updates" + (f" in {duration(seconds)}" if seconds is not None else "") + trouble


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sentences(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None
