"""`longreach run --deep`: what is asked of a run's sequences once, after its end, and kept in its folder."""

import time
from collections.abc import Callable

from longreach.conclude import late_pairs
from longreach.probes.deep import deep_test
from longreach.probes.memory import long_memory
from longreach.quantities.deep import Deepened
from longreach.store import Store

SECONDS = 50.0  # for the searches; what comes before and after them takes its own


def deepen(store: Store, tell: Callable[[float], None] = lambda share: None) -> None:
    """Test every recurrent module and direction for needs of two inputs together, and its inputs for long memory.

    store  open for writing
    tell   called with the share that is done
    Cost   SECONDS for all searches together at most; a few for 4,000 sequences of 500 steps (docs/deep.md)
    """
    steps = int(store.meta().get("steps", 0))
    until = time.perf_counter() + SECONDS
    places = sorted({(key.module, key.direction) for key in store.curves()})
    for index, (module, direction) in enumerate(places):
        pairs = late_pairs(store.pairs(module, direction), steps)

        def part(share: float, index: int = index) -> None:
            tell((index + share) / len(places))

        share = (until - time.perf_counter()) / (len(places) - index)
        deep = deep_test(pairs, seconds=max(share, 0.0), tell=part)
        store.add(Deepened(module, steps, direction, deep, long_memory(pairs)))
    store.commit()
