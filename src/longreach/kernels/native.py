"""The compiled scans: memory for their results, and the call.

What is compiled sees addresses and sizes only (kernels/cpu); whoever calls here has checked shapes and types. All
tensors are contiguous, on the CPU, of one type: float32 or float64.
"""

import ctypes
import importlib
import warnings
from functools import cache
from math import inf
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

_LARGE = 16 << 20

# in the order of the enumeration in kernels/cpu/elman.hpp
_ACTIVATIONS = ("tanh", "relu", "leaky_relu", "prelu", "elu", "selu", "sigmoid", "identity")


class Steps(NamedTuple):
    """Which rows make a step, and in which order the steps are taken; as in `walk`."""

    batch_sizes: Tensor | None = None
    reverse: bool = False
    resets: Tensor | None = None
    keeps: bool = True  # what the backward pass wants; else it need not be written down


class Input(NamedTuple):
    """What the scan itself is to make the input's part of: W x + b at every step."""

    x: Tensor
    weight: Tensor
    bias: Tensor


def built() -> bool:
    """Whether there are compiled scans; a warning, once, where there are none."""
    return _best() is not None


def modules() -> dict[str, ModuleType]:
    """The compiled scans that this processor can run, the fastest first, by instruction set."""
    capability = torch.backends.cpu.get_cpu_capability()  # AVX512, AVX2, DEFAULT, or another architecture's name
    runs = {"AVX512": ("avx512", "avx2", "portable"), "AVX2": ("avx2", "portable")}.get(capability, ("portable",))
    found = {}
    for name in runs:
        try:
            found[name] = importlib.import_module(f"longreach.kernels._{name}")
        except ImportError:
            continue
        found[name].use_threads_of(_address_of_fork())
    return found


@cache
def _best() -> ModuleType | None:
    for module in modules().values():
        return module
    warnings.warn(
        "longreach was installed without its compiled scans: RNN, GRU and LSTM are as fast as torch's, and with "
        "options of ours, like all other cells, as slow as a loop in Python. "
        "Install a C++ compiler (GCC or Clang), then: pip install --force-reinstall --no-deps longreach",
        stacklevel=3,
    )
    return None


