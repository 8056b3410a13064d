"""`longreach run --deep` on delayed XOR, as somebody would write it: only the two bits together tell anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from longreach import deepening, launch
from longreach.deepening import deepen
from longreach.probes.samples import Curve, LayerKey, Pairs
from longreach.store import Store

SCRIPT = Path(__file__).parent / "scripts" / "delayed_xor.py"


def run(folder, *options):
    """(diagnosis.json, accuracy, stderr). The budget is large: what is tested is not how many sequences time allows."""
    command = [sys.executable, "-m", "longreach", "run", "--budget", "0.5", *options, "--run-dir", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(SCRIPT), "150"], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "diagnosis.json").read_text()), float(done.stdout.split()[-1]), done.stderr


def test_delayed_xor(tmp_path):
    diagnosis, accuracy, printed = run(tmp_path / "deep", "--deep")
    assert 0.4 < accuracy < 0.6
    (layer,) = diagnosis["layers"]
    assert layer["need"]["lag"] is None
    assert (layer["deep"]["lag"], layer["deep"]["partner"]) == (50, 20)
    assert layer["reach"]["lag"] < 50
    assert diagnosis["verdict"] == "vanishing-in-time"
    assert "read together with the one 20 steps back" in " ".join(printed.split())
    again = launch.diagnose_run(tmp_path / "deep")  # from the record: the test itself is not done again
    assert again.verdict == "vanishing-in-time"
    assert again.record.layers[0].deep.seconds == layer["deep"]["seconds"]


def test_without_deep_it_is_not_seen(tmp_path):
    diagnosis, _, printed = run(tmp_path / "plain")
    assert diagnosis["layers"][0]["deep"] is None
    assert diagnosis["verdict"] != "vanishing-in-time"
    assert "  deep  " not in printed


# ---------------------------------------------------------------- what is kept, and when it goes wrong


def stored(folder, module="rnn", steps=100):
    """A run folder with 400 sequences of delayed XOR, and the store of it, open for writing."""
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(400, steps, 1)).astype(np.float32)
    g = np.zeros((400, steps, 1), np.float32)
    g[:, -1] = (bits[:, -6] != bits[:, -11]) - 0.5
    folder.mkdir()
    store = Store.create(folder, claimed=True, deep=True)
    store.put_meta(steps=10, script="x.py")
    for index in range(2):
        store.add_curve(LayerKey(module, "GRU", index, "forward", 8), Curve(9, (0, 1), (0.0, -1.0), None, None, False))
    store.add_pairs(module, "forward", Pairs(9, bits, g, np.full(400, steps), False))
    store.commit()
    return store


def test_each_module_is_tested_once_and_every_layer_of_it_knows(tmp_path):
    told = []
    store = stored(tmp_path / "run")
    deepen(store, told.append)
    store.close()
    assert told == sorted(told)
    assert told[-1] == 1
    layers = launch.diagnose_run(tmp_path / "run").record.layers
    assert [(layer.deep.need.lag, layer.deep.partner, layer.memory.length) for layer in layers] == [(10, 5, 100)] * 2


@pytest.mark.parametrize(
    ("error", "said"),
    [(MemoryError("no room"), "failed (MemoryError: no room)"), (KeyboardInterrupt, "was interrupted")],
)
def test_a_verdict_comes_whatever_becomes_of_the_deep_test(tmp_path, capsys, monkeypatch, error, said):
    stored(tmp_path / "run").close()

    def fail(*_):
        raise error

    monkeypatch.setattr(deepening, "deep_test", lambda *_, **__: fail())
    launch._deepen(tmp_path / "run", quiet=False)
    assert f"longreach: the deep test {said}; the verdict does without it" in " ".join(capsys.readouterr().err.split())
    assert launch.diagnose_run(tmp_path / "run").record.layers[0].deep is None


def test_a_deep_store_keeps_more_of_the_latest(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "FIRST_SEQUENCES", 1)
    monkeypatch.setattr(Store, "LATEST_SEQUENCES", 2)
    monkeypatch.setattr(Store, "DEEP_SEQUENCES", 6)
    for deep, kept in ((False, 1 + 2), (True, 1 + 6)):
        store = Store.create(None, deep=deep)
        for step in range(20):
            store.add_pairs("rnn", "forward", Pairs(step, *np.zeros((2, 1, 3, 1), np.float32), np.array([3]), False))
        assert len(store.pairs("rnn", "forward")) == kept
        store.close()
