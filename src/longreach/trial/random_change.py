"""The second control: a random change of the same kind as what is tried."""

from collections.abc import Sequence

from longreach.remedies import Remedy
from longreach.remedies.random_steps import REMEDY as RANDOM_STEPS
from longreach.remedies.random_weights import REMEDY as RANDOM_WEIGHTS


def random_change(remedies: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """What a remedy must beat to be more than a shake: of the weights, of the steps, or of both, as the remedies do.

    Remedies of the process have no kind of their own: beside these alone the weights are shaken.
    """
    moments = {remedy.moment for remedy in remedies}
    if moments == {"optimizer"}:
        return (RANDOM_STEPS,)
    return (RANDOM_WEIGHTS, RANDOM_STEPS) if "optimizer" in moments else (RANDOM_WEIGHTS,)
