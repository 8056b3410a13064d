"""`longreach treat`: what helps a script, tried on the script itself."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch

from longreach import launch, ranks
from longreach.diagnosis import Diagnosis
from longreach.errors import ArgumentError, RunReadError, ScriptError
from longreach.record import Layer
from longreach.remedies import named
from longreach.report.aloud import say
from longreach.report.page.file import PAGE, leave
from longreach.report.trial_table import Board
from longreach.script import check_module, check_script
from longreach.trial import copies
from longreach.trial.metric import Metric
from longreach.trial.patch import Patch, patch_for
from longreach.trial.place import default_folder, held, kept_input, plan_of, within
from longreach.trial.pool import Pool
from longreach.trial.prescriptions import candidates, need_of, prescribed
from longreach.trial.proof import Arm, Proof, survivors
from longreach.trial.random_change import random_change
from longreach.trial.runs import CONTROL, Interrupted, Result, Runs, Script

AGAIN = "control-again"  # the control a second time, with the same seed
AGAIN_STEPS = 30
PATCHED_STEPS = 20
SAME = 1e-4  # of a loss: two steps of another gradient are further apart
SLOWEST = 12.0  # times what the control takes: longer is given up


@dataclass(frozen=True)
class Treated:
    """What `treat` found.

    diagnosis  of the script as it is
    need       beyond its reach; steps, None where the trouble is another
    proof      of what was tried; None if there was nothing to try
    patch      that makes the winner permanent; None without a winner
    same       whether the patched script's first losses are the winner's; None if that was not tried
    after      what was measured of the winner's layers; empty without a winner
    complete   False where it was interrupted
    folder     where everything is kept, as it is to be shown; `page`: there; empty where it could not be written
    """

    diagnosis: Diagnosis
    need: int | None
    forecasts: dict[str, Result]
    proof: Proof | None
    patch: Patch | None = None
    same: bool | None = None
    after: tuple[Layer, ...] = ()
    complete: bool = True
    folder: str = ""
    page: str = ""

    @property
    def helped(self) -> bool:
        """Whether a remedy is proven, or none is needed."""
        if self.proof is None:
            return not self.diagnosis.undecided
        return self.proof.winner is not None


def treat(
    script: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    steps: int = 1000,
    seeds: int = 5,
    jobs: int | None = None,
    remedies: Sequence[str] = (),
    metric: str = "loss",
    in_place: bool = False,
    folder: Path | None = None,
) -> Treated:
    """Try on a script, unmodified, the remedies that fit what is found in it; prove the best, and write its patch.

    script    path of a file, or with `module` what `python -m` would run; then its own arguments
    steps     every run ends after so many optimizer steps, or when the script does
    seeds     pairs of runs that the proof rests on
    jobs      runs at a time; None: one for each core, or for each GPU where there are any
    remedies  courses to try, "identity-init+clip-auto"; none: those that the diagnosis prescribes
    metric    "loss", or the name of a number that the script prints
    in_place  run in the working folder itself, not in copies of it
    folder    where everything is kept; None: one under longreach-runs/ that belongs to this very script and these
              arguments, so that the same command goes on where it stopped
    Cost      a run of the control and of every arm that is still in the race, for each seed
    Raises    ScriptError, ArgumentError, RunFolderError before anything is run; ScriptError if the control fails
    """
    _check(script, module, steps, seeds, jobs, remedies)
    home, cores = Path.cwd(), _cores()
    jobs = jobs or (torch.cuda.device_count() if torch.cuda.is_available() else cores)
    if not in_place:
        copies.check(home)
    plan = plan_of(script, arguments, module=module, steps=steps, metric=metric, home=home)
    folder = (folder or default_folder(plan)).resolve()
    with held(folder, plan):
        command = ("-m", script, *arguments) if module else (within(script, home), *arguments)
        runs = Runs(
            Script(
                tuple(command),
                ranks.starts_ranks(script),
                home,
                in_place,
                kept_input(folder),
                steps,
                Metric.named(metric),
                threads=max(1, cores // jobs),
            ),
            folder,
        )
        pool = Pool(runs, jobs, Board(seeds))
        with pool.board:
            try:
                found = _tried(pool, seeds, list(remedies))
            except Interrupted:
                raise KeyboardInterrupt from None
            finally:
                pool.close()
        _keep(folder, found)
    complaint = leave(folder)
    if complaint is not None:
        say(f"longreach: {complaint}")
    page = "" if complaint else os.path.relpath(folder / PAGE)
    return replace(found, folder=os.path.relpath(folder), page=page)


def _tried(pool: Pool, seeds: int, asked: list[str]) -> Treated:
    runs = pool.runs
    notes = _control(pool)
    diagnosis = launch.diagnose_run(runs.at(CONTROL, 0))
    need = need_of(diagnosis)
    courses = asked or candidates(diagnosis)
    if not courses:
        return Treated(diagnosis, need, {}, None)
    if seeds > 1:
        pool.ask(CONTROL, 1)
    forecasts: dict[str, Result] = {}
    if not asked:
        pool.board.says(f"measuring what {len(courses)} remedies would do to the reach")
        forecasts = runs.forecast(courses)
        courses = prescribed(courses, forecasts, need)
    random = _random_like(courses)
    try:
        proof = _rounds(pool, courses, random, seeds, notes)
        patch, same = _patched(pool, proof.winner.name) if proof.winner else (None, None)
        after = _layers(pool, proof.winner) if proof.winner else ()
    except KeyboardInterrupt:
        return Treated(diagnosis, need, forecasts, _proof(pool, courses, random, notes), complete=False)
    return Treated(diagnosis, need, forecasts, proof, patch, same, after)


def _layers(pool: Pool, winner: Arm) -> tuple[Layer, ...]:
    """Of the winner's first run, for the picture. Cost: that of judging it, about a second a recurrent module."""
    try:
        return launch.diagnose_run(pool.runs.at(winner.name, winner.outcomes[0].seed)).record.layers
    except RunReadError:  # somebody has cleared the folder: the proof stands without the picture
        return ()


