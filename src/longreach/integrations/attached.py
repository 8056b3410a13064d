"""A watch over a training that somebody else's loop runs: from its first step to however it ends."""

import atexit
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import nn

from longreach.conclude import conclude
from longreach.diagnosis import diagnose
from longreach.folder import DIAGNOSIS, Claim
from longreach.history import history
from longreach.integrations.scalars import Run
from longreach.report import json
from longreach.report.aloud import say
from longreach.store import Store
from longreach.watching import Watch


class Attached:
    """Watches from here on, all optimizers of the process, as `longreach run` does.

    model    what is trained
    folder   run folder, or one beside it with -2, -3 ... where it is there already; afterwards the one that was taken,
             None for a process that keeps nothing
    budget   share of the run time that watching may cost
    writes   False for the other processes of one training: they watch along and keep nothing
    trainer  name and version of the library whose loop it is
    Raises   ArgumentError and RunFolderError, before anything is watched
    """

    def __init__(self, model: nn.Module, folder: Path, *, budget: float, writes: bool, trainer: tuple[str, str]):
        with ExitStack() as ends:
            self.folder = self._claimed(folder.resolve(), ends) if writes else None
            self._store = Store.create(self.folder, claimed=True)
            ends.callback(self._store.close)
            self._watch = Watch(budget=budget, store=self._store)
            self._watch.learn_names(model)
            self._ends = ends.pop_all()
        versions = {"python": sys.version.split()[0], "torch": str(torch.__version__), trainer[0]: trainer[1]}
        self._store.put_meta(script=sys.argv[0], argv=sys.argv[1:], versions=versions, start=time.time())
        self._watch.__enter__()
        atexit.register(self.finish)  # not every loop says that it was interrupted

    @staticmethod
    def _claimed(folder: Path, ends: ExitStack) -> Path:
        claim = Claim.beside(folder)
        ends.callback(claim.release)
        return claim.folder

    def finish(self, error: BaseException | None = None) -> Run | None:
        """Watch no longer; judge, and write diagnosis.json.

        error   what ended the training, if it did not end by itself
        Gives   None for a process that keeps nothing, and where judging fails, which is said on stderr
        """
        atexit.unregister(self.finish)
        self._watch.__exit__(type(error) if error else None, error, None)
        self._store.put_meta(end=time.time(), finished=error is None)
        if error is not None:
            self._store.note(f"the training was ended by {type(error).__name__}: {error}")
        try:
            return self._judged()
        except Exception as trouble:  # the training is over and right: no trouble of ours may replace its outcome
            say(f"longreach: judging failed ({type(trouble).__name__}: {trouble}); kept is {self.folder}")
            return None
        finally:
            self._ends.close()

    def _judged(self) -> Run | None:
        if self.folder is None:
            return None
        run = Run(diagnose(conclude(self._store)), history(self._store), self.folder)
        (self.folder / DIAGNOSIS).write_text(json.render(run.diagnosis), encoding="utf-8")
        return run
