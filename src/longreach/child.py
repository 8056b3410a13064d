"""The script's side of `longreach run`: watches it from the moment it has imported torch until its process ends.

Nothing is imported here that a script may want to set up first: no torch, no numpy (both read OMP_NUM_THREADS and its
kind once, when they are loaded).
"""

import atexit
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec

from longreach import ranks

ORDERS = "LONGREACH_ORDERS"
PYTHONPATH, LAUNCHES = "LONGREACH_PYTHONPATH", "LONGREACH_LAUNCHES"


@dataclass(frozen=True)
class Orders:
    """What is to happen in the process of a script.

    folder      run folder; "" for none
    budget      share of the wall time that watching may take
    deep        keep what the deep test needs
    accelerate  torch's recurrent layers become ours
    apply       names of remedies, applied where the script makes its optimizer
    seed        number of the trial: shifts every seed that the script sets; None: the script's own randomness
    steps       the process ends after so many optimizer steps; 0: when the script does
    forecasts   courses of remedies, "a+b", each to be tried in a copy of the process, its record in folder/"a+b"
    """

    folder: str
    budget: float
    deep: bool = False
    accelerate: bool = False
    apply: tuple[str, ...] = ()
    seed: int | None = None
    steps: int = 0
    forecasts: tuple[str, ...] = ()


def environment(orders: Orders, *, launches: bool = False) -> dict[str, str]:
    """The environment, for the script's process, that makes `begin` run there; `begin` takes its traces away.

    launches  the script starts the processes that train, and `begin` is for those
    """
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
    theirs = os.environ.get("PYTHONPATH")
    env = {**os.environ, LAUNCHES: "yes" if launches else "no", ORDERS: json.dumps(asdict(orders))}
    if theirs is not None:
        env[PYTHONPATH] = theirs
    env["PYTHONPATH"] = here + os.pathsep + theirs if theirs else here
    return env


def begin() -> None:
    """Called once, before the script's first line."""
    if os.environ[LAUNCHES] == "yes" and "RANK" not in os.environ:
        return  # this is the launcher itself, whose workers inherit its environment
    del os.environ[LAUNCHES]
    orders = Orders(**json.loads(os.environ.pop(ORDERS)))
    del os.environ["PYTHONPATH"]
    if PYTHONPATH in os.environ:
        os.environ["PYTHONPATH"] = os.environ.pop(PYTHONPATH)
    session = _Session(orders)
    atexit.register(session.finish)  # the first registered is the last to run: the script's own come before
    # Forked workers end by os._exit as well; `finish` does nothing in them.
    leave = os._exit

    def _exit(status: int):
        session.finish()
        leave(status)

    _exit.__doc__ = leave.__doc__
    os._exit = _exit
    sys.meta_path.insert(0, _AfterTorch(session))


