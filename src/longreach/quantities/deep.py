"""What the deep test and the estimate of long memory said of a run, kept with it: once is long enough."""

from dataclasses import dataclass

from longreach.probes.samples import Sample
from longreach.record import DeepNeed, LongMemory


@dataclass(frozen=True)
class Deepened(Sample):
    """Of one recurrent module, `place`, in one direction; `step` is the last of the run."""

    direction: str
    deep: DeepNeed | None
    memory: LongMemory | None


def latest(samples: dict[str, list[Deepened]]) -> dict[tuple[str, str], Deepened]:
    """By module and direction."""
    return {(place, found.direction): found for place, all_found in samples.items() for found in all_found}
