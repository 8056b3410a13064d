"""Runs in the script's process before the script does, and leaves the interpreter as it would have been without it.

`longreach run` puts this folder first on PYTHONPATH; Python imports `sitecustomize` once, while it starts. So the
script is run by Python itself, not by a program of ours that imitates it: `__main__`, sys.path, tracebacks, exit codes
and the order at exit are Python's own.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if entry != _here]
sys.path_importer_cache.pop(_here, None)
del sys.modules["sitecustomize"]

_before = sys.path[:]
sys.path.insert(0, os.path.dirname(os.path.dirname(_here)))  # the script's own path need not lead to longreach
try:
    from longreach.child import begin
finally:
    sys.path[:] = _before
begin()

# The user's own, if there is one; if not, the error says what Python expects to hear then.
import sitecustomize  # noqa: E402, F401  # pyright: ignore[reportMissingImports]
