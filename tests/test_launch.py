"""`longreach run` against `python`: real processes, the same script, the same outcome."""

import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from longreach import child
from longreach.launch import NO_STEP, NO_TORCH
from longreach.store import Store

PYTHON = [sys.executable]
LONGREACH = [sys.executable, "-m", "longreach", "run", "--run-dir", "RUN"]
TIMEOUT = 60

# Stand in for torch, for the watch and for judging, so that a case takes half a second. What the watch does is written
# to the record, where the tests look for it; JUDGE=real has the real judge.
TORCH = '__version__ = "0.0"\n'
WATCHING = """
import atexit, os, sys, types

class Watch:
    def __init__(self, model=None, optimizer=None, *, budget=0.02, store=None):
        self.budget, self.store = budget, store

    def __enter__(self):
        if os.environ.get("STUB") == "enter fails":
            raise ValueError("no such thing")
        import numpy as np
        from longreach.probes.samples import Curve, LayerKey, Pairs
        steps = 0 if os.environ.get("STUB") == "no step" else 3
        self.store.put_meta(steps=steps, seconds=1.5, spent=0.01, budget=self.budget, times_left=0)
        key = LayerKey("rnn", "LSTM", 0, "forward", 4)
        self.store.add_curve(key, Curve(0, (0, 1, 2), (0.0, -0.1, -0.2), None, None, False))
        if os.environ.get("STUB") == "pairs":
            noise = np.random.default_rng(0).standard_normal((32, 3, 2)).astype(np.float32)
            self.store.add_pairs("rnn", "forward", Pairs(0, noise, noise[::-1].copy(), np.full(32, 3), False))
        self.store.commit()
        return self

    def __exit__(self, *_):
        self.store.put_meta(times_left=self.store.meta()["times_left"] + 1)
        if os.environ.get("STUB") == "exit fails":
            raise ValueError("no such thing")
        if os.environ.get("STUB") == "exit is interrupted":
            raise KeyboardInterrupt

def conclude(store):
    from longreach.record import Layer, Record
    layers = tuple(Layer(**vars(key), reach=None, need=None) for key in store.curves())
    return Record(store.meta(), store.meta().get("steps", 0), 1.5, 0.01, layers, None, None, tuple(store.notes()))

for name, public in (("watching", Watch), ("conclude", conclude)):
    if (name, os.environ.get("JUDGE")) != ("conclude", "real"):
        stub = types.ModuleType("longreach." + name)
        setattr(stub, public.__name__, public)
        sys.modules[stub.__name__] = stub

if "LOADED" in os.environ:
    def tell():
        if "longreach.launch" in sys.modules:
            open(os.environ["LOADED"], "w").write(" ".join(sys.modules))
    atexit.register(tell)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a torch and a watch that cost nothing; the current one, for this process and those it starts."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(WATCHING)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # buffers that cannot be flushed are part of what is tested
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(textwrap.dedent(text))


def outcome(command: list[str], **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, **options)


def longreach(*command: str, **options) -> subprocess.CompletedProcess[bytes]:
    """`longreach run` into the folder RUN."""
    return outcome([*LONGREACH, *command], **options)


def same(*command: str, **options) -> tuple[bytes, str]:
    """Run by python and by longreach, checked to agree; python's stdout, and what longreach added to stderr."""
    by_python = outcome([*PYTHON, *command], **options)
    by_longreach = longreach(*command, **options)
    assert by_longreach.stdout == by_python.stdout
    assert by_longreach.returncode == by_python.returncode
    assert by_longreach.stderr.startswith(by_python.stderr)
    return by_python.stdout, by_longreach.stderr.removeprefix(by_python.stderr).decode()


def meta() -> dict:
    return Store.open(Path("RUN")).meta()


# ---- the same as python: one script per way to notice a difference

