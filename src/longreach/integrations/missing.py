"""What an integration says where its library is not installed."""

from longreach.errors import MissingLibrary


def missing(library: str, error: ModuleNotFoundError | None) -> MissingLibrary:
    """The error to raise from `error`, which came of the attempt to import `library`."""
    came = f"no module named {error.name!r} was found" if error is not None and error.name else f"got: {error}"
    return MissingLibrary(
        f"expected {library} to be installed, but {came}; install it with: pip install 'longreach[integrations]'"
    )
