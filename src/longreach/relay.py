"""Signals for a script in a child process: what reaches this process alone is handed on, what reaches both is not."""

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# How long the witness may take to tell that it got a signal too: long for a scheduler, short for a human.
_PATIENCE = 0.5


class Relay:
    """Outlives the signals that end a script, so that a verdict can follow.

    Ctrl-C, or a signal to the whole process group, reaches the script as well: handing it on would give it twice, and
    the second would interrupt the script's own clean-up. A signal to this process alone has to be handed on. The two
    look alike from here; so a witness, a process that does nothing else, sits in the group: what it has not seen was
    for this process alone.
    """

    def __init__(self, witness: int, reports: int):
        self._witness = witness
        self._reports = reports
        self._script: int | None = None
        self._early: list[int] = []
        self._reported: list[int] = []

    def to(self, script: int) -> None:
        """Hand signals on to the process `script` from here on, and those that came before it was there."""
        self._script = script
        for number in self._early:
            os.kill(script, number)

    def stop(self) -> None:
        """Hand nothing on any more: the process is gone, and its number may soon be another's."""
        self._script = None

    def _receive(self, number: int, frame: object) -> None:
        if self._seen_by_witness(number):
            return
        if self._script is None:
            self._early.append(number)
            return
        os.kill(self._script, number)

    def _seen_by_witness(self, number: int) -> bool:
        while number not in self._reported:
            if not select.select([self._reports], [], [], _PATIENCE)[0]:
                return False
            report = os.read(self._reports, 64)
            if not report:  # the witness itself was killed
                return False
            self._reported.extend(report)
        self._reported.remove(number)
        return True


@contextmanager
def relay() -> Iterator[Relay]:
    """Signals that would end this process are received and, where need be, handed on, until the block is left."""
    # What was ignored when we were started (nohup) is ignored by the script too, as Python would have it.
    watched = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    reports, report = os.pipe()
    life, hold = os.pipe()
    witness = os.fork()
    if witness == 0:
        os.close(hold)
        _witness(watched, mask, report, life)
    os.close(report)
    os.close(life)
    this = Relay(witness, reports)
    before = {number: signal.signal(number, this._receive) for number in watched}
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield this
    finally:
        os.close(hold)  # the witness reads the end of it and leaves
        os.waitpid(witness, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reports)


def _witness(watched: list[signal.Signals], mask: Iterable[int], report: int, life: int) -> None:
    try:
        for number in watched:
            signal.signal(number, lambda number, frame: os.write(report, bytes([number])))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.read(life, 1)  # returns when the parent is gone, however it went
    finally:
        os._exit(0)
