"""Rules of three published tools, written anew from their published definitions, over a spy's diary.

What is left out, and why, stands with each tool. Where a definition leaves room, the reading that fires more often on
ill runs is taken. All see every tenth step, ten to fifty times as often as SageMaker Debugger would by default.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Diary = dict[str, Any]
Rule = Callable[[Diary], bool]


def any_gradient(diary: Diary, holds: Callable[[dict], bool]) -> bool:
    return any(holds(g) for sample in diary["samples"] for g in sample.get("gradients", {}).values())


def any_weight(diary: Diary, holds: Callable[[dict], bool]) -> bool:
    return any(holds(w) for sample in diary["samples"] for w in sample["weights"].values())


def any_call(diary: Diary, kinds: tuple[str, ...], holds: Callable[[dict], bool]) -> bool:
    return any(holds(call) for sample in diary["samples"] for call in sample["calls"] if call["kind"] in kinds)


# ---------------------------------------------------------------- Amazon SageMaker Debugger, its built-in rules
# Thresholds: the defaults of its list of built-in rules. Left out: rules that need what a run does not say (a confusion
# matrix, pictures, trees) or another run, and Overfit and Overtraining, which look for none of these faults.


def vanishing_gradient(diary: Diary) -> bool:
    """The mean absolute gradient of a tensor is below 1e-7."""
    return any_gradient(diary, lambda g: g["mean"] < 1e-7)


def exploding_tensor(diary: Diary) -> bool:
    """NaN or infinity in a gradient, a weight or the loss; large finite values do not count."""
    lost = any(not math.isfinite(loss) for loss in diary["losses"])
    return lost or any_gradient(diary, lambda g: not g["finite"]) or any_weight(diary, lambda w: not w["finite"])


def dead_relu(diary: Diary) -> bool:
    """More than 50 % of a rectifier's units are active for less than 1 % of the inputs."""
    return any_call(diary, ("relu",), lambda call: call["dead"] > 0.5)


def saturated_activation(diary: Diary) -> bool:
    """More than 50 % of the units lie outside ±9.4999 (tanh) or -23 … 16.99999 (sigmoid) for 99 % of the inputs."""
    return any_call(diary, ("tanh", "sigmoid"), lambda call: call["saturated"] > 0.5)


def weight_update_ratio(diary: Diary) -> bool:
    """The ratio of update to weight lies below 1e-8 or above 10; of weights, for a bias that begins as 0 has none."""
    return any(
        weight["ratio"] < 1e-8 or weight["ratio"] > 10
        for sample in diary["samples"]
        for name, weight in sample["weights"].items()
        if name in sample["kernels"]
    )


def poor_weight_initialization(diary: Diary) -> bool:
    """In the first 10 steps: variances of layers' weights a factor of more than 10 apart, or the 5th and the 95th
    percentile of a gradient less than 0.001 apart, or a loss that does not fall for 5 steps on end.
    """
    early = [sample for sample in diary["samples"] if sample["step"] <= 10]
    for sample in early:
        variances = [sample["weights"][name]["variance"] for name in sample["kernels"]]
        if len(variances) > 1 and max(variances) > 10 * min(variances):
            return True
        if any(g["spread"] < 0.001 for g in sample.get("gradients", {}).values()):
            return True
    losses = diary["losses"][:10]
    return any(min(losses[at + 1 : at + 6]) >= min(losses[: at + 1]) for at in range(len(losses) - 5))


def loss_not_decreasing(diary: Diary) -> bool:
    """The loss fell by less than 0.1 % between two checks, 10 steps apart."""
    losses = diary["losses"][::10]
    return any(not after <= before * 0.999 for before, after in pairwise(losses))


def unchanged_tensor(diary: Diary) -> bool:
    """A weight that three checks on end leave as it was."""
    return _stays(diary, 3)