@cache
def _address_of_fork() -> int:
    """Of GOMP_parallel in the OpenMP runtime that torch has loaded: one pool of threads for both. 0: not found."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return 0
    loaded = {
        line.split()[-1] for line in maps.splitlines() if any(f"lib{name}" in line for name in ("gomp", "iomp", "omp"))
    }
    for path in sorted(loaded, key=lambda path: "torch" not in path):
        fork = getattr(ctypes.CDLL(path), "GOMP_parallel", None)
        if fork is not None:
            return ctypes.cast(fork, ctypes.c_void_p).value or 0
    return 0


def empty(rows: int, width: int, like: Tensor) -> Tensor:
    """Memory for a tensor, in pages of two megabytes where it is large: the system hands those out faster."""
    tensor = like.new_empty((rows, width))
    if tensor.nbytes >= _LARGE:
        _scans().use_large_pages(tensor.data_ptr(), tensor.nbytes)
    return tensor


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _steps(scans: ModuleType, rows: int, start: Tensor, steps: Steps, cut: int = 0, clip: float = inf) -> object:
    batch, hidden = start.shape
    count = len(steps.batch_sizes) if steps.batch_sizes is not None else rows // batch if batch else 0
    return scans.Steps(
        count, batch, hidden, _address(steps.batch_sizes), _address(steps.resets), steps.reverse, cut, clip
    )


def _scans() -> ModuleType:
    scans = _best()
    assert scans is not None, "ask native.built() first"
    return scans


def elman_keeps(activation: str, decay: float, rate: float) -> bool:
    """Whether `saved` has rows: if not, the activations are h itself. As Elman::keeps in kernels/cpu/elman.hpp."""
    return activation == "prelu" or decay != 0 or rate != 1


def elman_forward(
    gates: Tensor,
    weight: Tensor,
    h0: Tensor,
    slope: Tensor | None,
    activation: str,
    decay: float,
    rate: float,
    steps: Steps,
) -> tuple[Tensor, Tensor, Tensor]:
    """h [N, H], h_n [B, H], and what the backward pass wants [N, H]: no row where that is h. `gates` is used up."""
    scans, h_n = _scans(), torch.empty_like(h0)
    keeps = elman_keeps(activation, decay, rate)
    h = empty(*gates.shape, like=gates) if keeps else gates  # a plain network's h takes the place of what it is made of
    saved = gates if keeps else gates.new_empty((0, gates.shape[1]))
    scans.elman_forward(
        gates.dtype == torch.float64,
        _steps(scans, gates.shape[0], h0, steps),
        torch.get_num_threads(),
        _ACTIVATIONS.index(activation),
        decay,
        rate,
        _address(slope),
        weight.data_ptr(),
        gates.data_ptr(),
        h0.data_ptr(),
        h.data_ptr(),
        h_n.data_ptr(),
    )
    return h, h_n, saved


def elman_backward(
    dh: Tensor | None,
    dh_n: Tensor | None,
    saved: Tensor,
    h: Tensor,
    weight: Tensor,
    h0: Tensor,
    slope: Tensor | None,
    activation: str,
    decay: float,
    rate: float,
    steps: Steps,
    cut: int,
    clip: float,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Gradients of the pre-activations [N, H], of each unit's slope at each row [N, H] (prelu), of h0; norms [1, N]."""
    scans, da, dh0, norms = _scans(), empty(*h.shape, like=h), torch.empty_like(h0), h.new_empty((1, h.shape[0]))
    dslope = torch.empty_like(h) if activation == "prelu" else None
    scans.elman_backward(
        h.dtype == torch.float64,
        _steps(scans, h.shape[0], h0, steps, cut, clip),
        torch.get_num_threads(),
        _ACTIVATIONS.index(activation),
        decay,
        rate,
        _address(slope),
        weight.data_ptr(),
        _address(dh),
        _address(dh_n),
        (saved if saved.shape[0] else h).data_ptr(),
        da.data_ptr(),
        _address(dslope),
        dh0.data_ptr(),
        norms.data_ptr(),
    )
    return da, dslope, dh0, norms


