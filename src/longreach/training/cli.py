"""`longreach train …`: one command a kind of data, and the options that all of them share."""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from longreach.errors import ArgumentError

app = typer.Typer(no_args_is_help=False, invoke_without_command=True)

SHARED: dict[str, Any] = {
    "cell": Annotated[
        str | None, typer.Option(help="lstm, gru, min-gru, phases, linear-recurrent, rnn, lem, orthogonal; or A+B.")
    ],
    "hidden": Annotated[int | None, typer.Option(help="Units of a layer.")],
    "layers": Annotated[int | None, typer.Option(help="Layers, one above the other.")],
    "lag": Annotated[int | None, typer.Option(help="Steps that the cell starts to remember.")],
    "dropout": Annotated[float | None, typer.Option(help="Share of outputs left out in training.")],
    "batch": Annotated[int | None, typer.Option(help="Sequences side by side.")],
    "window": Annotated[int | None, typer.Option(help="Steps that a gradient goes back in a stream.")],
    "hop": Annotated[int | None, typer.Option(help="Steps from one update to the next in a stream; default: window.")],
    "lr": Annotated[float | None, typer.Option(help="Largest step size.")],
    "weight_decay": Annotated[float | None, typer.Option(help="Pull of the weights towards 0.")],
    "steps": Annotated[int | None, typer.Option(help="Updates at most.")],
    "patience": Annotated[int | None, typer.Option(help="Judgements without progress before the end.")],
    "clip": Annotated[float | None, typer.Option(help="Longest gradient; default: told by the run; 0: no limit.")],
    "remedies": Annotated[str, typer.Option(metavar="A,B", help="Remedies to train with.")],
    "seed": Annotated[int, typer.Option(help="Decides every draw.")],
    "checkpoint_every": Annotated[float, typer.Option(help="Seconds between two checkpoints.")],
    "precision": Annotated[str, typer.Option(help="32-true, or bf16-mixed.")],
    "accelerator": Annotated[str, typer.Option(help="cpu, cuda, mps, auto.")],
    "devices": Annotated[str, typer.Option(help="How many of them, or auto: all; under torchrun one a worker.")],
    "strategy": Annotated[str, typer.Option(help="ddp: each device has the whole network.")],
    "budget": Annotated[float, typer.Option(help="Share of the wall time that watching may take; 0: none watches.")],
    "run_dir": Annotated[Path | None, typer.Option(help="New or empty folder; default: one under longreach-runs/.")],
    "quiet": Annotated[bool, typer.Option("--quiet", help="Say nothing on the way to the figures.")],
}
DEFAULTS = {
    "remedies": "",
    "seed": 0,
    "checkpoint_every": 30.0,
    "precision": "32-true",
    "accelerator": "auto",
    "devices": "1",
    "strategy": "auto",
    "budget": 0.02,
    "quiet": False,
}
OUTSIDE = ("budget", "run_dir", "quiet")  # of the run, not of the network