class _Session:
    """The watch over one script, from torch's import to the end of the process."""

    def __init__(self, orders: Orders):
        self.orders = orders
        self.process = os.getpid()
        self.watch = None
        self.store = None

    def attach(self) -> None:
        """Start watching. Whatever goes wrong in here, the script goes on."""
        started = time.time()
        try:
            from pathlib import Path

            from longreach.store import Store

            first = ranks.rank() == 0
            folder = Path(self.orders.folder) if first and self.orders.folder else None
            self.store = Store.create(folder, claimed=True, deep=self.orders.deep)
            self.store.put_meta(
                script=sys.argv[0],
                argv=sys.argv[1:],
                versions={"python": sys.version.split()[0], "torch": str(sys.modules["torch"].__version__)},
                start=started,
            )
            self.store.commit()
            from longreach.watching import Watch

            watch = Watch(budget=self.orders.budget, store=self.store)
            watch.__enter__()
            self.watch = watch
        except Exception as error:
            self._lost("the watch could not start, the script goes on without it", error)

        if self.orders.accelerate:
            try:
                from longreach.nn.accelerating import stand_in_for_torch

                stand_in_for_torch()
            except Exception as error:
                self._lost("the layers could not be replaced, the script runs with torch's own", error)
        if self.orders.seed is not None:
            from longreach.trial.seeding import seed_all

            seed_all(self.orders.seed)
        if self.orders.steps:
            self._stop_after(self.orders.steps)
        if self.orders.apply or self.orders.forecasts or self.orders.seed is not None:
            from longreach.remedies import named
            from longreach.remedies.outside import Treatment, put_in
            from longreach.trial.forecasts import Forecasts

            courses = {name: [named(part) for part in name.split("+")] for name in self.orders.forecasts}
            remedies = [named(name) for name in self.orders.apply]
            put_in(Forecasts(courses, self) if courses else Treatment(remedies, self))

    def become(self, name: str) -> None:
        """This process is a copy of the one that the session began in, and has a record of its own under this name."""
        from pathlib import Path

        from longreach.store import Store
        from longreach.watching import Watch

        self.process = os.getpid()
        self._original = self.store, self.watch  # not to be closed here, nor by the garbage collector
        folder = Path(self.orders.folder, name)
        folder.mkdir(parents=True)
        self.store = Store.create(folder, claimed=True)
        self.watch = Watch(budget=1.0, store=self.store).__enter__()

    def made(self, file: str, line: int) -> None:
        """The script makes its optimizer here: this is where a remedy's lines would stand."""
        if self.store is not None and os.getpid() == self.process:
            self.store.put_meta(made=[file, line])
            self.store.commit()

    def refused(self, message: str) -> None:
        """A remedy does not fit this script; the error goes on into the script."""
        if self.store is not None and os.getpid() == self.process:
            self.store.put_meta(refused=message)
            self.store.commit()

    def _stop_after(self, steps: int) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def stop(*_):
            """End the process when it has taken so many."""
            if self.watch is not None and self.watch.steps >= steps and os.getpid() == self.process:
                for stream in (sys.stdout, sys.stderr):
                    if stream is not None:
                        stream.flush()
                os._exit(0)  # which finishes the watch first

        register_optimizer_step_post_hook(stop)  # after the watch's own, which counts

    def finish(self) -> None:
        """Take the watch off and make safe what it has seen; once, and only in the script's own process."""
        if os.getpid() != self.process:
            return
        watch, self.watch = self.watch, None
        try:
            if watch is not None:
                watch.__exit__(None, None, None)
            if self.store is not None:
                self.store.put_meta(end=time.time(), finished=True)
        except (Exception, KeyboardInterrupt) as error:
            self._lost("the watch did not end in order, what it had stored is kept", error)
        store, self.store = self.store, None
        try:
            if store is not None:
                store.close()
        except Exception as error:
            self._lost("the record could not be closed in order", error)

    def _lost(self, what: str, error: BaseException) -> None:
        sentence = f"{what} ({type(error).__name__}: {error})" if str(error) else f"{what} ({type(error).__name__})"
        try:
            if self.store is not None:
                self.store.note(sentence)
                self.store.commit()
        except Exception as second:
            sentence += f"; nor could that be noted ({second})"
        try:
            # not by sys.stderr: what its buffer cannot get rid of would change the exit code
            os.write(2, f"longreach: {sentence}\n".encode())
        except OSError:
            return  # nobody listens: stderr is closed


class _AfterTorch:
    """Finds torch the way it is found anyway, and has the session attach right after torch's own code has run."""

    def __init__(self, session: _Session):
        self._session = session
        self._searching = False

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        """The spec that the other finders give for torch; None for every other module."""
        if name != "torch" or self._searching or os.getpid() != self._session.process:
            return None
        from importlib.util import find_spec

        self._searching = True
        try:
            spec = find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            self._attach_after(spec.loader)
        return spec

    def _attach_after(self, loader) -> None:
        execute = loader.exec_module

        def exec_module(module):
            execute(module)
            del loader.exec_module  # the loader as it was: inspect and importlib.resources ask it for torch's files
            sys.meta_path.remove(self)
            self._session.attach()

        # Python leaves the import system's own frames out of tracebacks, by this file name; ours is one more of them.
        exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")
        loader.exec_module = exec_module
