"""How the losses of control and remedy went."""

from longreach.report.page.figure import Figure
from longreach.report.page.figures.arms import called, mean
from longreach.report.page.figures.axes import Trace, curve, lost, once, panels, scaled, title
from longreach.report.page.figures.text import cut, shown
from longreach.story import Story
from longreach.trial.proof import Arm, Outcome, Proof

MOST = 8  # seeds that are drawn


def proof_losses(story: Story) -> tuple[Figure, ...]:
    """Losses of the control and of the winner, or of the arm that gained most where none is proven, seed by seed.

    Points  those of a trial: at most a hundred a run, evenly spaced over its steps; of at most 8 seeds
    """
    found = story.proof
    best = _best(found) if found and found.control.outcomes else None
    if found is None or best is None:
        return ()
    runs = [(found.control, run) for run in found.control.outcomes if run.losses][:MOST]
    runs += [(best, run) for run in best.outcomes if run.losses][:MOST]
    if not any(arm is best for arm, _ in runs):
        return ()
    name = cut(called(found, best))
    look = _look(found, best)
    layout = panels("training step", 1.0)
    layout |= {"height": 360, "hovermode": "closest"}
    layout["yaxis"]["title"] = title("loss")
    ends = scaled(layout["yaxis"], [value for _, run in runs for value in run.losses])
    return (
        Figure(
            name="proof-losses",
            title=f"Losses of the control and of {name}, seed by seed",
            look=look,
            said=f"A curve of the loss over the training step for each of {len(runs)} runs. {look}",
            traces=once(trace for arm, run in runs for trace in _traces(found, arm, run, ends)),
            layout=layout,
            columns=("training step", "arm", "seed", "loss"),
            rows=[
                (step, cut(_named(found, arm)), run.seed, value)
                for arm, run in runs
                for step, value in zip(_steps(run, found.steps), run.losses, strict=True)
            ],
        ),
    )


def _best(found: Proof) -> Arm | None:
    tried = [arm for arm in found.arms if found.gain(arm)]
    return found.winner or max(tried, key=lambda arm: mean(found.gain(arm).values()), default=None)


def _named(found: Proof, arm: Arm) -> str:
    return "control" if arm is found.control else called(found, arm)


def _traces(found: Proof, arm: Arm, run: Outcome, ends: tuple[float, float]) -> list[Trace]:
    """The curve of one run, and what in it is no number."""
    name, steps = _named(found, arm), _steps(run, found.steps)
    role, dash = ("beside", "dot") if arm is found.control else ("main", "solid")
    hover = f"seed {run.seed}, step %{{x}}: %{{y:.3~g}}"
    line = curve(shown(name), role, steps, run.losses, line={"width": 2, "dash": dash}, hovertemplate=hover)
    return [line, *lost(shown(f"{name}, seed {run.seed}"), steps, run.losses, ends)]


def _steps(run: Outcome, steps: int) -> list[int]:
    """Where the points of a thinned curve lie: evenly spaced over the run."""
    last = max(steps, len(run.losses)) - 1
    return [round(place * last / max(1, len(run.losses) - 1)) for place in range(len(run.losses))]


def _look(found: Proof, best: Arm) -> str:
    metric, name = cut(found.metric), cut(called(found, best))
    before, after = (mean(found.ends(one, best)) for one in (found.control, best))
    ended = f"{metric[:1].upper()}{metric[1:]} at the end, on average: {before:.3g} without, {after:.3g} with {name}."
    return f"{ended} Dotted: the control; solid: {name}."