SCRIPTS = {
    "arguments": "import sys; print(sys.argv)",
    "main module": """
        import sys
        main = sys.modules["__main__"]
        print(__name__, __file__, __package__, __spec__, __cached__, __doc__, type(__loader__), __builtins__)
        print(sorted(vars(main)), main.__dict__ is globals())
    """,
    "path": "import sys; print(sys.path)",
    "environment": "import os; print(sorted(os.environ.items()))",
    "modules that read the environment wait for the script": """
        import sys
        print([name for name in ("torch", "numpy", "sqlite3", "ctypes") if name in sys.modules])
    """,
    "flags": "import sys; print(sys.flags, sys.warnoptions, sys._xoptions, sys.orig_argv[1:])",
    "stack": "import sys; print(sys._getframe().f_back)",
    "after torch nothing of ours is in the way": """
        import sys, inspect, importlib.resources
        import torch
        print([getattr(f, '__name__', type(f)) for f in sys.meta_path], vars(torch.__loader__), torch.__spec__.origin)
        print(inspect.getsource(torch), importlib.resources.is_resource("email", "__init__.py"))
    """,
    "no exit code": "print('done')",
    "exit None": "import sys; sys.exit(None)",
    "exit 3": "import sys; sys.exit(3)",
    "exit 300": "import sys; sys.exit(300)",
    "exit -1": "import sys; sys.exit(-1)",
    "exit text": "import sys; sys.exit('bad luck')",
    "exit object": "raise SystemExit([1, 2])",
    "error": """
        def train():
            raise ValueError("too small")
        train()
    """,
    "error with a cause": """
        try:
            {}["x"]
        except KeyError as error:
            raise RuntimeError("no x") from error
    """,
    "error in torch's import": "import broken",
    "error in a thread": """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0, name="t")
        thread.start(); thread.join()
        print("goes on")
    """,
    "excepthook": """
        import sys
        sys.excepthook = lambda kind, error, trace: print(kind, error, trace.tb_frame.f_code.co_name, trace.tb_next)
        raise ValueError("too small")
    """,
    "keyboard interrupt raised": "raise KeyboardInterrupt",
    "syntax error": "x = = 1",
    "not utf-8": "print('ok')\n# \\udcff",
    "deep recursion": """
        def depth():
            try:
                return 1 + depth()
            except RecursionError:
                return 1
        print(depth())
    """,
    "stdin": "import sys; print(sys.stdin.read().upper())",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)))",
    "at exit": """
        import atexit, torch
        atexit.register(print, "registered first, runs last")
        atexit.register(print, "registered last, runs first")
    """,
    "threads still running": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.3), print("joined"))).start()
        threading.Thread(target=lambda: (time.sleep(30), print("never")), daemon=True).start()
        print("main is over")
    """,
    "os._exit": "import os, atexit, torch; atexit.register(print, 'never'); os._exit(3)",
    "kill -9": "import os, torch; os.kill(os.getpid(), 9)",
    "segmentation fault": "import ctypes, torch; ctypes.string_at(0)",
    "abort": "import os, torch; os.abort()",
    "sigterm to itself": "import os, signal, torch; os.kill(os.getpid(), signal.SIGTERM)",
    "pipe closed": """
        import os, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        r, w = os.pipe(); os.close(r); os.write(w, b"x")
    """,
    "signal handlers": """
        import signal
        print([(number, signal.getsignal(number)) for number in sorted(signal.Signals) if number != signal.SIGINT])
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.pthread_sigmask(0, []))
    """,
    "fork": """
        import os, sys, torch
        if os.fork() == 0:
            print("worker", flush=True)
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "subprocess": """
        import subprocess, sys
        print(subprocess.run([sys.executable, "-c", "import sys, torch; print(sys.path, sorted(sys.modules))"],
                             capture_output=True, text=True).stdout)
    """,
}
for method in ("fork", "spawn", "forkserver"):
    SCRIPTS[f"multiprocessing by {method}"] = f"""
        import multiprocessing, pickle, sys
        import torch

        class Point:
            def __init__(self, x):
                self.x = x

        def double(point):
            return Point(2 * point.x), __name__

        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            with context.Pool(2) as pool:
                print([(point.x, name) for point, name in pool.map(double, [Point(1), Point(2)])])
            print(pickle.loads(pickle.dumps(Point(3))).x, Point.__module__, pickle.dumps(Point(3)))
    """