def all_zero(diary: Diary) -> bool:
    """A gradient or weight tensor of nothing but zeros; biases, which begin so, are left out."""
    kernels = {name for sample in diary["samples"] for name in sample["kernels"]}
    return any(
        sample["weights"][name]["zeros"] == 1 or (name in (g := sample.get("gradients", {})) and g[name]["norm"] == 0)
        for sample in diary["samples"]
        for name in kernels & set(sample["weights"])
    )


SAGEMAKER: dict[str, Rule] = {
    "VanishingGradient": vanishing_gradient,
    "ExplodingTensor": exploding_tensor,
    "DeadRelu": dead_relu,
    "SaturatedActivation": saturated_activation,
    "WeightUpdateRatio": weight_update_ratio,
    "PoorWeightInitialization": poor_weight_initialization,
    "LossNotDecreasing": loss_not_decreasing,
    "UnchangedTensor": unchanged_tensor,
    "AllZero": all_zero,
}

# ---------------------------------------------------------------- DeepDiagnosis (ICSE 2022)
# Left out: "accuracy not rising" and "loss not falling", for want of a threshold that we could read.


def _stays(diary: Diary, checks: int) -> bool:
    names = {name for sample in diary["samples"] for name in sample["weights"]}
    for name in names:
        still = 0
        for sample in diary["samples"]:
            still = 0 if sample["weights"].get(name, {"moved": 1})["moved"] else still + 1
            if still >= checks:
                return True
    return False


DEEPDIAGNOSIS: dict[str, Rule] = {
    "dead": lambda diary: any_call(diary, ("relu",), lambda call: call["inactive"] >= 0.7),
    "saturated": lambda diary: any_call(diary, ("tanh", "sigmoid"), lambda call: call["large"] > 0.5),
    "vanishing": lambda diary: any_gradient(diary, lambda g: g["mean"] < 1e-7),
    "exploding": lambda diary: exploding_tensor(diary),
    "unchanged": lambda diary: _stays(diary, 1),
    "initialisation": lambda diary: any(
        not 1e-5 <= diary["samples"][0]["weights"][name]["variance"] <= 10 for name in diary["samples"][0]["kernels"]
    ),
}

# ---------------------------------------------------------------- AutoTrainer (ICSE 2021, TDSC 2024)
# A check every three epochs, on the gradient of a training batch. Its rules on what a softmax gives out and on the kind
# of the loss are left out: they presume Keras, where the softmax is a layer. Its priorities are left out too: all that
# holds is said, not only the gravest.

EVERY, FEW, LOW = 3, 0.3, 0.7  # epochs between checks; share of the run without a verdict on accuracy; its Theta


def autotrainer(diary: Diary) -> set[str]:
    """What it would report, of VG, GE, DR, OL, SC and AD, behind its gate of low accuracy."""
    epochs, said, flagged = diary["epochs"], set(), set()
    for number in range(EVERY, len(epochs) + 1, EVERY):
        step, loss, _, _ = epochs[number - 1]
        past = [sample for sample in diary["samples"] if sample["step"] <= step and sample.get("gradients")]
        if not past:
            continue
        flagged |= _by_gradient(past[-1], loss)
        so_far = epochs[:number]
        slow = number >= FEW * len(epochs) and _slow(so_far)
        low = number >= FEW * len(epochs) and _best(so_far) < LOW
        strange = not math.isfinite(loss) or loss > 1e3
        if strange or slow or EVERY > number - len(epochs) // 2 >= 0:
            said |= flagged if low or slow else set()
            said |= {"SC"} if slow else set()
            said |= {"OL"} if _swings(so_far) >= 0.2 * len(epochs) else set()
            said |= {"AD"} if any(not size < 10 for size in past[-1]["outputs"][:-1]) else set()
    return said


