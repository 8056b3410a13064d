"""How a script is started by the interpreter that runs us, and ends with us."""

import os
import signal
import sys
from collections.abc import Callable

from longreach.errors import ArgumentError


def check_interpreter() -> None:
    """Raise ArgumentError where this interpreter was told to ignore what a script is watched by."""
    flags = {"-I": sys.flags.isolated, "-E": sys.flags.ignore_environment, "-S": sys.flags.no_site}
    if came := [flag for flag, is_set in flags.items() if is_set]:
        raise ArgumentError(
            f"python {' '.join(came)}: expected an interpreter that reads PYTHONPATH and the site packages, for that "
            "is how the script is watched; start longreach without these flags"
        )


def interpreter_flags() -> list[str]:
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


def die_with(parent: int) -> Callable[[], None] | None:
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
