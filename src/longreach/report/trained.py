"""What a training run came to, for the terminal."""

from typing import TYPE_CHECKING

from longreach.report.words import safe

if TYPE_CHECKING:
    from longreach.training.outcome import Outcome


def render(outcome: "Outcome") -> str:
    """Scores on the test data beside those of the best rule without a network; what lies where."""
    minutes, seconds = divmod(round(outcome.seconds), 60)
    counts = ((outcome.skipped, "skipped"), (outcome.returns, "ways back"))
    trouble = ", ".join(f"{count} {what}" for count, what in counts if count)
    lines = [f"{outcome.updates} updates in {minutes} min {seconds} s" + (f" ({trouble})" if trouble else "")]
    names = list(dict.fromkeys((*outcome.test, *outcome.naive)))
    width = max(map(len, names))
    lines += ["", f"{'':{width}}  {'test':>10}  {'naive':>10}"]
    for name in names:
        cells = [f"{scores[name]:.4g}" if name in scores else "" for scores in (outcome.test, outcome.naive)]
        lines.append(f"{name:{width}}  {cells[0]:>10}  {cells[1]:>10}".rstrip())
    if outcome.verdict:
        lines += ["", f"verdict  {outcome.verdict.replace('-', ' ')}"]
    lines += ["", *map(safe, outcome.left), f"run folder: {outcome.folder}"]
    return "\n".join(lines) + "\n"
