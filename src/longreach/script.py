"""What `python` can start, looked at before anything is started and without running a line of it."""

import importlib.machinery
import importlib.util
import os
import stat
import zipfile
from pathlib import Path

from longreach.errors import ScriptError


def check_module(name: str) -> None:
    """ScriptError if `python -m name` is sure to fail.

    Blind to   what is missing below the outermost package: to look there would run its code; Python will say it itself
    """
    top = name.partition(".")[0]
    here = importlib.machinery.PathFinder.find_spec(top, [os.getcwd()]) if top else None
    if not top or (here is None and importlib.util.find_spec(top) is None):
        raise ScriptError(
            f"-m {name}: expected a module that can be imported, found no {top!r} in {os.getcwd()} "
            "or on sys.path; run from the folder that contains it, or install it"
        )


def check_script(script: str) -> None:
    """ScriptError if there is no Python at the path `script`; a syntax error is Python's own to tell."""
    path = Path(script)
    wanted = "expected a Python script"
    if script == "-":
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ScriptError(f"{script}: {wanted}, got: {error.strerror}; check the path") from None
    if stat.S_ISDIR(mode):
        if not any((path / f"__main__{suffix}").is_file() for suffix in (".py", ".pyc")):
            raise ScriptError(f"{script}: {wanted}, got a folder without __main__.py; name the script inside it")
        return
    if not stat.S_ISREG(mode):
        return  # a pipe can be read only once, and that is the script's interpreter's to do
    try:
        with path.open("rb") as file:
            start = file.read(8192)
    except OSError as error:
        raise ScriptError(f"{script}: {wanted}, got: {error.strerror}; check its permissions") from None
    if zipfile.is_zipfile(path):
        if not {"__main__.py", "__main__.pyc"} & set(zipfile.ZipFile(path).namelist()):
            raise ScriptError(f"{script}: {wanted}, got an archive without __main__.py; name the script itself")
    elif b"\0" in start and not start.startswith(importlib.util.MAGIC_NUMBER):
        raise ScriptError(f"{script}: {wanted}, got a binary file; name the .py file that trains")