def _control(pool: Pool) -> tuple[str, ...]:
    """Run the script as it is; what is to be said of its randomness."""
    pool.board.says("running the script as it is")
    again = min(AGAIN_STEPS, pool.runs.script.steps)
    pool.ask(CONTROL, 0, budget=0.02)
    pool.ask(AGAIN, 0, steps=again)
    control, twin = pool.get([(CONTROL, 0), (AGAIN, 0)])
    del pool.results[AGAIN, 0]
    if control.failed:
        raise ScriptError(_hopeless(control, pool.runs))
    if not math.isfinite(control.end) and pool.runs.script.metric.name != "loss":
        raise ArgumentError(
            f"--metric {pool.runs.script.metric.name}: expected a number of this name in what the script prints, "
            f"found none within {control.steps} steps; see {pool.runs.at(CONTROL, 0)}/output.txt"
        )
    pool.runs.patience = max(60.0, SLOWEST * control.wall)
    return () if _agree(control, twin) else (_loose(pool),)


def _loose(pool: Pool) -> str:
    """A script that is not the same twice under a seed: how far two whole runs of it end apart."""
    pool.ask(f"{AGAIN}-whole", 0)
    control, (whole,) = pool.results[CONTROL, 0], pool.get([(f"{AGAIN}-whole", 0)])
    del pool.results[whole.arm, 0]
    return (
        f"the script is not the same twice under one seed: two runs as it is end at {control.end:.4g} and "
        f"{whole.end:.4g}; runs are paired loosely, so more seeds may be needed (--seeds)"
    )


