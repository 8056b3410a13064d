"""The scans to call: longreach::elman and the others behind functions of the reference's names and signatures.

Forward mode derivatives are the reference's, step by step: those of the operators go backward only.
"""

from math import inf

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import forward_ad

from longreach.errors import ArgumentError
from longreach.kernels import compiled, native, reference
from longreach.kernels.arguments import check, check_activation
from longreach.kernels.family import Family
from longreach.kernels.half import widened

_TENSORS = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h0")

_ELMAN = Family(
    "elman",
    tensors=(*_TENSORS, "slope"),
    settings=("str activation", "float decay", "float rate"),
    results=("h", "h_n"),
    saved=(1,),
    keeps=native.elman_keeps,
    reference=reference.elman,
    compiled=compiled.elman_forward,
    compiled_backward=compiled.elman_backward,
)
_GRU = Family(
    "gru",
    tensors=_TENSORS,
    results=("h", "h_n"),
    saved=(3, 1),
    reference=reference.gru,
    compiled=compiled.gru_forward,
    compiled_backward=compiled.gru_backward,
)
_LSTM = Family(
    "lstm",
    tensors=(*_TENSORS, "c0", "peephole"),
    results=("h", "h_n", "c_n"),
    saved=(1, 4),
    reference=reference.lstm,
    compiled=compiled.lstm_forward,
    compiled_backward=compiled.lstm_backward,
)

_CORNN = Family(
    "cornn",
    tensors=("x", "weight_ih", "weight_hh", "bias", "y0", "z0"),
    settings=("float dt", "float gamma", "float epsilon"),
    results=("y", "y_n", "z_n"),
    saved=(1, 1),
    reference=reference.cornn,
    compiled=compiled.cornn_forward,
    compiled_backward=compiled.cornn_backward,
)
_LEM = Family(
    "lem",
    tensors=("x", "weight_ih", "weight_y", "weight_z", "bias", "y0", "z0"),
    settings=("float dt",),
    results=("y", "y_n", "z_n"),
    saved=(1, 4),
    reference=reference.lem,
    compiled=compiled.lem_forward,
    compiled_backward=compiled.lem_backward,
)


@widened
def elman(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "H I"] | None,
    weight_hh: Float[Tensor, "H H"],
    bias_ih: Float[Tensor, "H"] | None,
    bias_hh: Float[Tensor, "H"] | None,
    h0: Float[Tensor, "B H"],
    *,
    activation: str = "tanh",
    slope: Float[Tensor, "#H"] | None = None,
    decay: float = 0.0,
    rate: float = 1.0,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "1 N"] | None = None,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"]]:
    """hₜ = decay·hₜ₋₁ + rate·f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh);  h and h_n.

    See reference.elman and walk.walk.

    Cost    N (I + H) H multiplications and additions forward, twice that backward; on the CPU 4 NH bytes kept, in
            float32, beside x: twice that where h is not f itself
    Errors  ArgumentError, before any work, if shapes, types or devices do not fit
    """
    weights = {"weight_hh": (weight_hh, (1, 1)), "bias_ih": (bias_ih, (1,)), "bias_hh": (bias_hh, (1,))}
    check(1, x, weight_ih, weights, {"h0": h0}, batch_sizes, resets, cut, clip, probe)
    check_activation(activation, slope, x, weight_hh)
    tensors = x, weight_ih, weight_hh, bias_ih, bias_hh, h0, slope
    walk = batch_sizes, reverse, resets, activation, decay, rate, cut, clip
    if _in_forward_mode(clip, probe):
        return _ELMAN.run_reference(tensors, None, walk)
    h, h_n, _ = _ELMAN(*tensors, probe, *walk)
    return h, h_n


@widened
def gru(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_hh: Float[Tensor, "G H"],
    bias_ih: Float[Tensor, "G"] | None,
    bias_hh: Float[Tensor, "G"] | None,
    h0: Float[Tensor, "B H"],
    *,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "1 N"] | None = None,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"]]:
    """r, z = σ(…),  n = tanh(… + r·…),  hₜ = (1-z)·n + z·hₜ₋₁;  h and h_n.

    See reference.gru and walk.walk.

    Cost    3 N (I + H) H multiplications and additions forward, twice that backward; on the CPU 20 NH bytes kept, in
            float32, beside x
    Errors  ArgumentError, before any work, if shapes, types or devices do not fit
    """
    weights = {"weight_hh": (weight_hh, (3, 1)), "bias_ih": (bias_ih, (3,)), "bias_hh": (bias_hh, (3,))}
    check(3, x, weight_ih, weights, {"h0": h0}, batch_sizes, resets, cut, clip, probe)
    tensors = x, weight_ih, weight_hh, bias_ih, bias_hh, h0
    walk = batch_sizes, reverse, resets, cut, clip
    if _in_forward_mode(clip, probe):
        return _GRU.run_reference(tensors, None, walk)
    h, h_n, _, _ = _GRU(*tensors, probe, *walk)
    return h, h_n


