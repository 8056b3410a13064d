"""Many runs of a script at a time."""

import math
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from longreach.report.trial_table import Board
from longreach.trial.proof import Arm, Outcome
from longreach.trial.runs import CONTROL, Result, Runs


@dataclass
class Pool:
    """Runs of a script, so many at a time; what is known of them so far.

    results   of runs that have ended, by arm and seed
    refusals  why remedies do not fit, in their own words
    """

    runs: Runs
    jobs: int
    board: Board
    results: dict[tuple[str, int], Result] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self._pool = ThreadPoolExecutor(self.jobs)
        self._asked: dict[tuple[str, int], Future[Result]] = {}

    def ask(self, arm: str, seed: int, **options: Any) -> None:
        """Have a run made, when there is room."""
        if (arm, seed) not in self._asked:
            self._asked[arm, seed] = self._pool.submit(self._run, arm, seed, options)

    def get(self, wanted: Iterable[tuple[str, int]]) -> list[Result]:
        """The results of these runs; waits for them.

        Raises  KeyboardInterrupt when the user wants no more
        """
        wanted = list(wanted)
        waiting = {self._asked[key] for key in wanted}
        while waiting:
            _, waiting = wait(waiting, timeout=0.25, return_when=FIRST_COMPLETED)
            self.board.refresh(self.runs)
        return [self._asked[key].result() for key in wanted]

    def close(self) -> None:
        """Nothing goes on."""
        self.runs.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, arm: str, seed: int, options: dict[str, Any]) -> Result:
        self.board.begun(arm, seed)
        result = self.runs.run(arm, seed, **options)
        if result.refused:
            self.refusals[arm] = result.refused
        self.results[arm, seed] = result
        self.board.ended(result)
        return result

    def arm(self, name: str) -> Arm:
        """All that is known of an arm."""
        found = sorted((seed, result) for (arm, seed), result in self.results.items() if arm == name)
        crashes = [result.failed for _, result in found if result.failed]
        if name in self.refusals:
            return Arm(name, (), self.refusals[name])
        if crashes and len(crashes) == len(found) and name != CONTROL:  # what the script cannot take is no failure
            return Arm(name, (), f"the script fails with it: {crashes[0]}")
        return Arm(name, tuple(_outcome(result) for _, result in found))


def _outcome(result: Result) -> Outcome:
    failed = result.failed or (None if math.isfinite(result.end) else "it ended with no finite number")
    run = (result.losses, result.seconds, result.memory)
    return Outcome(result.seed, result.end, *run, reach=result.reach, failed=failed)
