"""`python -m longreach`: the same as the command `longreach`."""

from longreach.cli import main

if __name__ == "__main__":
    main()
