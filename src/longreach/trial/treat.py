"""`longreach treat`: what helps a script, tried on the script itself."""

import fcntl
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import torch

from longreach import __version__, launch, ranks
from longreach.diagnosis import Diagnosis
from longreach.errors import ArgumentError, RunFolderError, ScriptError
from longreach.remedies import CONTROLS, named
from longreach.report.trial_table import Board
from longreach.script import check_module, check_script
from longreach.trial import copies
from longreach.trial.metric import Metric
from longreach.trial.patch import Patch, patch_for
from longreach.trial.prescriptions import candidates, need_of, prescribed
from longreach.trial.proof import Arm, Outcome, Proof, survivors
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
    complete   False where it was interrupted
    folder     where everything is kept, as it is to be shown
    """

    diagnosis: Diagnosis
    need: int | None
    forecasts: dict[str, Result]
    proof: Proof | None
    patch: Patch | None = None
    same: bool | None = None
    complete: bool = True
    folder: str = ""

    @property
    def helped(self) -> bool:
        """Whether a remedy is proven, or none is needed."""
        if self.proof is None:
            return not self.diagnosis.undecided
        return self.proof.winner is not None


@dataclass
class Trial:
    """Runs of a script, many at a time, towards a proof."""

    runs: Runs
    jobs: int
    board: Board
    results: dict[tuple[str, int], Result] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self._pool = ThreadPoolExecutor(self.jobs)
        self._asked: dict[tuple[str, int], Future[Result]] = {}

    def ask(self, arm: str, seed: int, **options) -> None:
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

    def _run(self, arm: str, seed: int, options: dict) -> Result:
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
            return Arm(name, (), f"the script raises with it: {crashes[0]}")
        return Arm(name, tuple(_outcome(result) for _, result in found))


def _outcome(result: Result) -> Outcome:
    failed = result.failed or (None if math.isfinite(result.end) else "it ended with no finite number")
    run = (result.losses, result.seconds, result.memory)
    return Outcome(result.seed, result.end, *run, reach=result.reach, failed=failed)


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
    plan = _plan(script, arguments, module, steps, metric, home)
    folder = (folder or Path("longreach-runs", f"treat-{plan['name']}-{_digest(plan)}")).resolve()
    with _held(folder, plan):
        command = ("-m", script, *arguments) if module else (_within(script, home), *arguments)
        runs = Runs(
            Script(
                tuple(command),
                ranks.starts_ranks(script),
                home,
                in_place,
                _stdin(folder),
                steps,
                Metric.named(metric),
                threads=max(1, cores // jobs),
            ),
            folder,
        )
        trial = Trial(runs, jobs, Board(seeds))
        with trial.board:
            try:
                found = _tried(trial, seeds, list(remedies))
            except Interrupted:
                raise KeyboardInterrupt from None
            finally:
                trial.close()
        _keep(folder, found)
    return replace(found, folder=os.path.relpath(folder))


def _tried(trial: Trial, seeds: int, asked: list[str]) -> Treated:
    runs = trial.runs
    notes = _control(trial)
    diagnosis = launch.diagnose_run(runs.at(CONTROL, 0))
    need = need_of(diagnosis)
    courses = asked or candidates(diagnosis)
    if not courses:
        return Treated(diagnosis, need, {}, None)
    trial.ask(CONTROL, 1)
    forecasts: dict[str, Result] = {}
    if not asked:
        trial.board.says(f"measuring what {len(courses)} remedies would do to the reach")
        forecasts = runs.forecast(courses)
        courses = prescribed(courses, forecasts, need)
    random = _random_like(courses)
    proof, complete = _proof(trial, courses, random, notes), True
    try:
        proof = _rounds(trial, courses, random, seeds, notes)
    except KeyboardInterrupt:
        proof, complete = _proof(trial, courses, random, notes), False
    winner = proof.winner
    if winner is None or not complete:
        return Treated(diagnosis, need, forecasts, proof, complete=complete)
    patch, same = _patched(trial, winner.name)
    return Treated(diagnosis, need, forecasts, proof, patch, same)


def _control(trial: Trial) -> tuple[str, ...]:
    """Run the script as it is; what is to be said of its randomness."""
    trial.board.says("running the script as it is")
    again = min(AGAIN_STEPS, trial.runs.script.steps)
    trial.ask(CONTROL, 0, budget=0.02)
    trial.ask(AGAIN, 0, steps=again)
    control, twin = trial.get([(CONTROL, 0), (AGAIN, 0)])
    del trial.results[AGAIN, 0]
    if control.failed:
        raise ScriptError(_hopeless(control, trial.runs))
    if not math.isfinite(control.end) and trial.runs.script.metric.name != "loss":
        raise ArgumentError(
            f"--metric {trial.runs.script.metric.name}: expected a number of this name in what the script prints, "
            f"found none within {control.steps} steps; see {trial.runs.at(CONTROL, 0)}/output.txt"
        )
    trial.runs.patience = max(60.0, SLOWEST * control.wall)
    return () if _agree(control, twin) else (_loose(trial),)


def _loose(trial: Trial) -> str:
    """A script that is not the same twice under a seed: how far two whole runs of it end apart."""
    trial.ask(f"{AGAIN}-whole", 0)
    control, (whole,) = trial.results[CONTROL, 0], trial.get([(f"{AGAIN}-whole", 0)])
    del trial.results[whole.arm, 0]
    return (
        f"the script is not the same twice under one seed: two runs as it is end at {control.end:.4g} and "
        f"{whole.end:.4g}; runs are paired loosely, so more seeds may be needed (--seeds)"
    )


def _rounds(trial: Trial, courses: list[str], random: str, seeds: int, notes: tuple[str, ...]) -> Proof:
    """Successive halving over seeds: all courses meet the first seed, the better half the second one, and so on."""
    alive = courses
    for seed in range(seeds):
        trial.board.says(f"seed {seed + 1} of {seeds}: {', '.join(alive)}")
        wanted = [(arm, seed) for arm in (CONTROL, *alive, random)]
        for arm, number in wanted:
            trial.ask(arm, number)
        if seed + 1 < seeds:  # filled in where a core would wait
            for arm in (CONTROL, random, *alive[:1]):
                trial.ask(arm, seed + 1)
        trial.get(wanted)
        proof = _proof(trial, courses, random, notes)
        keep = max(2, math.ceil(len(courses) / 2 ** (seed + 1)))
        left = [arm for arm in survivors(proof, keep) if arm.name in alive]
        alive = [arm.name for arm in sorted(left, key=lambda arm: -fmean(proof.gain(arm).values()))]
        if not alive:
            break
    return _proof(trial, courses, random, notes)


def _proof(trial: Trial, courses: list[str], random: str, notes: tuple[str, ...]) -> Proof:
    script = trial.runs.script
    taken = max((result.steps for result in trial.results.values()), default=0)
    return Proof(
        trial.arm(CONTROL),
        trial.arm(random),
        tuple(trial.arm(course) for course in courses),
        metric=script.metric.name,
        higher_is_better=script.metric.larger,
        steps=taken,
        notes=notes,
    )


def _random_like(courses: list[str]) -> str:
    """A random change of every kind that the courses make."""
    moments = {named(name).moment for course in courses for name in course.split("+")}
    return "+".join(control.name for control in CONTROLS if control.moment in moments) or CONTROLS[0].name


def _patched(trial: Trial, course: str) -> tuple[Patch | None, bool | None]:
    """The patch of the winner, and whether a script that was patched does what was tried."""
    runs, result = trial.runs, trial.results[course, 0]
    if result.made_file is None or result.made_line is None:
        return None, None
    copied = runs.at(course, 0) / "files"
    file = Path(result.made_file)
    if file.is_relative_to(copied):
        file = runs.script.home / file.relative_to(copied)
    patch = patch_for(file, result.made_line, [named(name) for name in course.split("+")])
    if patch.source is None or runs.script.in_place or not file.is_relative_to(runs.script.home):
        return patch, None
    trial.board.says("running the patched script")
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


def _within(script: str, home: Path) -> str:
    """The script's path as it is in a copy of the working folder; one from elsewhere is run where it is."""
    path = Path(script).resolve()
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _plan(
    script: str, arguments: Sequence[str], module: bool, steps: int, metric: str, home: Path
) -> dict[str, object]:
    """All that makes one trial the same as another, so that runs of one count for the other."""
    path = Path(script)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() and not module else ""
    return {
        "name": script if module else path.resolve().stem,
        "home": str(home),
        "script": script,
        "source": hashlib.sha256(text.encode()).hexdigest(),
        "arguments": list(arguments),
        "steps": steps,
        "metric": metric,
        "version": __version__,
    }