def trains(kind: str) -> Callable[[Callable[..., dict[str, Any]]], Callable[..., None]]:
    """Make a command of a function that gives the source of a problem: the shared options come to its own."""

    def command(source: Callable[..., dict[str, Any]]) -> Callable[..., None]:
        own = inspect.signature(source).parameters

        @wraps(source)
        def run(**options: Any) -> None:
            _run(kind, source(**{name: options.pop(name) for name in own}), options)

        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS.get(name), annotation=kind_of)
            for name, kind_of in SHARED.items()
        ]
        run.__signature__ = inspect.Signature([*own.values(), *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {name: part.annotation for name, part in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
        return app.command(kind)(run)

    return command


def _run(kind: str, source: dict[str, Any], options: dict[str, Any]) -> None:
    from longreach.training.plan import Settings
    from longreach.training.train import train

    outside = {name: options.pop(name) for name in OUTSIDE}
    names = tuple(name.strip() for name in options.pop("remedies").split(",") if name.strip())
    settings = Settings(**options, remedies=names)
    folder = outside.pop("run_dir")
    _told(lambda: train(kind, source, settings, folder=folder, **outside))


def _told(work: Callable[[], Any]) -> None:
    """Run, and say how it ended."""
    from longreach.launch import read_run
    from longreach.report.page.file import PAGE, leave
    from longreach.report.screen import Screen
    from longreach.report.trained import render
    from longreach.training.loop import Interrupted

    try:
        outcome = work()
    except Interrupted as stop:
        typer.echo(f"longreach: {stop}", err=True)
        raise typer.Exit(stop.code) from None
    if outcome.test:  # of the first process: the others have none
        complaint = None if outcome.unwritten else leave(outcome.folder)
        page = "" if complaint or outcome.unwritten else str(outcome.folder / PAGE)
        diagnosis = read_run(outcome.folder) if outcome.verdict else None
        print(render(outcome, diagnosis, Screen.of(sys.stdout), page=page), end="", flush=True)
        if complaint is not None:
            typer.echo(f"longreach: {complaint}", err=True)
    for sentence in outcome.unwritten:
        typer.echo(f"longreach: {sentence}", err=True)
    if outcome.unwritten:
        raise typer.Exit(1)


@app.callback()
def root(
    context: typer.Context,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    budget: Annotated[float, typer.Option(help="Share of the wall time that watching may take.")] = 0.02,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way to the figures.")] = False,
) -> None:
    """Train a network on your own data, with as long a memory as they need."""
    if context.invoked_subcommand is not None:
        return
    if resume is None:
        typer.echo(context.get_help())
        raise typer.Exit
    from longreach.training.train import resume as go_on

    _told(lambda: go_on(resume, budget=budget, quiet=quiet))


@trains("task")
def task(
    name: Annotated[str, typer.Argument(help="A task of the literature; `longreach train task list` names them.")],
    length: Annotated[int | None, typer.Option(help="T of the source; default: 100, or as published.")] = None,
    variant: Annotated[str | None, typer.Option(help="Where the literature knows several.")] = None,
    longest: Annotated[int | None, typer.Option(help="Lengths up to this, drawn at random for each batch.")] = None,
    folder: Annotated[Path | None, typer.Option(help="digits: where the files of MNIST lie.")] = None,
    permuted: Annotated[
        bool, typer.Option("--permuted", help="digits: the pixels in the published random order.")
    ] = False,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="Any other field of the task, as delay=20.")
    ] = None,
    beyond: Annotated[str, typer.Option(metavar="A,B", help="Lengths to try the trained network at, too.")] = "",
    keep_training: Annotated[bool, typer.Option("--keep-training", help="Go on once it is solved.")] = False,
) -> dict[str, Any]:
    """A long-lag task of the literature, exactly as it was published."""
    if name == "list":
        from longreach.report.screen import Screen
        from longreach.report.tasks import render

        print(render(Screen.of(sys.stdout)), end="")
        raise typer.Exit
    files = None if folder is None else str(folder.absolute())
    options = {"length": length, "variant": variant, "longest": longest, "folder": files, "permuted": permuted or None}
    options |= dict(map(_field, field or ()))
    source = {"name": name} | {key: value for key, value in options.items() if value is not None}
    return source | {"beyond": _lengths(beyond), "keep_training": keep_training}


def _field(given: str) -> tuple[str, float]:
    name, _, value = given.partition("=")
    try:
        return name, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise ArgumentError(f"--field: expected NAME=NUMBER, as delay=20, got {given!r}") from None


def _lengths(given: str) -> list[int]:
    try:
        return [int(length) for length in given.split(",") if length.strip()]
    except ValueError:
        raise ArgumentError(f"--beyond: expected lengths as 500,1000, got {given!r}") from None


@trains("text")
def text(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Text; each file is a document.")],
    unit: Annotated[str, typer.Option(help="character, or byte.")] = "character",
    encoding: Annotated[str | None, typer.Option(help="Of the files, as latin-1 or utf-16; default: UTF-8.")] = None,
    document_separator: Annotated[str, typer.Option(help=r"Stands between documents in a file, as '\n\n'.")] = "",
    validation: Annotated[
        float | None, typer.Option(help="Share of the text, before the test's, that tells when to stop; default: 0.05.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share of the text, at its end, for the figures; default: 0.05.")
    ] = None,
) -> dict[str, Any]:
    """Texts: what character comes next. Then `longreach generate RUN` writes more of it."""
    return {
        "files": [str(file.absolute()) for file in files],
        "unit": unit,
        "encoding": encoding,
        "document_separator": document_separator,
        "validation": validation,
        "test": test,
    }


@trains("series")
def series(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet, a time in each row.")],
    target: Annotated[str, typer.Option(metavar="A,B", help="Columns to forecast.")],
    horizon: Annotated[int, typer.Option(help="Steps to forecast.")],
    past: Annotated[str, typer.Option(metavar="A,B", help="Columns to learn from, known up to now.")] = "",
    known: Annotated[str, typer.Option(metavar="A,B", help="Columns known ahead: plans, prices, holidays.")] = "",
    static: Annotated[str, typer.Option(metavar="A,B", help="Columns of one number for each series.")] = "",
    time: Annotated[str | None, typer.Option(help="Column of times; default: the one that holds times.")] = None,
    group: Annotated[str | None, typer.Option(help="Column that tells several series apart.")] = None,
    split: Annotated[
        str, typer.Option(help="Training, validation, test: shares, or steps as 8640,2880,2880.")
    ] = "0.6,0.2",
    context: Annotated[
        int | None, typer.Option(help="Steps to look back; default: seven seasons, at most 512.")
    ] = None,
    quantiles: Annotated[
        str, typer.Option(help="Levels of the intervals, 0.5 in the middle.")
    ] = "0.1,0.25,0.5,0.75,0.9",
) -> dict[str, Any]:
    """Measurements over time: how they go on, with intervals. Then `longreach forecast RUN` goes beyond the file."""
    columns = {"target": target, "past": past, "known": known, "static": static}
    return {
        "file": str(file.absolute()),
        **{name: [one.strip() for one in given.split(",") if one.strip()] for name, given in columns.items()},
        "horizon": horizon,
        "time": time,
        "group": group,
        "split": split,
        "context": context,
        "quantiles": _levels(quantiles),
    }


def _levels(given: str) -> list[float]:
    try:
        return [float(level) for level in given.split(",")]
    except ValueError:
        raise ArgumentError(f"--quantiles: expected numbers as 0.1,0.5,0.9, got {given!r}") from None


@trains("classify")
def classify(
    path: Annotated[
        Path, typer.Argument(metavar="DIR|FILE", help="DIR/LABEL/*.csv, *.npy or *.txt, a sequence a file; or a table.")
    ],
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    sequence: Annotated[str | None, typer.Option(help="Column that says which sequence a row is a step of.")] = None,
    time: Annotated[str | None, typer.Option(help="Column that orders the steps; default: the rows' order.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of texts, each row a whole sequence.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train, validation or test.")] = None,
    validation: Annotated[float, typer.Option(help="Share that tells when to stop.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share that the figures are for.")] = 0.15,
    split_seed: Annotated[int, typer.Option(help="Decides which sequences these are.")] = 0,
) -> dict[str, Any]:
    """Labelled sequences of unequal length, numbers or text: which label each has."""
    return {
        "path": str(path.absolute()),
        "label": label,
        "sequence": sequence,
        "time": time,
        "text": text,
        "split_column": split_column,
        "validation": validation,
        "test": test,
        "split_seed": split_seed,
    }


@trains("music")
def music(
    path: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="Piano rolls: .mat, .json, or folders of .npy, see the docs.")
    ],
    first_step: Annotated[
        bool, typer.Option("--first-step", help="Ask for a piece's first step too, from nothing.")
    ] = False,
) -> dict[str, Any]:
    """Music as piano rolls: at each step, which keys sound next."""
    return {"path": str(path.absolute()), "first_step": first_step}
