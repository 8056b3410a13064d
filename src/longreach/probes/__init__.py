"""One measured quantity a file; what needs no torch does not import it."""
