"""Who said what: recall and false alarms of each tool, with Clopper-Pearson intervals, and what was missed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.clinic.cases import Pair
from benchmarks.clinic.published import RIGHT, TOOLS
from scipy.stats import beta

OURS = "longreach"
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Visit:
    """One case: what each tool said; in `named` those whose word was right."""

    pair: Pair
    ill: bool
    score: str
    said: dict[str, list[str]]
    named: frozenset[str]

    @property
    def verdict(self) -> bool:
        """Whether our gravest finding is the right one."""
        return bool(self.said[OURS]) and self.said[OURS][0] in self.pair.hits


def interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper & Pearson 1934: exact limits of a share."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, count - hits + 1))
    high = 1.0 if hits == count else float(beta.ppf(1 - tail, hits + 1, count - hits))
    return low, high


def share(flags: Iterable[bool]) -> str:
    flags = list(flags)
    if not flags:
        return "0 of 0"
    low, high = interval(sum(flags), len(flags))
    return f"{sum(flags)} of {len(flags)} = {sum(flags) / len(flags):.0%} ({low:.0%} to {high:.0%})"


def alarms(row: dict[str, Any]) -> list[str]:
    """Our warnings and critical findings; what is for information only is no alarm."""
    return [finding["name"] for finding in row["findings"] if finding["severity"] != "info"]


def visits(pairs: list[Pair], plain: Rows, watched: Rows) -> tuple[list[Visit], list[str]]:
    """The cases of pairs whose outcomes bear out their labels, and sentences on the others."""
    found, remarks = [], []
    for pair in pairs:
        commands = [" ".join(pair.command(ill)) for ill in (True, False)]
        if any(command not in plain or command not in watched for command in commands):
            remarks.append(f"{pair.name}: not run yet")
            continue
        ill, well = (plain[command] for command in commands)
        if ill["solved"] or not well["solved"]:
            remarks.append(
                f"{pair.name}: outcomes do not bear out the labels: ill {ill['score']}, well {well['score']}"
            )
            continue
        for command, row in zip(commands, (ill, well), strict=True):
            if row["output"] != watched[command]["output"]:
                remarks.append(f"{pair.name}: prints something else when watched: {command}")
            said = {OURS: alarms(watched[command])} | {tool: row["published"].get(tool, []) for tool in TOOLS}
            right = {OURS: set(pair.hits)} | dict.fromkeys(TOOLS, RIGHT[pair.fault])
            named = frozenset(tool for tool in said if right[tool] & set(said[tool]))
            found.append(Visit(pair, row["ill"], row["score"], said, named))
    return found, remarks


def report(pairs: list[Pair], plain: Rows, watched: Rows) -> str:
    """Everything there is to say, in Markdown."""
    found, remarks = visits(pairs, plain, watched)
    parts = [f"# {len(found)} cases in {len(found) // 2} pairs"]
    for fold in ("open", "held-out"):
        there = [visit for visit in found if visit.pair.fold == fold]
        parts += [f"## Fold {fold}", _summary(there)] if there else []
    if found:
        parts += ["## Both folds", _summary(found), "## Recall by fault", _by_fault(found)]
        parts += ["## False alarms on healthy runs, by name", _false_alarms(found)]
        parts += ["## What longreach said of each fault", _confusion(found)]
        parts += ["## Missed by longreach", _missed(found)]
    return "\n\n".join(
        [*parts, *(["## Not counted, or odd", "\n".join(f"- {each}" for each in remarks)] if remarks else [])]
    )


def _summary(found: list[Visit]) -> str:
    rows = [
        "| tool | names the fault | says anything at all of an ill run | false alarms on healthy runs |",
        "|---|---|---|---|",
    ]
    ill, well = ([visit for visit in found if visit.ill is state] for state in (True, False))
    for tool in (OURS, *TOOLS):
        named, anything = share(tool in visit.named for visit in ill), share(bool(visit.said[tool]) for visit in ill)
        rows.append(f"| {tool} | {named} | {anything} | {share(bool(visit.said[tool]) for visit in well)} |")
    first = share(visit.verdict for visit in ill)
    return "\n".join(rows) + f"\n\nOf ill runs, the first word of {OURS}, its verdict, is right in {first}."


def _by_fault(found: list[Visit]) -> str:
    tools = (OURS, *TOOLS)
    rows = [f"| fault | {' | '.join(tools)} | {OURS}, open | {OURS}, held out |", "|---" * (len(tools) + 3) + "|"]
    for fault in dict.fromkeys(visit.pair.fault for visit in found):
        ill = [visit for visit in found if visit.ill and visit.pair.fault == fault]
        cells = [f"{sum(tool in visit.named for visit in ill)} of {len(ill)}" for tool in tools]
        cells[0] = share(OURS in visit.named for visit in ill)
        for fold in ("open", "held-out"):
            there = [visit for visit in ill if visit.pair.fold == fold]
            cells.append(f"{sum(OURS in visit.named for visit in there)} of {len(there)}")
        rows.append(f"| {fault} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _false_alarms(found: list[Visit]) -> str:
    rows = ["| tool | name | healthy runs |", "|---|---|--:|"]
    for tool in (OURS, *TOOLS):
        counts = Counter(name for visit in found if not visit.ill for name in visit.said[tool])
        rows += [f"| {tool} | {name} | {count} |" for name, count in counts.most_common()]
    runs = [
        f"- {visit.pair.name}: {', '.join(visit.said[OURS])}" for visit in found if not visit.ill and visit.said[OURS]
    ]
    return "\n".join(rows) + (f"\n\n{OURS}'s:\n\n" + "\n".join(runs) if runs else "")


def _confusion(found: list[Visit]) -> str:
    rows = ["| fault | runs | named in so many of them |", "|---|--:|---|"]
    for fault in (*dict.fromkeys(visit.pair.fault for visit in found), "healthy"):
        there = [v for v in found if (v.pair.fault == fault and v.ill) or (fault == "healthy" and not v.ill)]
        counts = Counter(name for visit in there for name in visit.said[OURS])
        silent = sum(not visit.said[OURS] for visit in there)
        told = [f"{name} {count}" for name, count in counts.most_common()]
        told += [f"nothing {silent}"] if silent else []
        rows.append(f"| {fault} | {len(there)} | {', '.join(told)} |")
    return "\n".join(rows)


def _missed(found: list[Visit]) -> str:
    missed = [visit for visit in found if visit.ill and OURS not in visit.named]
    lines = [
        f"- {visit.pair.name} ({visit.pair.fold}): said {', '.join(visit.said[OURS]) or 'nothing'}; "
        f"`{' '.join(visit.pair.command(True))}`"
        for visit in missed
    ]
    return "\n".join(lines) or "none"
