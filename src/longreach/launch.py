"""`longreach run`: somebody's script in a process of its own, run by Python itself, and a verdict however it ends.

The script gets a process to itself so that os._exit, a crash in C, running out of memory or kill -9 end it and not us.
This side never imports torch: judging needs only what was stored.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from longreach import child, ranks
from longreach.child import Orders
from longreach.errors import LongreachError, RunReadError
from longreach.folder import DIAGNOSIS, RECORD, Claim
from longreach.interpreter import check_interpreter, die_with, interpreter_flags
from longreach.relay import relay
from longreach.report.aloud import say
from longreach.sampler import check_budget
from longreach.script import check_module, check_script

NO_TORCH = (
    "torch was never imported in the script's own process, so nothing was measured: expected a script that trains with "
    "PyTorch; if it starts another process that trains (torchrun, a launcher), run longreach on that one"
)
NO_STEP = (
    "no optimizer step was seen, so nothing was measured: expected torch.optim.Optimizer.step to be called in the "
    "script's own process; if it only evaluates, or ended before the first step, give it some training to do"
)


def run(
    script: str,
    arguments: Sequence[str] = (),
    *,
    module: bool = False,
    budget: float = 0.02,
    folder: Path | None = None,
    deep: bool = False,
    accelerate: bool = False,
    apply: Sequence[str] = (),
    quiet: bool = False,
) -> int:
    """Run `script` under watch, judge it, say the verdict on stderr; the script's own exit code, -N for signal N.

    script    path of a file, folder or archive that `python` would run; with `module`, what `python -m` would run
    budget    share of the wall time that watching may take; 1
    folder    run folder, new or empty; None: one of its own under longreach-runs/
    deep      afterwards look for what two inputs tell only together, and for long memory of the inputs
    accelerate  make the script's nn.RNN, nn.GRU and nn.LSTM those of longreach.nn
    apply     names of remedies: applied, as the script stands, where it makes its optimizer
    quiet     say nothing but errors
    """
    check_budget(budget)
    check_interpreter()
    _check_remedies(apply)
    command = ["-m", script, *arguments] if module else [script, *arguments]
    if ranks.rank() > 0:  # the first rank of this training has the folder and the last word
        return _run_child(command, child.environment(Orders("", budget, deep, accelerate, tuple(apply))))
    if module:
        check_module(script)
    else:
        check_script(script)
    name = script if module else Path(script).resolve().stem
    claim = Claim(folder.resolve()) if folder else Claim.default("stdin" if script == "-" else name)
    shown = str(folder or os.path.relpath(claim.folder))  # now: the script may take the current folder away
    started = time.time()
    orders = Orders(str(claim.folder), budget, deep, accelerate, tuple(apply))
    environment = child.environment(orders, launches=ranks.starts_ranks(script))
    code = _run_child(command, environment)
    # From here on the outcome is the script's: no trouble of ours may replace it.
    try:
        try:
            complaints = _close_record(claim.folder, [script, *arguments], started, code)
            if deep:
                _deepen(claim.folder, quiet)
            _judge(claim.folder, shown, complaints, quiet)
        finally:
            claim.release()
        _show(claim.folder, shown, quiet or bool(complaints))
        if not quiet:
            say(f"run folder: {shown}")
    except LongreachError as error:
        say(f"longreach: {error}")
    except KeyboardInterrupt:
        say(f"longreach: judging was interrupted; `longreach report {shown}` does it again")
    except Exception as error:
        say(f"longreach: judging failed ({type(error).__name__}: {error}); what was measured is kept in {shown}")
    return code


def leave(code: int) -> None:
    """End this process the way the script ended: with its exit code, or of the same signal."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the script has left a core, if one was wanted
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        code = 128 - code  # still here: process 1 of a container dies of no signal of its own
    sys.exit(code)


def _check_remedies(names: Sequence[str]) -> None:
    if names:
        from longreach.remedies import named  # torch behind it: only if there is something to look up

        for name in names:
            named(name)


