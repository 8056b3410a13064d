"""python -m benchmarks.clinic: run what has not been run yet, then the tables. `--help` says the rest."""

import argparse
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import clinic
from benchmarks.clinic import outpatient, tables
from benchmarks.clinic.cases import Pair, chosen


class Ledger:
    """What was run, a line of JSON a run; a later line of the same command takes the place of an earlier one."""

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.Lock()
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {row["command"]: row for row in map(json.loads, lines)}

    def add(self, row: dict[str, Any]) -> None:
        with self.lock, self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            self.rows[row["command"]] = row


def run(
    pairs: list[Pair], ledgers: dict[str, Ledger], visits: dict[str, Callable[[Pair, bool], dict]], jobs: int
) -> None:
    def visit(job: tuple[str, Pair, bool]) -> None:
        kind, pair, ill = job
        try:
            row = visits[kind](pair, ill)
        except Exception as error:
            print(f"{kind:8} {error}", file=sys.stderr, flush=True)
            return
        row.pop("stderr", None)
        ledgers[kind].add(row)
        said = ", ".join(f"{found['name']} ({found['severity']})" for found in row.get("findings", ()))
        state = "ill " if ill else "well"
        print(f"{kind:8} {row['seconds']:6.1f} s  {pair.name:26} {state} {row['score']:>8}  {said}", flush=True)

    # the first pair of every fault, then the second of each, ...: a run cut short has seen all faults
    todo = [
        (kind, pair, ill)
        for pair in sorted(pairs, key=lambda pair: pair.rank)
        for kind in visits
        for ill in (True, False)
        if " ".join(pair.command(ill)) not in ledgers[kind].rows
    ]
    with ThreadPoolExecutor(jobs) as workers:
        list(workers.map(visit, todo))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clinic",
        description=clinic.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="FAULT")
    parser.add_argument("--fold", choices=["open", "held-out"], help="default: both, each with a table of its own")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("clinic-results"), help="folder of the two ledgers")
    parser.add_argument(
        "--kind", choices=["plain", "watched"], help="only the runs without longreach, or only those with it"
    )
    parser.add_argument("--tables", action="store_true", help="run nothing")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    ledgers = {kind: Ledger(args.results / f"{kind}.jsonl") for kind in ("plain", "watched")}
    visits = {"plain": outpatient.plain, "watched": outpatient.watched}
    pairs = chosen(args.only, args.fold)
    if not args.tables:
        run(pairs, ledgers, {kind: visits[kind] for kind in visits if args.kind in (None, kind)}, args.jobs)
    print(tables.report(pairs, ledgers["plain"].rows, ledgers["watched"].rows))


if __name__ == "__main__":
    main()
