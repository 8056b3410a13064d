"""The lines that make a remedy permanent: as a patch, where the place is found in the script, else to be pasted."""

import ast
import difflib
import itertools
import os
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longreach.remedies import Remedy

IMPORT = "from longreach import remedies"


@dataclass(frozen=True)
class Patch:
    """What to change.

    file    the script's file, as it is to be named
    diff    a unified diff, for `patch -p0`; None where the place was not found
    before  lines that belong before the statement that makes the optimizer
    after   lines that belong after it
    source  the whole file with the lines in it; None as above
    """

    file: str
    diff: str | None
    before: tuple[str, ...]
    after: tuple[str, ...]
    source: str | None = None

    @property
    def lines(self) -> int:
        """How many lines come in."""
        return len(self.before) + len(self.after)


def patch_for(file: Path, line: int, remedies: Sequence[Remedy], *, shown: str | None = None) -> Patch:
    """The patch of a file that makes its optimizer at this line.

    shown  the file's name in the patch
    """
    shown = shown or os.path.relpath(file)
    try:
        with file.open("rb") as raw:
            encoding, _ = tokenize.detect_encoding(raw.readline)
        with file.open(encoding=encoding, newline="") as stream:  # line ends as they are
            source = stream.read()
        tree = ast.parse(source)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return _to_paste(shown, remedies)
    statement = _statement(tree, line)
    models = _models(statement) if statement is not None else []
    optimizer = _assigned(statement)
    of_modules = [remedy for remedy in remedies if remedy.moment == "module"]
    of_optimizers = [remedy for remedy in remedies if remedy.moment == "optimizer"]
    if statement is None or (of_modules and not models) or (of_optimizers and optimizer is None):
        return _to_paste(shown, remedies)
    prefix = _prefix(tree)
    before = [f"{prefix}.{remedy.verb.__name__}(None)" for remedy in remedies if remedy.moment == "process"]
    before += [f"{prefix}.{remedy.verb.__name__}({model})" for remedy in of_modules for model in models]
    after = [f"{prefix}.{remedy.verb.__name__}({optimizer})" for remedy in of_optimizers]
    patched = _with_lines(source, tree, statement, before, after, prefix)
    return Patch(shown, _diff(source, patched, shown), tuple(before), tuple(after), patched)


def _to_paste(shown: str, remedies: Sequence[Remedy]) -> Patch:
    target = {"module": "model", "process": "None", "optimizer": "optimizer"}
    calls = [(remedy, f"remedies.{remedy.verb.__name__}({target[remedy.moment]})") for remedy in remedies]
    before = tuple(call for remedy, call in calls if remedy.moment != "optimizer")
    return Patch(shown, None, before, tuple(call for remedy, call in calls if remedy.moment == "optimizer"))


def _statement(tree: ast.Module, line: int) -> ast.stmt | None:
    """The innermost statement that covers a line, if it holds no other one."""
    covering = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    innermost = max(covering, key=lambda node: (node.lineno, node.col_offset), default=None)
    if innermost is None or any(isinstance(node, ast.stmt) for node in ast.iter_child_nodes(innermost)):
        return None
    return innermost


def _models(statement: ast.stmt) -> list[str]:
    """What `.parameters()` is asked of within a statement: one model, or the parts that have no model in common."""
    owners = [
        ast.unparse(node.func.value)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("parameters", "named_parameters")
    ]
    distinct = list(dict.fromkeys(owners))
    if len(distinct) < 2:
        return distinct
    parts = zip(*(owner.split(".") for owner in distinct), strict=False)
    common = [level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, parts)]
    return [".".join(common)] if common and common != ["self"] else distinct


def _assigned(statement: ast.stmt | None) -> str | None:
    """The variable that the optimizer gets."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.unparse(statement.target)
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    return ast.unparse(target) if isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)) else None


def _prefix(tree: ast.Module) -> str:
    """ "remedies", or a longer name where the script uses that one for something else."""
    used = any(isinstance(node, ast.Name) and node.id == "remedies" for node in ast.walk(tree))
    return "longreach.remedies" if used else "remedies"


def _with_lines(
    source: str, tree: ast.Module, statement: ast.stmt, before: list[str], after: list[str], prefix: str
) -> str:
    lines = source.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if not lines[-1].endswith(("\n", "\r")):
        lines[-1] += ending
    text = lines[statement.lineno - 1]
    indent = text[: len(text) - len(text.lstrip())]
    end = statement.end_lineno or statement.lineno
    insertions = [
        (_after_imports(tree), [IMPORT if prefix == "remedies" else "import longreach"]),
        (statement.lineno - 1, [indent + line for line in before]),
        (end, [indent + line for line in after]),
    ]
    for at, new in sorted(insertions, key=lambda pair: pair[0])[::-1]:  # from the last line up: numbers stay right
        lines[at:at] = [line + ending for line in new]
    return "".join(lines)


def _after_imports(tree: ast.Module) -> int:
    """The number of the line behind the last import at the top of a file, or behind its docstring."""
    last = 0
    for node in _top(tree):
        last = node.end_lineno or node.lineno
    return last


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    for number, node in enumerate(tree.body):
        is_docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_docstring and not isinstance(node, (ast.Import, ast.ImportFrom)):
            return
        yield node


def _diff(source: str, patched: str, shown: str) -> str:
    old, new = source.splitlines(keepends=True), patched.splitlines(keepends=True)
    parts = difflib.unified_diff(old, new, shown, shown)
    return "".join(part if part.endswith("\n") else part + "\n\\ No newline at end of file\n" for part in parts)
