"""The number that is compared: the loss of every step as the watch saw it, or a number that the script prints."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

# Names that promise more the larger they are.
LARGER = re.compile(
    r"acc|auc|f1|score|bleu|rouge|precision|recall|iou|reward|return|correct|r2|likelihood", re.IGNORECASE
)
_NUMBER = r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?))"


@dataclass(frozen=True)
class Metric:
    """A number of a run.

    name    "loss" for the loss of every step; else what stands before the number in the script's output
    larger  whether larger is better
    """

    name: str = "loss"
    larger: bool = False

    @classmethod
    def named(cls, name: str) -> "Metric":
        """Larger is better for accuracies, scores and their like."""
        return cls(name, name != "loss" and bool(LARGER.search(name)) and "loss" not in name.lower())

    def read(self, *texts: Path) -> list[float]:
        """All numbers that stand after this name in what a script printed: `acc 0.5`, `acc=0.5`, `"acc": 0.5`."""
        pattern = re.compile(
            rf"(?<![\w]){re.escape(self.name)}(?![\w])[\"']?\s*(?:[:=]|is)?\s*{_NUMBER}", re.IGNORECASE | re.ASCII
        )
        found: list[float] = []
        for path in texts:
            if path.is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                found += [float(match.group(1)) for match in pattern.finditer(text)]
        return found


def end_of(losses: list[tuple[int, float]], steps: int) -> float:
    """The mean loss of the last tenth of a run, of ten steps at least; (step, mean from there to the next)."""
    first = steps - max(10, steps // 10)
    total = weight = 0.0
    for (begin, value), (after, _) in zip(losses, [*losses[1:], (steps, 0.0)], strict=False):
        inside = after - max(begin, first)
        if inside > 0:
            total, weight = total + value * inside, weight + inside
    return total / weight if weight else math.nan