def gru_forward(
    gates: Tensor, weight: Tensor, bias: Tensor | None, h0: Tensor, steps: Steps
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h [N, H], h_n [B, H]; if kept, r, z, n [N, 3H] in the memory of `gates`, and W_n h + b_n [N, H]."""
    scans, h_n = _scans(), torch.empty_like(h0)
    h = empty(gates.shape[0], h0.shape[1], like=gates)
    m = empty(gates.shape[0] if steps.keeps else 0, h0.shape[1], like=gates)
    scans.gru_forward(
        gates.dtype == torch.float64,
        _steps(scans, gates.shape[0], h0, steps),
        torch.get_num_threads(),
        weight.data_ptr(),
        _address(bias),
        gates.data_ptr(),
        h0.data_ptr(),
        h.data_ptr(),
        m.data_ptr() if steps.keeps else 0,
        h_n.data_ptr(),
    )
    return h, h_n, gates if steps.keeps else gates[:0], m


def gru_backward(
    dh: Tensor | None,
    dh_n: Tensor | None,
    gates: Tensor,
    m: Tensor,
    h: Tensor,
    weight: Tensor,
    h0: Tensor,
    steps: Steps,
    cut: int,
    clip: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the pre-activations [N, 3H], of W_n h + b_n [N, H], of h0; norms [1, N]."""
    scans, dh0, norms = _scans(), torch.empty_like(h0), h.new_empty((1, h.shape[0]))
    da, dm = empty(*gates.shape, like=h), empty(*m.shape, like=h)
    scans.gru_backward(
        h.dtype == torch.float64,
        _steps(scans, h.shape[0], h0, steps, cut, clip),
        torch.get_num_threads(),
        weight.data_ptr(),
        _address(dh),
        _address(dh_n),
        gates.data_ptr(),
        m.data_ptr(),
        h.data_ptr(),
        h0.data_ptr(),
        da.data_ptr(),
        dm.data_ptr(),
        dh0.data_ptr(),
        norms.data_ptr(),
    )
    return da, dm, dh0, norms


def lstm_forward(
    given: Tensor | Input, weight: Tensor, peephole: Tensor | None, h0: Tensor, c0: Tensor, steps: Steps
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """h [N, H], h_n [B, H], c [N, H], c_n [B, H], and the gates i, f, g, o [N, 4H]: no row if they are not kept.

    given   the input's part of the pre-activations, [N, 4H], which is used up; or what to make it of
    """
    scans, h_n, c_n = _scans(), torch.empty_like(h0), torch.empty_like(c0)
    if isinstance(given, Input):
        x, input_weight, bias = given
        gates = empty(x.shape[0] if steps.keeps else 0, weight.shape[0], like=h0)
    else:
        x = input_weight = bias = None
        gates = given
    rows, hidden = (gates if x is None else x).shape[0], h0.shape[1]
    h, c = empty(rows, hidden, like=h0), empty(rows, hidden, like=h0)
    scans.lstm_forward(
        h0.dtype == torch.float64,
        _steps(scans, rows, h0, steps),
        torch.get_num_threads(),
        weight.data_ptr(),
        _address(peephole),
        _address(x),
        0 if x is None else x.shape[1],
        _address(input_weight),
        _address(bias),
        gates.data_ptr(),
        steps.keeps,
        h0.data_ptr(),
        c0.data_ptr(),
        h.data_ptr(),
        c.data_ptr(),
        h_n.data_ptr(),
        c_n.data_ptr(),
    )
    return h, h_n, c, c_n, gates if steps.keeps else gates[:0]


def lstm_backward(
    dh: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    gates: Tensor,
    c: Tensor,
    weight: Tensor,
    peephole: Tensor | None,
    c0: Tensor,
    steps: Steps,
    cut: int,
    clip: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the pre-activations [N, 4H], of h0, of c0; norms [2, N] of dL/dh_t and dL/dc_t."""
    scans, da, dh0, dc0 = _scans(), empty(*gates.shape, like=c), torch.empty_like(c0), torch.empty_like(c0)
    norms = c.new_empty((2, c.shape[0]))
    scans.lstm_backward(
        c.dtype == torch.float64,
        _steps(scans, c.shape[0], c0, steps, cut, clip),
        torch.get_num_threads(),
        weight.data_ptr(),
        _address(peephole),
        _address(dh),
        _address(dh_n),
        _address(dc_n),
        gates.data_ptr(),
        c.data_ptr(),
        c0.data_ptr(),
        da.data_ptr(),
        dh0.data_ptr(),
        dc0.data_ptr(),
        norms.data_ptr(),
    )
    return da, dh0, dc0, norms


def cornn_forward(
    force: Tensor,
    weight: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float,
    gamma: float,
    epsilon: float,
    steps: Steps,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y [N, H], y_n [B, H], z [N, H], z_n [B, H], and the forces f [N, H] in the memory of `force`."""
    scans, y_n, z_n = _scans(), torch.empty_like(y0), torch.empty_like(z0)
    y, z = empty(*force.shape, like=force), empty(*force.shape, like=force)
    scans.cornn_forward(
        force.dtype == torch.float64,
        _steps(scans, force.shape[0], y0, steps),
        torch.get_num_threads(),
        dt,
        gamma,
        epsilon,
        weight.data_ptr(),
        force.data_ptr(),
        y0.data_ptr(),
        z0.data_ptr(),
        y.data_ptr(),
        z.data_ptr(),
        y_n.data_ptr(),
        z_n.data_ptr(),
    )
    return y, y_n, z, z_n, force


def cornn_backward(
    dy: Tensor | None,
    dy_n: Tensor | None,
    dz_n: Tensor | None,
    force: Tensor,
    weight: Tensor,
    y0: Tensor,
    dt: float,
    gamma: float,
    epsilon: float,
    steps: Steps,
    cut: int,
    clip: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the pre-activations [N, H], of y0, of z0; norms [2, N] of dL/dy_t and dL/dz_t."""
    scans, da, dy0, dz0 = _scans(), empty(*force.shape, like=force), torch.empty_like(y0), torch.empty_like(y0)
    norms = force.new_empty((2, force.shape[0]))
    scans.cornn_backward(
        force.dtype == torch.float64,
        _steps(scans, force.shape[0], y0, steps, cut, clip),
        torch.get_num_threads(),
        dt,
        gamma,
        epsilon,
        weight.data_ptr(),
        _address(dy),
        _address(dy_n),
        _address(dz_n),
        force.data_ptr(),
        da.data_ptr(),
        dy0.data_ptr(),
        dz0.data_ptr(),
        norms.data_ptr(),
    )
    return da, dy0, dz0, norms


def lem_forward(
    gates: Tensor, weight_y: Tensor, weight_z: Tensor, y0: Tensor, z0: Tensor, dt: float, steps: Steps
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y [N, H], y_n [B, H], z [N, H], z_n [B, H], and what is made of `gates` [N, 4H] in its memory."""
    scans, y_n, z_n = _scans(), torch.empty_like(y0), torch.empty_like(z0)
    y, z = empty(gates.shape[0], y0.shape[1], like=gates), empty(gates.shape[0], y0.shape[1], like=gates)
    scans.lem_forward(
        gates.dtype == torch.float64,
        _steps(scans, gates.shape[0], y0, steps),
        torch.get_num_threads(),
        dt,
        weight_y.data_ptr(),
        weight_z.data_ptr(),
        gates.data_ptr(),
        y0.data_ptr(),
        z0.data_ptr(),
        y.data_ptr(),
        z.data_ptr(),
        y_n.data_ptr(),
        z_n.data_ptr(),
    )
    return y, y_n, z, z_n, gates


def lem_backward(
    dy: Tensor | None,
    dy_n: Tensor | None,
    dz_n: Tensor | None,
    gates: Tensor,
    y: Tensor,
    z: Tensor,
    weight_y: Tensor,
    weight_z: Tensor,
    y0: Tensor,
    z0: Tensor,
    dt: float,
    steps: Steps,
    cut: int,
    clip: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the pre-activations [N, 4H], of y0, of z0; norms [2, N] of dL/dy_t and dL/dz_t."""
    scans, da, dy0, dz0 = _scans(), empty(*gates.shape, like=gates), torch.empty_like(y0), torch.empty_like(z0)
    norms = gates.new_empty((2, gates.shape[0]))
    scans.lem_backward(
        gates.dtype == torch.float64,
        _steps(scans, gates.shape[0], y0, steps, cut, clip),
        torch.get_num_threads(),
        dt,
        weight_y.data_ptr(),
        weight_z.data_ptr(),
        _address(dy),
        _address(dy_n),
        _address(dz_n),
        gates.data_ptr(),
        y.data_ptr(),
        z.data_ptr(),
        y0.data_ptr(),
        z0.data_ptr(),
        da.data_ptr(),
        dy0.data_ptr(),
        dz0.data_ptr(),
        norms.data_ptr(),
    )
    return da, dy0, dz0, norms


def linear(x: Tensor, a: Tensor, h0: Tensor, steps: Steps) -> Tensor:
    """h [N, H] of hₜ = aₜ hₜ₋₁ + xₜ, real or complex; a [N, H], dense or one row expanded."""
    scans, h = _scans(), empty(*x.shape, like=x)
    x, a, h0, out = (torch.view_as_real(t).flatten(1) if t.is_complex() else t for t in (x, a, h0, h))
    scans.linear(
        x.dtype == torch.float64,
        _steps(scans, x.shape[0], h0, steps),
        torch.get_num_threads(),
        h.is_complex(),
        x.data_ptr(),
        a.data_ptr(),
        a.stride(0),
        h0.data_ptr(),
        out.data_ptr(),
    )
    return h


def diagonal(x: Tensor, u: Tensor, h0: Tensor, activation: str, steps: Steps) -> Tensor:
    """h [N, H] of hₜ = f(u hₜ₋₁ + xₜ); u [N, H], dense or one row expanded."""
    scans, h = _scans(), empty(*x.shape, like=x)
    scans.diagonal(
        x.dtype == torch.float64,
        _steps(scans, x.shape[0], h0, steps),
        torch.get_num_threads(),
        _ACTIVATIONS.index(activation),
        x.data_ptr(),
        u.data_ptr(),
        u.stride(0),
        h0.data_ptr(),
        h.data_ptr(),
    )
    return h
