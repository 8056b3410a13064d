"""The command line: thin calls to public functions."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from longreach.errors import ArgumentError, LongreachError
from longreach.training import cli as training

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an error of ours is a bug: the plain traceback is what a report of it needs
    help="See how far back your network's gradient reaches, and how far back its data needs it to.",
)
app.add_typer(training.app, name="train")


class Format(StrEnum):
    """How a run is rendered."""

    text = "text"
    json = "json"
    html = "html"


def _version(wanted: bool) -> None:
    if wanted:
        from longreach import __version__

        typer.echo(f"longreach {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")] = False,
) -> None:
    """See how far back your network's gradient reaches, and how far back its data needs it to."""


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="What `python` would run; with -m, a module.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own.")] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module, as for `python -m`.")] = False,
    budget: Annotated[float, typer.Option(help="Share of the wall time that watching may take.")] = 0.02,
    run_dir: Annotated[
        Path | None, typer.Option(help="New or empty folder for what is measured; default: one under longreach-runs/.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Afterwards look for what two inputs tell only together; up to a minute.")
    ] = False,
    accelerate: Annotated[
        bool, typer.Option("--accelerate", help="Replace torch's recurrent layers by ours: the same losses, sooner.")
    ] = False,
    apply: Annotated[
        str, typer.Option("--apply", metavar="A,B", help="Remedies to run the script with, unmodified as it is.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Run a PyTorch training script under watch, and say how far its gradient reaches and its data need it to.

    Everything after SCRIPT belongs to the script, and so do its output and its exit code; the verdict goes to stderr.
    """
    from longreach import launch

    code = launch.run(
        script,
        arguments or (),
        module=module,
        budget=budget,
        folder=run_dir,
        deep=deep,
        accelerate=accelerate,
        apply=[name.strip() for name in apply.split(",") if name.strip()],
        quiet=quiet,
    )
    launch.leave(code)


@app.command(context_settings={"allow_interspersed_args": False})
def treat(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="What `python` would run; with -m, a module.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own.")] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module, as for `python -m`.")] = False,
    steps: Annotated[
        int, typer.Option(help="Every run ends after so many optimizer steps, or with the script.")
    ] = 1000,
    seeds: Annotated[int, typer.Option(help="Pairs of runs that the proof rests on.")] = 5,
    jobs: Annotated[int | None, typer.Option(help="Runs at a time; default: one for each core, or GPU.")] = None,
    remedies: Annotated[
        str,
        typer.Option(metavar="A,B+C", help="What to try, B and C together; default: what the diagnosis prescribes."),
    ] = "",
    metric: Annotated[str, typer.Option(help="What is compared: the loss, or a number the script prints.")] = "loss",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Run in this very folder, instead of a copy of it for each run.")
    ] = False,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept; default: one under longreach-runs/, found again.")
    ] = None,
) -> None:
    """Try the remedies that fit a training script, prove which one helps, and write the patch.

    The same command again goes on where it stopped. Exit code 0 if a remedy is proven or none is needed, else 1.
    """
    from longreach.report.aloud import say
    from longreach.report.screen import Screen
    from longreach.report.treated import render
    from longreach.trial.treat import treat as try_out

    try:
        found = try_out(
            script,
            arguments or (),
            module=module,
            steps=steps,
            seeds=seeds,
            jobs=jobs,
            remedies=[course.strip() for course in remedies.split(",") if course.strip()],
            metric=metric,
            in_place=in_place,
            folder=run_dir,
        )
    except KeyboardInterrupt:
        say("longreach: interrupted before anything was known; the same command goes on from here")
        raise typer.Exit(130) from None
    print(render(found, Screen.of(sys.stdout)), end="", flush=True)
    raise typer.Exit(130 if not found.complete else 0 if found.helped else 1)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `longreach run` named it.")],
    format: Annotated[Format, typer.Option("--format", help="How to show it; html is a page.")] = Format.text,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write; default: to the terminal.")] = None,
) -> None:
    """Show a run again, over or still going on."""
    from longreach.report.rendered import rendered
    from longreach.report.screen import Screen
    from longreach.whole import write_whole

    if out is None and format is Format.html and sys.stdout.isatty():
        raise ArgumentError("--format html: expected a file for the page, got a terminal; add --out report.html")
    text = rendered(folder, format.value, Screen.of(sys.stdout if out is None else None))
    if out is None:  # by typer, which ends us quietly if whoever read it has gone
        encoding = "utf-8" if format is Format.html else sys.stdout.encoding  # the page says that it is UTF-8
        typer.echo(text.encode(encoding, "replace"), nl=False)
        return
    try:
        write_whole(out, text.encode())
    except OSError as error:
        raise ArgumentError(f"--out {out}: expected a file that can be written, got: {error.strerror}") from None


@app.command()
def view(
    folder: Annotated[
        Path, typer.Argument(metavar="[RUN|DIR]", help="A run folder, or one that holds runs; they may be going on.")
    ] = Path("longreach-runs"),
    port: Annotated[
        int | None, typer.Option(help="Of 127.0.0.1; default: a free one, for the same folder the same again.")
    ] = None,
    browse: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the link in a browser; default: where there is a screen."),
    ] = None,
) -> None:
    """Show runs in the browser while they go on: one, or all those under a folder, side by side.

    Prints a link that opens once, in a browser on this machine. Ctrl-C ends it.
    """
    from longreach.view.server import view as serve

    serve(folder, port=port, browse=browse)


@app.command()
def generate(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `longreach train text` named it.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    length: Annotated[int, typer.Option(help="Characters to write.")] = 1000,
    temperature: Annotated[
        float, typer.Option(help="1: as varied as the text that was learned; 0: always the likeliest character.")
    ] = 0.8,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same; default: another text now.")] = None,
) -> None:
    """Write text with a network that `longreach train text` has trained."""
    from longreach.training.text.generate import generated, printable

    for piece in generated(folder, prompt=prompt, length=length, temperature=temperature, seed=seed):
        typer.echo(printable(piece, sys.stdout), nl=False)
        sys.stdout.flush()
    typer.echo()


@app.command()
def forecast(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `longreach train series` named it.")],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Measurements to go on from; default: those of the training."),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw it.")] = False,
    out: Annotated[Path | None, typer.Option(help="CSV file to write; default: to the terminal.")] = None,
) -> None:
    """Forecast what follows after the end of a file, with a network that `longreach train series` has trained."""
    from longreach.report.screen import Screen
    from longreach.training.series.forecast import as_csv, charts
    from longreach.training.series.forecast import forecast as expected

    found = expected(folder, file)
    if plot:
        print(charts(found, Screen.of(sys.stdout)), end="", flush=True)
    if out is not None:
        as_csv(found.expected, out)
    elif not plot:
        typer.echo(as_csv(found.expected), nl=False)


@app.command()
def bench(
    tasks: Annotated[
        str, typer.Option(metavar="A,B", help="As adding, adding:bai, temporal-order:longest=200.")
    ] = "adding",
    lengths: Annotated[str, typer.Option(metavar="T,T", help="Of every task.")] = "30,100",
    cells: Annotated[
        str, typer.Option(metavar="A,B", help="Cells of `longreach train`, A+B side by side.")
    ] = "lstm,min-gru+phases",
    remedies: Annotated[
        str, typer.Option(metavar="A,B+C", help="With each cell; none: as it is; B and C together.")
    ] = "none",
    seeds: Annotated[int, typer.Option(help="Trainings of everything.")] = 3,
    steps: Annotated[int, typer.Option(help="Updates of a training, at most.")] = 2000,
    guess: Annotated[
        float, typer.Option(metavar="SECONDS", help="Guess weights at random for so long, at each task and length.")
    ] = 0.0,
    jobs: Annotated[int | None, typer.Option(help="Trainings at a time; default: one for each core.")] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Ray cluster: auto, HOST:PORT, ray://HOST:PORT.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where everything is kept; default: one under longreach-runs/, found again.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way to the table.")] = False,
) -> None:
    """Train cells and remedies on the long-lag tasks of the literature; show who solves what, beside what is published.

    The same command again goes on where it stopped. Exit code 1 if any training failed.
    """
    from longreach.bench.cases import Asked
    from longreach.bench.run import bench as train_all
    from longreach.report.benched import render
    from longreach.report.screen import Screen

    asked = Asked(tasks, lengths, cells, remedies, seeds, steps, guess)
    benched = train_all(asked, jobs=jobs, ray=ray, folder=run_dir, quiet=quiet)
    print(render(benched, Screen.of(sys.stdout)), end="", flush=True)
    raise typer.Exit(130 if not benched.complete else 1 if any(row.failed for row in benched.rows) else 0)


@app.command()
def demo() -> None:
    """The whole story: a forgetful network, its picture, its verdict, the remedy, and what the remedy changed."""
    from longreach.demo import demo as play

    raise typer.Exit(play())


def main() -> None:
    """The command `longreach`; exit code 2 for whatever was wrong with what was asked."""
    try:
        app()
    except LongreachError as error:
        from longreach.report.words import safe_lines  # names of files may hold anything

        print(f"longreach: {safe_lines(error)}", file=sys.stderr)
        sys.exit(2)