# What the script must not have touched, for the scripts in which the stub was attached.
UNFINISHED = ("kill -9", "segmentation fault", "abort", "sigterm to itself")


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_as_python(name):
    write("main.py", SCRIPTS[name])
    _, ours = same("main.py", "--lr", "0.1", "-v", "--", "--quiet", "", "ü", input=b"from a pipe\n")
    assert ours.endswith("run folder: RUN\n")
    if name != "subprocess" and "torch" in SCRIPTS[name].replace('"torch"', ""):
        assert meta().get("times_left") == (0 if name in UNFINISHED else 1), "the watch is taken off exactly once"
        assert meta().get("finished") == (None if name in UNFINISHED else True)
        assert "longreach: " not in ours
    else:
        assert "torch was never imported" in ours


@pytest.mark.parametrize("error", ["ImportError", "RuntimeError"])
def test_an_error_inside_torchs_import_has_pythons_own_traceback(error):
    write("torch.py", f"def load():\n    raise {error}('libcudart.so.12: cannot open shared object file')\nload()\n")
    write("main.py", "import sys\ndef train():\n    import torch\ntrain()")
    same("main.py")


def test_torch_that_comes_only_at_the_second_attempt_is_watched_too():
    write("torch.py", "import os\nif 'READY' not in os.environ: raise ImportError('not ready')\n" + TORCH)
    write("main.py", """
        import os
        try:
            import torch
        except ImportError as error:
            print(error)
        os.environ["READY"] = "1"
        import torch
    """)  # fmt: skip
    same("main.py")
    assert meta()["times_left"] == 1


def test_module_with_relative_imports():
    write("pkg/__init__.py", "print('package', __name__)")
    write("pkg/part.py", "value = 42")
    write("pkg/train.py", """
        import sys
        from .part import value
        print(value, __name__, __package__, __spec__.name, __file__, sys.path[0], sys.argv, sys.orig_argv[1:])
    """)  # fmt: skip
    write("pkg/__main__.py", "from . import part\nprint(part.value, __spec__.name)\n1 / 0")
    for module in ("pkg.train", "pkg"):
        by_python = outcome([*PYTHON, "-m", module, "--x", "1"])
        by_longreach = outcome([*LONGREACH[:-1], f"RUN-{module}", "-m", module, "--x", "1"])
        assert by_longreach.stdout == by_python.stdout
        assert by_longreach.returncode == by_python.returncode
        assert by_longreach.stderr.startswith(by_python.stderr)


def test_module_that_python_cannot_find_further_down():
    write("pkg/__init__.py", "")
    by_python, by_longreach = outcome([*PYTHON, "-m", "pkg.none"]), longreach("-m", "pkg.none")
    assert by_longreach.returncode == by_python.returncode == 1
    assert by_longreach.stderr.startswith(by_python.stderr)


def test_folder_and_archive():
    write("app/__main__.py", "import sys, helper\nprint(__file__, sys.path[0], sys.argv, helper.x, __spec__.name)")
    write("app/helper.py", "x = 1")
    with zipfile.ZipFile("app.zip", "w") as archive:
        archive.write("app/__main__.py", "__main__.py")
        archive.write("app/helper.py", "helper.py")
    for number, path in enumerate(("app", "app.zip")):
        by_python = outcome([*PYTHON, path, "x"])
        by_longreach = outcome([*LONGREACH[:-1], f"RUN{number}", path, "x"])
        assert by_longreach.stdout == by_python.stdout != b""
        assert by_longreach.returncode == by_python.returncode == 0


def test_script_in_another_folder_and_by_a_link():
    write("lib/real.py", "import sys, near; print(__file__, sys.path[0], sys.argv)")
    write("lib/near.py", "")
    os.symlink("lib/real.py", "link.py")
    same("link.py")


def test_script_from_a_pipe_of_the_shell():
    for run, shell in enumerate((f"{sys.executable} <(echo 'print(6 * 7)')", f"{sys.executable} - <<< 'print(6 * 7)'")):
        watched = shell.replace(sys.executable, " ".join([*LONGREACH[:-1], f"RUN{run}"]))
        by_python, by_longreach = outcome(["bash", "-c", shell]), outcome(["bash", "-c", watched])
        assert by_longreach.stdout == by_python.stdout == b"42\n", by_longreach.stderr


