"""Which remedies a script is to be tried with: those of its findings, in the order of the reach that they would give.

A course is one remedy or several that go together: "identity-init+clip-auto".
"""

from collections.abc import Mapping

from longreach.diagnosis import Diagnosis
from longreach.remedies import REMEDIES
from longreach.trial.runs import Result

COURSES = 6
# What goes with a remedy. What keeps the size of a gradient may let it grow as well, and wants a limit; gates that are
# put in want a start that remembers.
COMPANY = {
    **dict.fromkeys(
        ("identity-init", "orthogonal-init", "relu", "leaky-relu", "prelu", "elu", "selu", "skip"), "clip-norm"
    ),
    **dict.fromkeys(("lstm", "gru"), "forget-bias"),
}
LIMITS = ("clip-norm", "clip-auto")


def candidates(diagnosis: Diagnosis) -> list[str]:
    """Courses for all that was found, of the gravest finding first. Empty where the network is not at fault."""
    known = {remedy.name for remedy in REMEDIES}
    findings = sorted(diagnosis.findings, key=lambda finding: finding.gravity)
    names = [name for finding in findings if finding.severity != "info" for name in finding.remedies if name in known]
    return [course_of(name, diagnosis) for name in dict.fromkeys(names)]


def course_of(name: str, diagnosis: Diagnosis) -> str:
    """A remedy with what it wants beside it, unless the script has that."""
    company = COMPANY.get(name)
    if company is None or (company in LIMITS and diagnosis.record.clipping):
        return name
    return f"{name}+{company}"


def prescribed(courses: list[str], forecasts: Mapping[str, Result], need: int | None, most: int = COURSES) -> list[str]:
    """The courses to try: those that reach as far as the data need, then the others by reach; at most so many.

    Left out is what the script cannot take. Without a need beyond reach the order stays as it is.
    """
    fitting = [course for course in courses if course not in forecasts or forecasts[course].refused is None]
    if need is not None:
        wanted = need

        def shortfall(course: str) -> int:
            found = forecasts.get(course)
            return max(0, wanted - (found.reach or 0)) if found is not None and found.failed is None else wanted

        fitting.sort(key=shortfall)  # stable: among those that reach far enough, the finding's own order
    return fitting[:most]


def need_of(diagnosis: Diagnosis) -> int | None:
    """The need that lies beyond reach, of the gravest finding that says so; None if there is none."""
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.gravity):
        if finding.name == "vanishing-in-time":
            found = finding.evidence.get("need")
            return int(found) if isinstance(found, (int, float)) else None
    return None
