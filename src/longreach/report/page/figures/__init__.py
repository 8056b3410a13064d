"""The figures of the page: one a file, each a pure function of a story."""

from longreach.report.page.figure import Figure
from longreach.report.page.figures.depth import depth
from longreach.report.page.figures.loss_and_gradient import loss_and_gradient
from longreach.report.page.figures.proof_effects import proof_effects
from longreach.report.page.figures.proof_losses import proof_losses
from longreach.report.page.figures.proof_reach import proof_reach
from longreach.report.page.figures.reach_and_need import reach_and_need
from longreach.report.page.figures.reach_over_training import reach_over_training
from longreach.report.page.figures.units import units
from longreach.report.page.figures.updates import updates
from longreach.story import Story

DRAW = (  # in the order of the page; a new one is a file and a name here
    reach_and_need,
    reach_over_training,
    proof_effects,
    proof_reach,
    proof_losses,
    loss_and_gradient,
    depth,
    updates,
    units,
)


def drawn(story: Story) -> tuple[Figure, ...]:
    """Every figure that there is something to draw of; the first is the picture of the gravest layer.

    Cost  all together at most 0.9 MB as JSON, however long the run and however many its layers
    """
    return tuple(figure for draw in DRAW for figure in draw(story))
