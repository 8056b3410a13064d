"""A terminal of our own: commands run in it as in anybody's, and what is left on it can be read."""

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass

PARTS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass(frozen=True)
class Seen:
    """What a command sent to its terminal, and how it ended."""

    sent: str
    code: int

    def screen(self) -> list[str]:
        """The lines that are left on a terminal without an end."""
        lines, row, column = [""], 0, 0
        for given, verb, control, text in PARTS.findall(self.sent):
            if text:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                column += len(text)
            elif control == "\r":
                column = 0
            elif control == "\n":
                row, column = row + 1, column
                lines += [""] * (row + 1 - len(lines))
            elif verb == "A":
                row = max(0, row - int(given or 1))
            elif verb == "K":
                lines[row] = "" if given == "2" else lines[row][:column]
            elif verb not in "mhl":
                raise AssertionError(f"an escape that this terminal does not know: {given}{verb}")
        return [line.rstrip() for line in lines]

    @property
    def cursor_is_shown(self) -> bool:
        """Whether whoever types next sees where."""
        return self.sent.rfind("\x1b[?25h") >= self.sent.rfind("\x1b[?25l")


def in_terminal(command: Sequence[str], *, columns: int = 80, until: str | None = None, **environment: str) -> Seen:
    """Run a command in a terminal of so many columns; Ctrl-C is pressed once `until` was seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        cleared = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        os.execve(command[0], list(command), {**cleared, "TERM": "xterm-256color", **environment})
    sent = b""
    try:
        while more := os.read(terminal, 4096):
            sent += more
            if until is not None and until.encode() in sent:
                os.write(terminal, b"\x03")
                until = None
    except OSError:  # how Linux says that the other end of a terminal is closed
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return Seen(sent.decode(), code)
