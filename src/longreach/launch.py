"""`longreach run`: somebody's script in a process of its own, run by Python itself, and a verdict however it ends.

The script gets a process to itself so that os._exit, a crash in C, running out of memory or kill -9 end it and not us.
This side never imports torch: judging needs only what was stored.
"""

import importlib.machinery
import importlib.util
import os
import resource
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from longreach import child
from longreach.errors import ArgumentError, LongreachError, ScriptError
from longreach.folder import DIAGNOSIS, RECORD, Claim
from longreach.relay import relay

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
    quiet: bool = False,
) -> int:
    """Run `script` under watch, judge it, say the verdict on stderr; the script's own exit code, -N for signal N.

    script    path of a file, folder or archive that `python` would run; with `module`, what `python -m` would run
    budget    share of the wall time that watching may take; 1
    folder    run folder, new or empty; None: one of its own under longreach-runs/
    quiet     say nothing but errors
    """
    _check_budget(budget)
    _check_interpreter()
    if module:
        _check_module(script)
    else:
        _check_script(script)
    name = script if module else Path(script).resolve().stem
    claim = Claim(folder.absolute()) if folder else Claim.default("stdin" if script == "-" else name)
    command = [script, *arguments]
    started = time.time()
    code = _run_child(["-m", *command] if module else command, claim.folder, budget)
    # From here on the outcome is the script's: no trouble of ours may replace it.
    try:
        _judge(claim.folder, command, started, code, quiet)
    except LongreachError as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say(f"judging was interrupted; `longreach report {claim.folder}` does it again")
    except Exception as error:
        _say(f"judging failed ({type(error).__name__}: {error}); what was measured is kept in {claim.folder}")
    claim.release()
    return code


def leave(code: int) -> None:
    """End this process the way the script ended: with its exit code, or of the same signal."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the script has left a core, if one was wanted
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
        code = 128 - code  # still here: process 1 of a container dies of no signal of its own
    sys.exit(code)


def _check_budget(budget: float) -> None:
    if not 0 < budget <= 1:
        raise ArgumentError(f"budget: expected a share of the wall time in (0, 1], got {budget}; the default is 0.02")


def _check_interpreter() -> None:
    flags = {"-I": sys.flags.isolated, "-E": sys.flags.ignore_environment, "-S": sys.flags.no_site}
    if came := [flag for flag, is_set in flags.items() if is_set]:
        raise ArgumentError(
            f"python {' '.join(came)}: expected an interpreter that reads PYTHONPATH and the site packages, for that "
            "is how the script is watched; start longreach without these flags"
        )


def _check_module(name: str) -> None:
    """The outermost package only: to look further into it would run its code here, and Python will say it itself."""
    top = name.partition(".")[0]
    here = importlib.machinery.PathFinder.find_spec(top, [os.getcwd()]) if top else None
    if not top or (here is None and importlib.util.find_spec(top) is None):
        raise ScriptError(
            f"-m {name}: expected a module that can be imported, found no {top!r} in {os.getcwd()} "
            "or on sys.path; run from the folder that contains it, or install it"
        )


def _check_script(script: str) -> None:
    path = Path(script)
    wanted = "expected a Python script"
    if script == "-":
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ScriptError(f"{script}: {wanted}, got: {error.strerror}; check the path") from None
    if stat.S_ISDIR(mode):
        if not any((path / f"__main__{suffix}").is_file() for suffix in (".py", ".pyc")):
            raise ScriptError(f"{script}: {wanted}, got a folder without __main__.py; name the script inside it")
        return
    if not stat.S_ISREG(mode):
        return  # a pipe can be read only once, and that is the script's interpreter's to do
    try:
        with path.open("rb") as file:
            start = file.read(8192)
    except OSError as error:
        raise ScriptError(f"{script}: {wanted}, got: {error.strerror}; check its permissions") from None
    if zipfile.is_zipfile(path):
        if not {"__main__.py", "__main__.pyc"} & set(zipfile.ZipFile(path).namelist()):
            raise ScriptError(f"{script}: {wanted}, got an archive without __main__.py; name the script itself")
    elif b"\0" in start and not start.startswith(importlib.util.MAGIC_NUMBER):
        raise ScriptError(f"{script}: {wanted}, got a binary file; name the .py file that trains")


def _run_child(command: list[str], folder: Path, budget: float) -> int:
    with relay() as signals:
        script = subprocess.Popen(
            [sys.executable, *_interpreter_flags(), *command],
            env=child.environment(str(folder), budget),
            close_fds=False,  # what the shell meant for the script: `longreach run /dev/fd/63`
            preexec_fn=_die_with(os.getpid()),
        )
        signals.to(script.pid)
        os.waitid(os.P_PID, script.pid, os.WEXITED | os.WNOWAIT)
        signals.stop()
        return script.wait()


def _interpreter_flags() -> list[str]:
    """The options that this interpreter was started with, as they were written: `python -u -W error -m longreach`."""
    flags: list[str] = []
    words = iter(sys.orig_argv[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return flags
        if word.startswith("--"):
            flags += [word, next(words)]  # --check-hash-based-pycs MODE is the only one
            continue
        for at, letter in enumerate(word[1:], start=1):
            if letter in "mc":  # the program follows
                return [*flags, word[:at]] if at > 1 else flags
            if letter in "WX":
                flags += [word] if word[at + 1 :] else [word, next(words)]
                break
        else:
            flags.append(word)
    return flags


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the new process does first, so that a kill -9 of this one leaves no script behind; None where it cannot."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; kept across exec
        if os.getppid() != parent:  # it died before we could ask
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent


def _judge(folder: Path, command: list[str], started: float, code: int, quiet: bool) -> None:
    complaints = _close_record(folder, command, started, code)
    diagnosis = diagnose_run(folder)
    from longreach.report import json

    try:
        (folder / DIAGNOSIS).write_text(json.render(diagnosis), encoding="utf-8")
    except OSError as error:
        _say(f"{folder / DIAGNOSIS} could not be written: {error.strerror}; the verdict follows, and is not kept")
    if quiet:
        return
    for complaint in complaints:
        _say(complaint)
    if not complaints:
        print(draw(diagnosis, sys.stderr), end="", file=sys.stderr)
    print(f"run folder: {_short(folder)}", file=sys.stderr)


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
    """The terminal report in the width, colours and letters that `stream` can show (no-color.org)."""
    from longreach.report import terminal

    shown = stream.isatty()
    return terminal.render(
        diagnosis,
        width=os.get_terminal_size(stream.fileno()).columns or 80 if shown else 80,
        color=shown and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        ascii=not stream.encoding.lower().startswith("utf"),
    )


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


def _short(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _say(message: str) -> None:
    print(f"longreach: {message}", file=sys.stderr)