def _digest(plan: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]


@contextmanager
def _held(folder: Path, plan: dict[str, object]):
    """The trial's folder: ours alone, and of this plan."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / copies.LOCK).open("w")
    except OSError as error:
        raise RunFolderError(f"folder {folder}: expected one that can be written, got: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunFolderError(f"folder {folder}: another trial is writing there right now; wait for it") from None
        except OSError:
            pass  # a network disk without locks
        kept = folder / "plan.json"
        if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != plan:
            raise RunFolderError(
                f"folder {folder}: expected a new one, or one of the same script, arguments, steps and metric; it "
                "holds another trial; choose another with --run-dir"
            )
        kept.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        yield


def _stdin(folder: Path) -> Path | None:
    """What comes in by a pipe, kept so that every run can read it; nothing from a terminal."""
    kept = folder / "stdin"
    if kept.is_file():
        return kept
    if sys.stdin is None or sys.stdin.isatty() or not _is_fed():
        return None
    kept.write_bytes(sys.stdin.buffer.read())
    return kept


def _is_fed() -> bool:
    """Whether standard input is a pipe or a file that holds something; not /dev/null, nor a pipe nobody writes to."""
    import select
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return True
    return stat.S_ISFIFO(mode) and bool(select.select([sys.stdin], [], [], 0.5)[0])


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
