"""The pages of the reference that are lists of names: mkdocstrings makes the text."""

import longreach
from longreach import nn, tasks
from longreach.nn import cells

LAYERS = ("longreach.nn.GRU", "longreach.nn.LSTM", "longreach.nn.RNN")
OF_ALL = "\n    options:\n      inherited_members: [set_options, from_torch]"  # what these three have from one class
TRAINING = (
    "longreach.training.train.train",
    "longreach.training.train.resume",
    "longreach.training.plan.Settings",
    "longreach.training.outcome.Outcome",
    "longreach.training.problem.Problem",
    "longreach.training.run.load",
)
REMEDIES = (
    "longreach.remedies.Remedy",
    "longreach.remedies.applied",
    "longreach.remedies.undo",
    "longreach.remedies.named",
    "longreach.remedies.clipping",
    "longreach.remedies.guarded",
)
INTEGRATIONS = (
    "longreach.integrations.lightning.LongreachCallback",
    "longreach.integrations.lightning.TruncatedBPTT",
    "longreach.integrations.lightning.Windows",
    "longreach.integrations.transformers.LongreachCallback",
    "longreach.integrations.transformers.watch",
    "longreach.integrations.tensorboard.write",
    "longreach.integrations.wandb.log",
    "longreach.integrations.mlflow.log",
)
TESTING = ("longreach.testing.check_cell", "longreach.testing.Case")
RECORD = ("Record", "Layer", "Reach", "Need", "DeepNeed", "LongMemory", "Denormals", "LossCurve", "NonFinite")


def pages() -> dict[str, str]:
    """Every page, by its address within docs/."""
    public = [f"longreach.{name}" for name in longreach.__all__ if name != "nn"]
    layers = [f"longreach.nn.{name}" for name in nn.__all__ if name != "cells"]
    layers = [name + OF_ALL if name in LAYERS else name for name in layers]
    every_cell = [f"longreach.nn.cells.{name}" for name in cells.__all__]
    every_task = [f"longreach.tasks.{name}" for name in tasks.__all__ if name not in ("TASKS", "make", "named")]
    return {
        "reference/longreach.md": _page("longreach", "What `import longreach` gives.", public),
        "reference/nn.md": _page("longreach.nn", "Layers, and what looks at them. [All cells](cells.md)", layers),
        "reference/cells.md": _page("longreach.nn.cells", "One step each, for `longreach.nn.Recurrent`.", every_cell),
        "reference/remedies.md": _page(
            "longreach.remedies",
            "A verb for each remedy, each with [a page of its own](../choose.md#all-of-them), and these:",
            list(REMEDIES),
        ),
        "reference/tasks.md": _page(
            "longreach.tasks",
            "The long-lag tasks of the literature.",
            ["longreach.tasks.make", "longreach.tasks.named", *every_task],
        ),
        "reference/training.md": _page("longreach.training", "Training on your own data.", list(TRAINING)),
        "reference/integrations.md": _page(
            "longreach.integrations", "[How to use them](../integrations.md), and what each needs.", list(INTEGRATIONS)
        ),
        "reference/testing.md": _page("longreach.testing", "Whether a cell of yours is one.", list(TESTING)),
        "reference/record.md": _page(
            "longreach.record",
            "What was measured of a run, as plain data.",
            [f"longreach.record.{name}" for name in RECORD],
        ),
    }


def _page(title: str, lead: str, names: list[str]) -> str:
    return f"# {title}\n\n{lead}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