def _run_child(command: list[str], environment: dict[str, str]) -> int:
    with relay() as signals:
        script = subprocess.Popen(
            [sys.executable, *interpreter_flags(), *command],
            env=environment,
            close_fds=False,  # what the shell meant for the script: `longreach run /dev/fd/63`
            preexec_fn=die_with(os.getpid()),
        )
        signals.to(script.pid)
        os.waitid(os.P_PID, script.pid, os.WEXITED | os.WNOWAIT)
        signals.stop()
        return script.wait()


def _deepen(folder: Path, quiet: bool) -> None:
    """What takes too long for every run; whatever goes wrong in it, the verdict does without it."""
    from longreach.deepening import deepen
    from longreach.report.progress import progress
    from longreach.store import Store

    store = Store.open(folder, writing=True)
    try:
        with progress("looking for inputs that count together", shown=not quiet) as tell:
            deepen(store, tell)
    except KeyboardInterrupt:
        say("longreach: the deep test was interrupted; the verdict does without it")
    except Exception as error:
        say(f"longreach: the deep test failed ({type(error).__name__}: {error}); the verdict does without it")
    finally:
        store.close()


def _judge(folder: Path, shown: str, complaints: list[str], quiet: bool) -> None:
    from longreach.report import json

    diagnosis = diagnose_run(folder)
    try:
        (folder / DIAGNOSIS).write_text(json.render(diagnosis), encoding="utf-8")
    except OSError as error:
        say(f"longreach: {shown}/{DIAGNOSIS} could not be written: {error.strerror}; the verdict is not kept")
    if not quiet:
        for complaint in complaints:
            say(f"longreach: {complaint}")
        if not complaints and sys.stderr is not None:
            say("\n" + draw(diagnosis, sys.stderr).rstrip("\n"))


def _show(folder: Path, shown: str, quiet: bool) -> None:
    """The page, made when the run is over, so that it says so."""
    from longreach.report.page.file import PAGE, leave

    complaint = leave(folder)
    if complaint is not None:
        say(f"longreach: {complaint}")
    elif not quiet:
        say(f"page: {shown}/{PAGE}")


def read_run(folder: Path):
    """The diagnosis of a run folder: as it was written when the run was judged, else from what is stored so far."""
    from longreach.report import json

    if (folder / DIAGNOSIS).is_file():
        with contextlib.suppress(RunReadError, OSError, UnicodeDecodeError):  # cut off, or of another version
            return json.load((folder / DIAGNOSIS).read_text(encoding="utf-8"))
    return diagnose_run(folder)


def diagnose_run(folder: Path):
    """The diagnosis of what is stored in a run folder, of a run that is over or still going on."""
    from longreach.conclude import conclude
    from longreach.diagnosis import diagnose
    from longreach.store import Store

    store = Store.open(folder)
    try:
        return diagnose(conclude(store))
    finally:
        store.close()


def draw(diagnosis, stream) -> str:
    """The terminal report in the width, colours and letters that `stream` can show."""
    from longreach.report import terminal
    from longreach.report.screen import Screen

    screen = Screen.of(stream)
    return terminal.render(diagnosis, width=screen.width, color=screen.color, ascii=screen.ascii)


def _close_record(folder: Path, command: list[str], started: float, code: int) -> list[str]:
    """Add to the record how the script ended; if nothing was measured at all, why not, in sentences for the user."""
    from longreach.store import Store

    if (folder / RECORD).exists():
        store = Store.open(folder, writing=True)
        why = None if store.meta().get("steps") else NO_STEP
        if why and any(note.startswith(NO_STEP[:26]) for note in store.notes()):
            why = None  # the watch has said so in its own words
    else:
        store = Store.create(folder, claimed=True)
        store.put_meta(script=command[0], argv=command[1:], versions={"python": sys.version.split()[0]}, start=started)
        why = NO_TORCH
    try:
        store.put_meta(exit=code, ended=time.time())
        if why:
            store.note(why)
        return [] if store.meta().get("steps") else store.notes()
    finally:
        store.close()