def test_interpreter_options_are_handed_on():
    write("main.py", SCRIPTS["flags"])
    flags = ["-u", "-W", "error::UserWarning", "-Wdefault", "-Xutf8=1", "-OO", "-X", "dev"]
    by_python = outcome([*PYTHON, *flags, "main.py"])
    by_longreach = outcome([*PYTHON, *flags, "-Bm", *LONGREACH[2:], "main.py"])
    without_b = by_longreach.stdout.replace(b"'-B', ", b"").replace(b"dont_write_bytecode=1", b"dont_write_bytecode=0")
    assert without_b == by_python.stdout.replace(b"dont_write_bytecode=1", b"dont_write_bytecode=0")


def test_the_users_own_sitecustomize_and_pythonpath_are_kept(place):
    (place.parent / "site" / "sitecustomize.py").write_text("import builtins; builtins.mine = 'here'")
    write("main.py", "import sys; print(mine, sys.modules['sitecustomize'].__file__, sys.path)")
    same("main.py")


def test_without_a_pythonpath_there_is_none_afterwards(monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    write("main.py", "import os, sys; print('PYTHONPATH' in os.environ, sys.path, 'sitecustomize' in sys.modules)")
    assert same("main.py")[0].startswith(b"False")


# ---- signals


def started(*command: str, **options) -> subprocess.Popen[bytes]:
    """A process in a group of its own, whose script has said that it is ready."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)  # it may still be inside print
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, int]:
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    return stdout, stderr, process.returncode


WAITS = """
    import signal, time, torch
    print("ready", flush=True)
    time.sleep(60)
"""
COUNTS = """
    import signal, time, torch
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: print("got", number, flush=True))
    print("ready", flush=True)
    until = time.monotonic() + 1.3
    while time.monotonic() < until:
        time.sleep(0.05)
