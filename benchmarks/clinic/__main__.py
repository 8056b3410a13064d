"""python -m benchmarks.clinic: run what has not been run yet, then the tables. `--help` says the rest."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import clinic
from benchmarks.clinic import outpatient, tables
from benchmarks.clinic.cases import Pair, chosen

Visit = Callable[[Pair, bool], dict[str, Any]]
# What every case imports. A process that has them in memory is forked for each case: none sees another.
WARM = ["torch", "torch._dynamo", "longreach.watching", "longreach.launch", "longreach.conclude", "longreach.diagnosis"]


class Ledger:
    """What was run, a line of JSON a run; a later line of the same command takes the place of an earlier one.

    A run of a script that has changed since counts as none.
    """

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [row for row in map(json.loads, lines) if row["source"] == outpatient.source(row["command"].split()[0])]
        self.rows: dict[str, dict[str, Any]] = {row["command"]: row for row in rows}

    def add(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[row["command"]] = row


def run(pairs: list[Pair], ledgers: dict[str, Ledger], visits: dict[str, Visit], jobs: int) -> None:
    """Make the visits that are in no ledger yet."""
    # the first pair of every fault, then the second of each, ...: a run cut short has seen all faults
    todo = [
        (kind, pair, ill)
        for pair in sorted(pairs, key=lambda pair: pair.rank)
        for kind in visits
        for ill in (True, False)
        if " ".join(pair.command(ill)) not in ledgers[kind].rows
    ]
    context = get_context("forkserver")
    context.set_forkserver_preload(WARM)
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=1) as workers:
        started = {workers.submit(visits[kind], pair, ill): (kind, pair, ill) for kind, pair, ill in todo}
        for done in as_completed(started):
            kind, pair, ill = started[done]
            if error := done.exception():
                print(f"{kind} {pair.name}: {' '.join(pair.command(ill))}: {error}", file=sys.stderr, flush=True)
                continue
            row = done.result()
            ledgers[kind].add(row)
            said = ", ".join(f"{found['name']} ({found['severity']})" for found in row.get("findings", ()))
            state = "ill " if ill else "well"
            print(f"{kind:8} {row['seconds']:6.1f} s  {pair.name:26} {state} {row['score']:>8}  {said}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clinic",
        description=clinic.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="FAULT")
    parser.add_argument("--fold", choices=["open", "held-out"], help="default: both, each with a table of its own")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("clinic-results"), help="folder of the ledgers")
    parser.add_argument("--launch", action="store_true", help="by the command `longreach run`, in a cold process")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    args = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # several cases run side by side
    args.results.mkdir(parents=True, exist_ok=True)
    ours = outpatient.launched if args.launch else outpatient.watched
    visits = {"plain": outpatient.plain, ours.__name__: ours}
    ledgers = {kind: Ledger(args.results / f"{kind}.jsonl") for kind in visits}
    pairs = chosen(args.only, args.fold)
    if not args.tables:
        run(pairs, ledgers, visits, args.jobs)
    print(tables.report(pairs, *(ledger.rows for ledger in ledgers.values())))


if __name__ == "__main__":
    main()
