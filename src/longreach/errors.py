"""The one error tree.

    LongreachError
    ├── ArgumentError      a value passed by the caller does not fit          (also a ValueError)
    │   └── NotApplicable  a remedy does not fit what it was to be applied to
    ├── DataError          data that cannot be learned from                   (also a ValueError)
    ├── ScriptError        the script cannot be started at all
    ├── RunFolderError     the run folder cannot be written, or is in use
    ├── RunReadError       a run folder or record cannot be read back
    └── MissingLibrary     an integration without the library it is for       (also an ImportError)

Every message says what was expected, what came, and what to do; it is raised before any work is lost.
"""


class LongreachError(Exception):
    """Root of everything longreach raises on purpose."""


class ArgumentError(LongreachError, ValueError):
    """A value passed by the caller does not fit."""


class NotApplicable(ArgumentError):
    """A remedy does not fit what it was to be applied to: it would change nothing, or something else."""


class DataError(LongreachError, ValueError):
    """Data that cannot be learned from: unreadable, too few, or all the same."""


class ScriptError(LongreachError):
    """The script cannot be started: it is missing, a folder without __main__.py, or not Python."""


class RunFolderError(LongreachError):
    """The run folder cannot be written, is full, or another live run holds it."""


class RunReadError(LongreachError):
    """A run folder or a record in it is missing, cut off, or of a schema this version cannot read."""


class MissingLibrary(LongreachError, ImportError):
    """The library that an integration is for is not installed."""