def _rounds(pool: Pool, courses: list[str], random: str, seeds: int, notes: tuple[str, ...]) -> Proof:
    """Successive halving over seeds: all courses meet the first seed, the better half the second one, and so on."""
    alive = courses
    for seed in range(seeds):
        pool.board.says(f"seed {seed + 1} of {seeds}: {', '.join(alive)}")
        wanted = [(arm, seed) for arm in (CONTROL, *alive, random)]
        for arm, number in wanted:
            pool.ask(arm, number)
        if seed + 1 < seeds:  # filled in where a core would wait
            for arm in (CONTROL, random, *alive[:1]):
                pool.ask(arm, seed + 1)
        pool.get(wanted)
        proof = _proof(pool, courses, random, notes)
        keep = max(2, math.ceil(len(courses) / 2 ** (seed + 1)))
        left = [arm for arm in survivors(proof, keep) if arm.name in alive]
        alive = [arm.name for arm in sorted(left, key=lambda arm: -fmean(proof.gain(arm).values()))]
        if not alive:
            break
    return _proof(pool, courses, random, notes)


def _proof(pool: Pool, courses: list[str], random: str, notes: tuple[str, ...]) -> Proof:
    script = pool.runs.script
    taken = max((result.steps for result in pool.results.values()), default=0)
    return Proof(
        pool.arm(CONTROL),
        pool.arm(random),
        tuple(pool.arm(course) for course in courses),
        metric=script.metric.name,
        higher_is_better=script.metric.larger,
        steps=taken,
        notes=notes,
    )


def _random_like(courses: list[str]) -> str:
    """A random change of every kind that the courses make."""
    tried = [named(name) for course in courses for name in course.split("+")]
    return "+".join(remedy.name for remedy in random_change(tried))


def _patched(pool: Pool, course: str) -> tuple[Patch | None, bool | None]:
    """The patch of the winner, and whether a script that was patched does what was tried."""
    runs, result = pool.runs, pool.results[course, 0]
    if result.made_file is None or result.made_line is None:
        return None, None
    copied = runs.at(course, 0) / "files"
    file = Path(result.made_file)
    if file.is_relative_to(copied):
        file = runs.script.home / file.relative_to(copied)
    patch = patch_for(file, result.made_line, [named(name) for name in course.split("+")])
    if patch.source is None or runs.script.in_place or not file.is_relative_to(runs.script.home):
        return patch, None
    pool.board.says("running the patched script")
    inside = file.relative_to(runs.script.home)
    tried = runs.run("control-patched", 0, steps=min(PATCHED_STEPS, runs.script.steps), change=(inside, patch.source))
    return patch, _agree(tried, result) and not tried.failed


def _agree(one: Result, other: Result) -> bool:
    """Whether two runs begin with the same losses, but for how torch's sums are rounded where memory lies otherwise."""
    pairs = zip(one.first, other.first, strict=False)
    return all(math.isclose(a, b, rel_tol=SAME) or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


# What has to be right before anything is run.


def _check(script: str, module: bool, steps: int, seeds: int, jobs: int | None, remedies: Sequence[str]) -> None:
    launch.check_interpreter()
    if module:
        check_module(script)
    elif script == "-":
        raise ScriptError("-: expected a script that can be run many times, got the standard input; save it to a file")
    else:
        check_script(script)
    for name, value, least in (("--steps", steps, 20), ("--seeds", seeds, 1), ("--jobs", jobs or 1, 1)):
        if value < least:
            raise ArgumentError(f"{name}: expected {least} or more, got {value}")
    for course in remedies:
        for name in course.split("+"):
            named(name)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hopeless(control: Result, runs: Runs) -> str:
    text = (runs.at(CONTROL, 0) / "errors.txt").read_text(encoding="utf-8", errors="replace")
    if "EOFError" in text:
        hint = "it reads from standard input: pipe in what it shall read"
    elif "usage:" in text:
        hint = "give it its own arguments, after its name"
    else:
        hint = f"see {runs.at(CONTROL, 0)}/errors.txt"
    return f"expected a script that runs as it is, got: {control.failed}; {hint}"


def _keep(folder: Path, found: Treated) -> None:
    if found.proof is not None:
        (folder / "proof.json").write_text(found.proof.to_json(), encoding="utf-8")
    if found.patch is not None and found.patch.diff:
        (folder / "patch.diff").write_text(found.patch.diff, encoding="utf-8")
