"""Stands for a training in the tests of the runner: leaves facts.json, or does what its seed says."""

import json
import os
import signal
import sys
import time
from pathlib import Path

log, behaviour, orders = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
seed = orders["settings"]["seed"]
with log.open("a") as file:
    file.write(f"{seed} {os.getpid()} {os.environ['OMP_NUM_THREADS']}\n")
match behaviour.get(str(seed)):
    case "sleep":
        time.sleep(600)
    case "die":
        os.kill(os.getpid(), signal.SIGKILL)
    case "raise":
        raise RuntimeError("the network burst")
    case "full":
        sys.exit("OSError: [Errno 28] No space left on device")
facts = {"outcome": "ended", "updates": 7, "seconds": 0.5, "solved": True, "wrong": 0.0, "loss": 0.01, "chance": 0.17}
Path(orders["folder"], "facts.json").write_text(json.dumps(facts))
