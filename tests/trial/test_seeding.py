"""Other seeds for a script; in processes of their own, for the generators' functions are changed."""

import json
import subprocess
import sys

DRAWS = """
import json, random, sys
import numpy as np
import torch
from longreach.trial.seeding import seed_all
seed_all(int(sys.argv[1]))
unseeded = [random.random(), np.random.rand(), torch.rand(()).item(), np.random.default_rng().random()]
random.seed(5); np.random.seed(5); torch.manual_seed(5)
seeded = [random.random(), np.random.rand(), torch.rand(()).item(), np.random.default_rng(5).random()]
random.seed("text")
print(json.dumps([unseeded, seeded, random.random()]))
"""

PLAIN = """
import json, random
import numpy as np
import torch
random.seed(5); np.random.seed(5); torch.manual_seed(5)
print(json.dumps([random.random(), np.random.rand(), torch.rand(()).item(), np.random.default_rng(5).random()]))
"""


def drawn(program, *arguments):
    found = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def test_trials_differ_and_repeat_themselves():
    first, again, second = (drawn(DRAWS, number) for number in ("0", "0", "1"))
    assert first == again
    assert all(a != b for a, b in zip(first[0] + first[1], second[0] + second[1], strict=True))
    assert first[2] == second[2]  # a seed that is no number stays


def test_trial_0_is_the_script_as_it_is_where_it_sets_its_seeds():
    assert drawn(DRAWS, "0")[1] == drawn(PLAIN)
