"""A watch over a training that somebody else's loop runs: from its first step to however it ends."""

import atexit
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from longreach.conclude import conclude
from longreach.diagnosis import diagnose
from longreach.folder import DIAGNOSIS, LOCK, RECORD, Claim
from longreach.history import history
from longreach.integrations.scalars import Run
from longreach.report import json
from longreach.report.aloud import say
from longreach.report.page.file import leave
from longreach.store import Store
from longreach.watching import Watch
from longreach.whole import write_whole


class Attached:
    """Watches from here on, all optimizers of the process, as `longreach run` does.

    model    what is trained
    folder   run folder, or one beside it with -2, -3 ... where it holds a run already; afterwards the one that was
             taken, None for a process that keeps nothing
    budget   share of the wall time that watching may cost
    writes   False for the other processes of one training: they watch along and keep nothing
    trainer  name and version of the library whose loop it is
    Raises   ArgumentError and RunFolderError, before anything is watched
    """

    def __init__(self, model: nn.Module, folder: Path, *, budget: float, writes: bool, trainer: tuple[str, str]):
        with ExitStack() as ends:
            self.folder = None
            if writes:
                claim = _claimed(folder.resolve())
                ends.callback(claim.release)
                self.folder = claim.folder
            self._store = Store.create(self.folder, claimed=True)
            ends.callback(self._store.close)
            self._watch = Watch(budget=budget, store=self._store)
            self._watch.learn_names(model)
            self._ends = ends.pop_all()
        versions = {"python": sys.version.split()[0], "torch": str(torch.__version__), trainer[0]: trainer[1]}
        self._store.put_meta(script=sys.argv[0], argv=sys.argv[1:], versions=versions, start=time.time())
        self._pid = os.getpid()
        self._watch.__enter__()
        atexit.register(self.finish)  # not every loop says that it was interrupted

    def finish(self, error: BaseException | None = None) -> Run | None:
        """Watch no longer; judge, and write diagnosis.json and report.html.

        error   what ended the training, if it did not end by itself
        Gives   None for a process that keeps nothing, and where judging fails, which is said on stderr
        """
        atexit.unregister(self.finish)
        if os.getpid() != self._pid:  # a forked worker at its end: the run is not its own
            return None
        self._watch.__exit__(type(error) if error else None, error, None)
        try:
            with self._ends:
                run = self._judged(error)
            if run is not None and run.folder is not None and (complaint := leave(run.folder)):
                say(f"longreach: {complaint}")
            return run
        except Exception as trouble:  # the training is over and right: no trouble of ours may replace its outcome
            say(f"longreach: judging failed ({type(trouble).__name__}: {trouble}); kept is {self.folder}")
            return None

    def _judged(self, error: BaseException | None) -> Run | None:
        self._store.put_meta(end=time.time(), finished=error is None)
        if error is not None:
            self._store.note(f"the training was ended by {type(error).__name__}: {error}")
        if self.folder is None:
            return None
        run = Run(diagnose(conclude(self._store)), history(self._store), self.folder)
        write_whole(self.folder / DIAGNOSIS, json.render(run.diagnosis).encode())
        return run


def _claimed(folder: Path) -> Claim:
    taken = any((folder / name).exists() for name in (LOCK, RECORD, DIAGNOSIS))
    return Claim.beside(folder) if taken else Claim(folder)