def _by_gradient(sample: dict, loss: float) -> set[str]:
    gradients = sample["gradients"]
    kernels = [gradients[name] for name in sample["kernels"] if name in gradients]
    found = set()
    if len(kernels) > 1:
        first, last = kernels[0]["norm"], kernels[-1]["norm"]
        ratio = first / last if last else math.inf if first else 0.0
        found |= {"VG"} if ratio < 1e-3 and first < 1e-4 else set()
        found |= {"GE"} if ratio > 70 else set()
    broken = not all(g["finite"] for g in gradients.values()) or not all(
        w["finite"] for w in sample["weights"].values()
    )
    if broken and (not math.isfinite(loss) or loss > 1e3):
        found.add("GE")
    zeros, count = (sum(g[key] for g in gradients.values()) for key in ("zeros", "count"))
    return found | ({"DR"} if zeros >= 0.7 * count else set())


def _best(epochs: list[list[float]]) -> float:
    return max(max(0.0, accuracy) for epoch in epochs for accuracy in epoch[2:])


def _slow(epochs: list[list[float]]) -> bool:
    """The best rise of one epoch is below 0.01, of training and held-out accuracy, and both stay low."""
    rises = [after[at] - before[at] for before, after in pairwise(epochs) for at in (2, 3)]
    return not any(rise >= 0.01 for rise in rises) and _best(epochs) < LOW


def _swings(epochs: list[list[float]]) -> int:
    """Falls of the training accuracy from a local maximum to the next local minimum by 0.03 or more."""
    values = [epoch[2] for epoch in epochs]
    turns = [
        value
        for at, value in enumerate(values)
        if at in (0, len(values) - 1) or (value - values[at - 1]) * (values[at + 1] - value) < 0
    ]
    return sum(before - after >= 0.03 for before, after in pairwise(turns))


TOOLS = ("SageMaker Debugger", "AutoTrainer", "DeepDiagnosis")


def judge(diary: Diary) -> dict[str, list[str]]:
    """What each tool says of a run; nothing of one that never took a step."""
    if not diary["samples"]:
        return {tool: [] for tool in TOOLS}
    said = (
        [name for name, rule in SAGEMAKER.items() if rule(diary)],
        sorted(autotrainer(diary)),
        [name for name, rule in DEEPDIAGNOSIS.items() if rule(diary)],
    )
    return dict(zip(TOOLS, said, strict=True))


# What of a tool's names is right for a fault: everything that points at it, or at what it does to the loss.
_STUCK = {"LossNotDecreasing", "SC"}
RIGHT: dict[str, set[str]] = {
    "vanishing-in-time": {"VanishingGradient", "VG", "vanishing"},
    "exploding-in-time": {"ExplodingTensor", "GE", "exploding"},
    "truncated-too-short": {"VanishingGradient", "VG", "vanishing"},
    "vanishing-in-depth": {"VanishingGradient", "PoorWeightInitialization", "VG", "vanishing", "initialisation"},
    "exploding-in-depth": {"ExplodingTensor", "PoorWeightInitialization", "GE", "exploding", "initialisation"},
    "dead-units": {"DeadRelu", "DR", "dead"},
    "saturated-units": {"SaturatedActivation", "PoorWeightInitialization", "saturated", "initialisation"},
    "collapsed-weights": {"PoorWeightInitialization", "UnchangedTensor", "AllZero", "unchanged", "initialisation"},
    "non-finite": {"ExplodingTensor", "GE", "exploding"},
    "wrong-gradient": set(),
    "precision-loss": {
        "VanishingGradient",
        "WeightUpdateRatio",
        "UnchangedTensor",
        "AllZero",
        "VG",
        "vanishing",
        "unchanged",
    },
    "unstable-loss": {"LossNotDecreasing", "OL", "AD"},
    "step-size-grows": {"LossNotDecreasing", "WeightUpdateRatio", "OL"},
    "step-size-too-small": {*_STUCK, "WeightUpdateRatio", "UnchangedTensor", "unchanged"},
    "step-size-too-large": {"LossNotDecreasing", "WeightUpdateRatio", "OL"},
    "clipping-always-binds": _STUCK,
    "badly-scaled-input": {"AD", "SaturatedActivation", "saturated"},
    "no-signal": _STUCK,
    "reached-but-unlearned": _STUCK,
}