"""


@pytest.mark.parametrize("to_group", [True, False], ids=["to the group", "to longreach alone"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_script_as_it_would_under_python(number, to_group):
    write("main.py", WAITS)
    plain = started(*PYTHON, "main.py")
    os.kill(plain.pid, number)
    watched = started(*LONGREACH, "main.py")
    (os.killpg if to_group else os.kill)(watched.pid, number)
    stdout, stderr, code = ended(plain)
    assert code == -number
    by_longreach = ended(watched)
    assert (by_longreach[0], by_longreach[2]) == (stdout, code)
    assert by_longreach[1].startswith(stderr)
    assert by_longreach[1].endswith(b"run folder: RUN\n")
    assert meta()["exit"] == -number
    assert meta().get("finished") == (True if number == signal.SIGINT else None)
    assert json.loads(Path("RUN/diagnosis.json").read_text())["layers"]


@pytest.mark.parametrize("to_group", [True, False], ids=["to the group", "to longreach alone"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signal_reaches_the_script_exactly_once(number, to_group):
    write("main.py", COUNTS)
    watched = started(*LONGREACH, "main.py")
    (os.killpg if to_group else os.kill)(watched.pid, number)
    stdout, _, code = ended(watched)
    assert (stdout, code) == (f"got {int(number)}\n".encode(), 0)


def test_ctrl_c_on_a_terminal():
    write("main.py", WAITS)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(LONGREACH[0], [*LONGREACH, "main.py"])
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    try:
        while more := os.read(terminal, 1000):
            shown += more
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT
    text = shown.decode()
    assert text.count("KeyboardInterrupt") == 1
    assert 'File "' in text
    assert "child.py" not in text
    assert text.index("KeyboardInterrupt") < text.index("run folder: RUN")


def test_ignored_signals_stay_ignored():
    write("main.py", COUNTS.replace("signal.SIGHUP, ", "") + "    print(signal.getsignal(signal.SIGHUP))\n")
    watched = started("nohup", *LONGREACH, "main.py")
    os.killpg(watched.pid, signal.SIGHUP)
    stdout, _, code = ended(watched)
    assert (stdout, code) == (b"1\n", 0)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_kill_9_of_longreach_leaves_no_script_behind_and_the_record_is_there():
    write(
        "main.py", "import os, torch, time\nprint('ready', flush=True)\nprint(os.getpid(), flush=True)\ntime.sleep(120)"
    )
    watched = started(*LONGREACH, "main.py")
    assert watched.stdout
    script = int(watched.stdout.readline())
    watched.kill()
    ended(watched)  # comes back only when the last process that held the pipe has let go: the script, the witness
    until = time.monotonic() + 10
    while alive(script):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert meta()["steps"] == 3
    assert not Path("RUN/diagnosis.json").exists()
    report = outcome([*PYTHON, "-m", "longreach", "report", "RUN", "--format", "json"])
    assert json.loads(report.stdout)["layers"][0]["module"] == "rnn"


# ---- what is left behind


def test_run_folder_holds_record_and_diagnosis_and_nothing_else():
    write("main.py", "import torch, sys; sys.exit(4)")
    assert longreach("main.py", "--lr", "1").returncode == 4
    assert sorted(path.name for path in Path("RUN").iterdir()) == ["diagnosis.json", "record.sqlite", "report.html"]
    diagnosis = json.loads(Path("RUN/diagnosis.json").read_text())
    assert diagnosis["schema"] == "longreach.diagnosis/1"
    kept = meta()
    assert (kept["script"], kept["argv"], kept["exit"], kept["budget"]) == ("main.py", ["--lr", "1"], 4, 0.02)
    assert kept["versions"] == {"python": sys.version.split()[0], "torch": "0.0"}
    assert kept["start"] <= kept["end"] <= kept["ended"] <= time.time()


def test_default_run_folder_is_new_each_time_and_named():
    write("train.py", "import os; os.chdir('/')")
    for _ in range(2):
        done = outcome([*PYTHON, "-m", "longreach", "run", "train.py"])
        folder = done.stderr.decode().splitlines()[-1].removeprefix("run folder: ")
        assert folder.startswith("longreach-runs/")
        assert "-train" in folder
        assert Path(folder, "diagnosis.json").is_file()
    assert len(list(Path("longreach-runs").iterdir())) == 2


def test_verdict_goes_to_stderr_and_quiet_says_nothing(monkeypatch):
    monkeypatch.setenv("JUDGE", "real")
    write("main.py", "import torch; print('loss 0.1')")
    done = longreach("main.py")
    assert done.stdout == b"loss 0.1\n"
    assert "verdict" in done.stderr.decode()
    assert "\x1b" not in done.stderr.decode()
    quiet = outcome([*LONGREACH[:-1], "RUN2", "--quiet", "main.py"])
    assert (quiet.stdout, quiet.stderr) == (b"loss 0.1\n", b"")
    assert Path("RUN2/diagnosis.json").is_file()


def test_longreach_itself_never_imports_torch(monkeypatch, tmp_path):
    monkeypatch.setenv("LOADED", str(tmp_path / "loaded"))
    monkeypatch.setenv("STUB", "pairs")
    monkeypatch.setenv("JUDGE", "real")
    Path("torch.py").unlink()
    write("lib/torch.py", TORCH)
    write("main.py", "import sys; sys.path.insert(0, 'lib'); import torch")
    assert longreach("main.py").returncode == 0
    loaded = (tmp_path / "loaded").read_text().split()
    assert {"longreach.launch", "longreach.conclude", "longreach.diagnosis", "longreach.report.terminal"} <= set(loaded)
    assert not [name for name in loaded if name.partition(".")[0] == "torch"]


def test_no_optimizer_step(monkeypatch):
    monkeypatch.setenv("STUB", "no step")
    write("main.py", "import torch")
    done = longreach("main.py")
    assert done.stderr.decode().splitlines() == [
        f"longreach: {NO_STEP}",
        "run folder: RUN",
    ]
    assert json.loads(Path("RUN/diagnosis.json").read_text())["notes"][0].startswith("no optimizer step was seen")


def test_torch_never_imported():
    write("main.py", "pass")
    done = longreach("main.py")
    assert done.stderr.decode().splitlines() == [
        f"longreach: {NO_TORCH}",
        "run folder: RUN",
    ]
    assert json.loads(Path("RUN/diagnosis.json").read_text())["notes"][0].startswith("torch was never imported")
    assert (meta()["script"], meta()["exit"]) == ("main.py", 0)


# ---- trouble on our side never becomes the script's


@pytest.mark.parametrize(
    ("stub", "message"),
    [
        ("enter fails", "the watch could not start, the script goes on without it (ValueError: no such thing)"),
        ("exit fails", "the watch did not end in order, what it had stored is kept (ValueError: no such thing)"),
        ("exit is interrupted", "the watch did not end in order, what it had stored is kept (KeyboardInterrupt)"),
    ],
)
def test_a_watch_that_fails_is_one_line_and_a_note(monkeypatch, stub, message):
    monkeypatch.setenv("STUB", stub)
    write("main.py", "import torch, sys; print('trained'); sys.exit(7)")
    done = longreach("main.py")
    assert (done.stdout, done.returncode) == (b"trained\n", 7)
    assert done.stderr.decode().startswith(f"longreach: {message}\n")
    assert message in Store.open(Path("RUN")).notes()
    assert message in json.loads(Path("RUN/diagnosis.json").read_text())["notes"]


def test_judging_that_fails_keeps_the_exit_code(place):
    with (place.parent / "site" / "sitecustomize.py").open("a") as site:
        site.write("sys.modules['longreach.conclude'].conclude = lambda store: 1 / 0\n")
    write("main.py", "import torch, sys; sys.exit(9)")
    done = longreach("main.py")
    assert done.returncode == 9
    message = "longreach: judging failed (ZeroDivisionError: division by zero); what was measured is kept in RUN\n"
    assert done.stderr.decode() == message


def test_record_that_the_script_destroyed_keeps_the_exit_code():
    write("main.py", "import torch, os; os.truncate('RUN/record.sqlite-wal', 0); os.kill(os.getpid(), 9)")
    done = longreach("main.py")
    assert done.returncode == -9
    assert "record.sqlite: expected a record of schema 1 to 2, got an empty file" in done.stderr.decode()


def test_run_folder_that_vanishes_keeps_the_exit_code():
    write("main.py", "import torch, os, shutil; shutil.rmtree('RUN'); os._exit(9)")
    done = longreach("main.py")
    assert done.returncode == 9
    assert done.stderr.decode().splitlines()[-1].startswith("longreach: ")
    assert "Traceback" not in done.stderr.decode()


def test_current_folder_that_vanishes_changes_nothing():
    write("main.py", "import torch, os, shutil; shutil.rmtree(os.getcwd()); os._exit(9)")
    done = outcome([*PYTHON, "-m", "longreach", "run", "--run-dir", "../RUN", "main.py"])
    assert done.returncode == 9
    assert done.stderr.decode().splitlines()[-1] == "run folder: ../RUN"


@pytest.mark.parametrize("stub", ["", "exit fails"])
@pytest.mark.parametrize("stderr", ["nobody reads it", "closed"])
def test_nobody_listens_to_the_verdict(monkeypatch, stderr, stub):
    monkeypatch.setenv("STUB", stub)
    write("main.py", "import torch, sys; print('trained'); sys.exit(5)")
    command = " ".join([*LONGREACH, "main.py"])
    ending = "2>&-" if stderr == "closed" else "2> >(true)"
    done = outcome(["bash", "-c", f"{command} {ending}"])
    assert (done.stdout, done.returncode) == (b"trained\n", 5)
    assert Path("RUN/diagnosis.json").is_file()


def test_full_disk_while_running():
    # a limit on the size of files fails writes as a full disk does
    write("main.py", """
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        import torch
        print("trained")
        sys.exit(3)
    """)  # fmt: skip
    done = longreach("main.py")
    assert (done.stdout, done.returncode) == (b"trained\n", 3)
    assert "run folder" in done.stderr.decode().splitlines()[0]
    assert "expected a folder that can be written, got: " in done.stderr.decode().splitlines()[0]


# ---- what is refused before anything starts


def refused(*command: str) -> str:
    done = longreach(*command)
    assert (done.stdout, done.returncode) == (b"", 2)
    assert not Path("RUN").exists()
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_scripts_that_cannot_be_started():
    write("empty/readme", "")
    Path("model.pt").write_bytes(b"\x80\x02\0\0" * 100)
    with zipfile.ZipFile("data.zip", "w") as archive:
        archive.writestr("data.csv", "1,2")
    script = "expected a Python script, got"
    assert refused("none.py") == f"longreach: none.py: {script}: No such file or directory; check the path"
    assert refused("empty") == f"longreach: empty: {script} a folder without __main__.py; name the script inside it"
    assert refused("model.pt") == f"longreach: model.pt: {script} a binary file; name the .py file that trains"
    assert (
        refused("data.zip") == f"longreach: data.zip: {script} an archive without __main__.py; name the script itself"
    )
    assert refused("-m", "no_such.thing") == (
        f"longreach: -m no_such.thing: expected a module that can be imported, found no 'no_such' in {os.getcwd()} or "
        "on sys.path; run from the folder that contains it, or install it"
    )
    assert refused("-m", ".thing").startswith(
        "longreach: -m .thing: expected a module that can be imported, found no ''"
    )


@pytest.mark.parametrize("budget", ["0", "-1", "1.5", "nan"])
def test_budgets_that_are_none(budget):
    write("main.py", "pass")
    message = refused(f"--budget={budget}", "main.py")
    assert message.startswith("longreach: budget: expected a share of the wall time in (0, 1], got ")


@pytest.mark.parametrize("flag", ["-I", "-E"])
def test_interpreters_that_cannot_be_reached(flag):
    done = outcome([sys.executable, flag, *LONGREACH[1:], "main.py"])
    assert done.returncode == 2
    assert (
        f"longreach: python {'-I -E' if flag == '-I' else '-E'}: expected an interpreter that" in done.stderr.decode()
    )


def test_two_runs_into_one_folder():
    write("main.py", WAITS)
    first = started(*LONGREACH, "main.py")
    write("other.py", "print('never')")
    second = longreach("other.py")
    assert (second.stdout, second.returncode) == (b"", 2)
    assert b"another run is writing there right now; choose another with --run-dir" in second.stderr
    os.killpg(first.pid, signal.SIGTERM)
    ended(first)
    third = longreach("other.py")
    assert (third.stdout, third.returncode) == (b"", 2)
    assert b"holds an earlier run; choose another with --run-dir" in third.stderr
    assert meta()["script"] == "main.py"


def test_run_folder_that_cannot_be_written():
    write("main.py", "print('never')")
    write("taken", "a file")
    done = outcome([*LONGREACH[:-1], "taken", "main.py"])
    assert (done.stdout, done.returncode) == (b"", 2)
    assert (
        b"taken: expected a folder that can be written, got: File exists; choose another with --run-dir" in done.stderr
    )
    assert Path("taken").read_text() == "a file"


# ---- cost


def test_start_up_costs_the_script_less_than_100_ms():
    def fastest(environment: dict[str, str]) -> float:
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", ""], env=environment, check=True)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert fastest(child.environment(child.Orders("RUN", 0.02))) - fastest({**os.environ}) < 0.1


# ---- and once with torch itself


def test_training_with_dataloader_workers_is_the_same_to_the_last_bit_and_a_crash_keeps_the_verdict(monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    Path("torch.py").unlink()
    write("main.py", """
        import os
        os.environ["OMP_NUM_THREADS"] = "1"
        import torch
        from torch import nn
        from torch.utils.data import DataLoader, Dataset, get_worker_info

        class Noise(Dataset):
            def __len__(self):
                return 48

            def __getitem__(self, index):
                assert get_worker_info() is not None
                return torch.randn(12, 2, generator=torch.Generator().manual_seed(index))

        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = nn.RNN(2, 8, batch_first=True), nn.Linear(8, 1)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        if __name__ == "__main__":
            torch.manual_seed(0)
            model = Reader()
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            for method in ("fork", "spawn"):
                for x in DataLoader(Noise(), 8, num_workers=2, multiprocessing_context=method):
                    loss = (model(x) - x[:, 0, :1]).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    print(loss.item())
            print(torch.get_num_threads(), torch.rand(1).item(), [p.sum().item() for p in model.parameters()])
            raise ValueError("after the last step")
    """)  # fmt: skip
    stdout, ours = same("main.py")
    assert stdout.count(b"\n") == 13
    assert ours.endswith("page: RUN/report.html\nrun folder: RUN\n")
    assert "The run is still going on" not in Path("RUN/report.html").read_text()
    diagnosis = json.loads(Path("RUN/diagnosis.json").read_text())
    assert [layer["module"] for layer in diagnosis["layers"]] == ["rnn"]
    assert (meta()["steps"], meta()["exit"], meta()["finished"]) == (12, 1, True)
    assert len(Store.open(Path("RUN")).losses()) == 12
