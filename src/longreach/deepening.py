"""`longreach run --deep`: what is asked of a run's sequences once, after its end, and kept in its folder."""

from collections.abc import Callable

from longreach.conclude import late_pairs
from longreach.probes.deep import deep_test
from longreach.probes.memory import long_memory
from longreach.quantities.deep import Deepened
from longreach.store import Store


def deepen(store: Store, tell: Callable[[float], None] = lambda share: None) -> None:
    """Test every recurrent module and direction for needs of two inputs together, and its inputs for long memory.

    store  open for writing
    tell   called with the share that is done
    Cost   up to half a minute for each module and direction (`probes/deep.py`), 2 s for 4,000 sequences of one input
           and 500 steps
    """
    steps = int(store.meta().get("steps", 0))
    places = sorted({(key.module, key.direction) for key in store.curves()})
    for index, (module, direction) in enumerate(places):
        pairs = late_pairs(store.pairs(module, direction), steps)

        def part(share: float, index: int = index) -> None:
            tell((index + share) / len(places))

        store.add(Deepened(module, steps, direction, deep_test(pairs, tell=part), long_memory(pairs)))
    store.commit()