@widened
def lstm(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_hh: Float[Tensor, "G H"],
    bias_ih: Float[Tensor, "G"] | None,
    bias_hh: Float[Tensor, "G"] | None,
    h0: Float[Tensor, "B H"],
    c0: Float[Tensor, "B H"],
    *,
    peephole: Float[Tensor, "P"] | None = None,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "2 N"] | None = None,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """i, f, o = σ(…),  g = tanh(…),  cₜ = f·cₜ₋₁ + i·g,  hₜ = o·tanh(cₜ);  h, h_n, c_n.

    See reference.lstm and walk.walk. `peephole` [3H]: what the gates i, f and o see of c, each of its own unit.

    Cost    4 N (I + H) H multiplications and additions forward, twice that backward; on the CPU 24 NH bytes kept, in
            float32, beside x
    Errors  ArgumentError, before any work, if shapes, types or devices do not fit
    """
    weights = {"weight_hh": (weight_hh, (4, 1)), "bias_ih": (bias_ih, (4,)), "bias_hh": (bias_hh, (4,))}
    weights["peephole"] = peephole, (3,)
    check(4, x, weight_ih, weights, {"h0": h0, "c0": c0}, batch_sizes, resets, cut, clip, probe)
    tensors = x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, peephole
    walk = batch_sizes, reverse, resets, cut, clip
    if _in_forward_mode(clip, probe):
        return _LSTM.run_reference(tensors, None, walk)
    h, h_n, c_n, _, _ = _LSTM(*tensors, probe, *walk)
    return h, h_n, c_n


@widened
def cornn(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "H I"] | None,
    weight_hh: Float[Tensor, "H K"],
    bias: Float[Tensor, "H"] | None,
    y0: Float[Tensor, "B H"],
    z0: Float[Tensor, "B H"],
    *,
    dt: float,
    gamma: float,
    epsilon: float,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "2 N"] | None = None,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """zₜ = zₜ₋₁ + Δt (tanh(W_ih xₜ + b + W_hh [yₜ₋₁ zₜ₋₁]) - γ yₜ₋₁ - ε zₜ₋₁),  yₜ = yₜ₋₁ + Δt zₜ;  y, y_n, z_n.

    See reference.cornn and walk.walk. weight_hh [H, 2H].

    Cost    N (I + 2H) H multiplications and additions forward, twice that backward; on the CPU 12 NH bytes kept, in
            float32, beside x
    Errors  ArgumentError, before any work, if shapes, types or devices do not fit
    """
    weights = {"weight_hh": (weight_hh, (1, 2)), "bias": (bias, (1,))}
    check(1, x, weight_ih, weights, {"y0": y0, "z0": z0}, batch_sizes, resets, cut, clip, probe)
    tensors = x, weight_ih, weight_hh, bias, y0, z0
    walk = batch_sizes, reverse, resets, dt, gamma, epsilon, cut, clip
    if _in_forward_mode(clip, probe):
        return _CORNN.run_reference(tensors, None, walk)
    y, y_n, z_n, _, _ = _CORNN(*tensors, probe, *walk)
    return y, y_n, z_n


@widened
def lem(
    x: Float[Tensor, "N I"],
    weight_ih: Float[Tensor, "G I"] | None,
    weight_y: Float[Tensor, "K H"],
    weight_z: Float[Tensor, "H H"],
    bias: Float[Tensor, "G"] | None,
    y0: Float[Tensor, "B H"],
    z0: Float[Tensor, "B H"],
    *,
    dt: float,
    batch_sizes: Int[Tensor, "T"] | None = None,
    reverse: bool = False,
    resets: Bool[Tensor, "N"] | None = None,
    cut: int = 0,
    clip: float = inf,
    probe: Float[Tensor, "2 N"] | None = None,
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """δ, δ' = Δt σ(…),  zₜ = (1 - δ) zₜ₋₁ + δ tanh(… yₜ₋₁ …),  yₜ = (1 - δ') yₜ₋₁ + δ' tanh(… zₜ …);  y, y_n, z_n.

    See reference.lem and walk.walk. weight_ih [4H, I] is of δ, δ', z and y, weight_y [3H, H] of the first three.

    Cost    4 N (I + H) H multiplications and additions forward, twice that backward; on the CPU 24 NH bytes kept, in
            float32, beside x
    Errors  ArgumentError, before any work, if shapes, types or devices do not fit
    """
    weights = {"weight_y": (weight_y, (3, 1)), "weight_z": (weight_z, (1, 1)), "bias": (bias, (4,))}
    check(4, x, weight_ih, weights, {"y0": y0, "z0": z0}, batch_sizes, resets, cut, clip, probe)
    tensors = x, weight_ih, weight_y, weight_z, bias, y0, z0
    walk = batch_sizes, reverse, resets, dt, cut, clip
    if _in_forward_mode(clip, probe):
        return _LEM.run_reference(tensors, None, walk)
    y, y_n, z_n, _, _ = _LEM(*tensors, probe, *walk)
    return y, y_n, z_n


def _in_forward_mode(clip: float, probe: Tensor | None) -> bool:
    if forward_ad._current_level < 0:
        return False
    if clip != inf or probe is not None:
        raise ArgumentError(
            "forward-mode derivatives: expected clip=inf and probe=None, as these two act on what is sent back, got "
            f"clip={clip} and {'a probe' if probe is not None else 'no probe'}; leave them out, or go backward"
        )
    return True
