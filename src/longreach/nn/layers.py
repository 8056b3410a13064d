"""RNN, GRU and LSTM: torch's layers in every respect, with kernels of our own below and options above."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels import native, reference
from longreach.nn import observing
from longreach.nn.checkpointing import checkpointed
from longreach.nn.projected import projected_lstm
from longreach.nn.rows import Layout, Sequences, rows_of
from longreach.nn.stack import Scan, State, apply_stack

# What torch runs, by RNNBase.mode: fused by cuDNN and its like, a loop over operators on the CPU (oneDNN for the LSTM).
TORCHS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}

PRELU_START = 0.25  # as torch.nn.PReLU


class _Layer(nn.RNNBase):
    """What RNN, GRU and LSTM share. An RNNBase and no torch.nn.LSTM: torch.compile refuses to look into those.

    The options are the class's own until they are set, so that a layer of torch's may become one of ours in place.
    """

    cut: int = 0
    clip: float = math.inf
    checkpoint_every: int = 0

    twin: ClassVar[type[nn.RNNBase]]
    entries: ClassVar[tuple[str, ...]] = ("h",)

    def set_options(self, *, cut: int = 0, clip: float = math.inf, checkpoint_every: int = 0) -> Self:
        """Set what torch's layers do not have; gives the layer.

        cut               no gradient passes between steps t - 1 and t where t is a multiple of `cut`; 0: it always does
        clip              largest norm, for each sequence, of the gradient that a step sends back to the one before it
        checkpoint_every  states are kept at every so many steps and computed again between them; 0: all are kept
        Raises            ArgumentError for values below these ranges
        """
        for name, value in (("cut", cut), ("checkpoint_every", checkpoint_every)):
            if not isinstance(value, int) or value < 0:
                raise ArgumentError(f"{name}: expected a number of steps, 1 or more, or 0 for never, got {value!r}")
        if not clip > 0:
            raise ArgumentError(f"clip: expected a norm > 0, got {clip!r}; math.inf for none")
        self.cut, self.clip, self.checkpoint_every = cut, float(clip), checkpoint_every
        return self

    @classmethod
    def from_torch(cls, layer: nn.RNNBase, **options: Any) -> Self:
        """A copy of one of torch's layers, hooks and mode included, with our `options`: nothing is shared.

        Raises  ArgumentError if `layer` is of another kind
        """
        if type(layer) is not cls.twin:
            raise ArgumentError(
                f"layer: expected a torch.nn.{cls.twin.__name__}, got {type(layer).__module__}.{type(layer).__name__}"
            )
        ours: Any = copy.deepcopy(layer)
        ours.__class__ = cls
        return ours.set_options(**options)

    def to_torch(self) -> nn.RNNBase:
        """A copy as torch's layer of the same name: nothing is shared, and our options are left behind.

        Raises  ArgumentError for an RNN whose activation torch does not have
        """
        if self.mode not in TORCHS:
            raise ArgumentError(
                f"to_torch: expected an RNN of tanh or relu, got {self.mode.removeprefix('RNN_').lower()}, which "
                "torch.nn.RNN does not have; only its state_dict can be moved"
            )
        theirs: Any = copy.deepcopy(self)
        theirs.__class__ = self.twin
        for option in ("cut", "clip", "checkpoint_every"):
            vars(theirs).pop(option, None)
        return theirs

    __prepare_scriptable__ = to_torch  # torch.jit.script asks for it; what is scripted is then free of longreach

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        defaults = {"cut": 0, "clip": math.inf, "checkpoint_every": 0}
        ours = [f"{name}={getattr(self, name)}" for name, usual in defaults.items() if getattr(self, name) != usual]
        return ", ".join([super().extra_repr(), *ours])

    def forward(
        self,
        input: Sequences,
        hx: Shaped[Tensor, "..."] | tuple[Shaped[Tensor, "..."], ...] | None = None,
        *,
        resets: Sequences | None = None,
    ) -> tuple[Sequences, Shaped[Tensor, "..."] | tuple[Shaped[Tensor, "..."], ...]]:
        """The states h of every step, and the state after the last: as torch's layer of the same name gives them.

        input   (time, batch, feature); with batch_first (batch, time, feature); (time, feature); a PackedSequence
        hx      state to start from, torch's shapes; None: zeros
        resets  bool, shaped as the input without its features (a PackedSequence where it is one): true where a step
                starts from the zero state, whatever came before. Several episodes then lie in one sequence
        Raises  what torch's layer raises; ArgumentError where resets do not fit
        """
        if resets is None and self._is_step(input):
            return self.twin.forward(self, input, hx)
        self._check_input(input)
        rows, layout = rows_of(input, batch_first=self.batch_first)
        state = self._start(rows, layout, hx)
        flags = layout.resets(resets)
        probes = observing.probes(self, layout, rows, self.entries, len(self._all_weights))
        if probes is None and self._is_torchs(rows, layout, flags):
            output, ended = self._run_torchs(rows, layout, state)
        else:
            output, ended = self._run(rows, layout, state, flags, probes)
        state_n = tuple([layout.state_out(entry) for entry in ended])
        return layout.output(output), state_n if len(self.entries) > 1 else state_n[0]

    # In.

    def _check_input(self, input: Sequences) -> None:
        """Torch's own checks."""
        if isinstance(input, PackedSequence):
            return self.check_input(input.data, input.batch_sizes)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        return self.check_input(input if input.dim() == 3 else input[None], None)

    def _start(self, rows: Tensor, layout: Layout, hx: Any) -> State:
        """The state to start from, one tensor [places, B, ...] for each entry, in the order of the rows."""
        places, widths = len(self._all_weights), (self.proj_size or self.hidden_size, self.hidden_size)
        widths = widths[: len(self.entries)]
        if hx is None:
            return tuple([rows.new_zeros((places, layout.batch, width)) for width in widths])
        entries = hx if len(widths) > 1 else (hx,)
        if not isinstance(entries, (tuple, list)) or len(entries) != len(widths):
            raise ArgumentError(f"hx: expected a tuple (h_0, c_0) of two tensors, got {type(hx).__name__}")
        for number, (entry, width) in enumerate(zip(entries, widths, strict=True)):
            shape = (places, layout.batch, width) if layout.state_dims == 3 else (places, width)
            if entry.shape != shape:
                raise RuntimeError(self._misfit(number, shape, entry))
        return tuple([layout.state_in(entry) for entry in entries])

    def _misfit(self, number: int, shape: tuple[int, ...], entry: Tensor) -> str:
        """In torch's words, or clearer ones."""
        if entry.dim() != len(shape):
            return f"hx: expected {len(shape)}-D tensors for this input, got {entry.dim()}-D"
        name = f"hidden[{number}]" if len(self.entries) > 1 else "hidden"
        return f"Expected {name} size {shape}, got {list(entry.shape)}"

    # Torch's own operator.

    def _is_torchs(self, rows: Tensor, layout: Layout, resets: Tensor | None) -> bool:
        """Whether torch's operator does what is asked for, and does it better.

        That is so where we have no kernel, and in a program that is traced or exported: it then needs no longreach to
        run, and what our options change is gradients alone.
        """
        if self.mode not in TORCHS or resets is not None:
            return False
        if _is_leaving():
            return True
        if not self._is_plain():
            return False
        if rows.device.type != "cpu" or self.proj_size:
            return True
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return False  # some of torch's operators cannot be compiled, others not mapped
        return not native.built()

    def _is_plain(self) -> bool:
        """Whether no option of ours is set."""
        return not self.cut and self.clip == math.inf and not self.checkpoint_every

    def _is_step(self, input: Sequences) -> bool:
        """Whether this is one step that the layer of torch takes as fast as can be. An LSTM has its cell for that."""
        if self.mode not in TORCHS or self.mode == "LSTM" or isinstance(input, PackedSequence) or input.dim() != 3:
            return False
        single = input.shape[1 if self.batch_first else 0] == 1 and self._is_plain()
        single = single and not parametrize.is_parametrized(self)  # torch's layer would take the weight from before
        return single and not observing.is_open() and not torch.compiler.is_compiling()

    def _run_torchs(self, rows: Tensor, layout: Layout, state: State) -> tuple[Tensor, State]:
        if rows.is_cuda:
            self._update_flat_weights()  # cuDNN wants them side by side in memory
        weights = [getattr(self, name) for names in self._all_weights for name in names]
        options = (weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        hx = state if len(self.entries) > 1 else state[0]
        run = TORCHS[self.mode]
        if layout.batch_sizes is not None:
            output, *ended = run(rows, layout.batch_sizes, hx, *options)
            return output, tuple(ended)
        steps = rows.unflatten(0, (layout.time, layout.batch))
        output, *ended = run(steps, hx, *options, False)
        return output.flatten(0, 1), tuple(ended)

    # Ours.

    def _run(
        self,
        rows: Shaped[Tensor, "row feature"],
        layout: Layout,
        state: State,
        resets: Bool[Tensor, " row"] | None,
        probes: Sequence[Tensor] | None,
    ) -> tuple[Shaped[Tensor, "row unit"], State]:
        steps = {"batch_sizes": layout.batch_sizes, "resets": resets, "probes": probes}
        single = layout.time == 1 and all(given is None for given in steps.values())
        single = single and self._is_plain() and not self.proj_size
        scans, dropout = self._scans(single), self.dropout if self.training else 0.0
        device = rows.device.type
        if not torch.is_autocast_enabled(device):
            return apply_stack(scans, rows, state, dropout=dropout, **steps)
        given = self._autocast_dtype(layout, state)
        wide = getattr(self, self._all_weights[0][0]).dtype
        with torch.autocast(device, enabled=False):  # computed in the weights' own type, rounded once at the end
            state = tuple(entry.to(wide) for entry in state)
            output, ended = apply_stack(scans, rows.to(wide), state, dropout=dropout, **steps)
            return output.to(given), tuple(entry.to(given) for entry in ended)

    def _autocast_dtype(self, layout: Layout, state: State) -> torch.dtype:
        """The type that torch's layer gives under autocast: on the CPU it is not always the narrow one."""
        device, dtype = state[0].device.type, state[0].dtype
        kept = device == "cpu" and (self.mode == "GRU" or (self.mode == "LSTM" and layout.batch_sizes is not None))
        return dtype if kept or dtype == torch.float64 else torch.get_autocast_dtype(device)

    def _scans(self, single: bool) -> list[list[Scan]]:
        if single and self.mode == "LSTM":
            scans = [partial(_lstm_step, [getattr(self, name) for name in names]) for names in self._all_weights]
        else:
            scans = [self._scan(names) for names in self._all_weights]
        if self.checkpoint_every:
            scans = [checkpointed(scan, self.checkpoint_every, cut=self.cut) for scan in scans]
        directions = 2 if self.bidirectional else 1
        return [scans[place : place + directions] for place in range(0, len(scans), directions)]

    def _scan(self, names: list[str]) -> Scan:
        """The scan of one place, whose weights have these names."""
        raise NotImplementedError

    def _over(self, kernel: Callable[..., tuple[Tensor, ...]], names: list[str], **options: Any) -> Scan:
        weights: list[Tensor | None] = [getattr(self, name) for name in names]
        if not self.bias:
            weights[2:2] = [None, None]
        if _is_leaving():
            kernel = getattr(reference, kernel.__name__, kernel)  # which has all but the LSTM with a projection
        return partial(_scanned, kernel, weights, cut=self.cut, clip=self.clip, **options)


def _is_leaving() -> bool:
    """Whether this call is recorded for a program that shall run without longreach: traced, or exported."""
    # to what it compiles itself, dynamo says before torch 2.13 that it is exporting
    exporting = torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
    return exporting or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _scanned(
    kernel: Callable[..., tuple[Tensor, ...]],
    weights: list[Tensor | None],
    x: Tensor,
    state: State,
    **options: Any,
) -> tuple[Tensor, State]:
    h, *ended = kernel(x, *weights, *state, **options)
    return h, tuple(ended)


def _lstm_step(weights: list[Tensor], x: Tensor, state: State, **_: Any) -> tuple[Tensor, State]:
    """Torch's cell: of one step, more of a scan's call is calling than computing."""
    ended = torch.lstm_cell(x, state, *weights)
    return ended[0], ended


class RNN(_Layer):
    """hₜ = f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), in layers and directions (Elman 1990, Cognitive Science 14:179-211).

    Arguments   those of torch.nn.RNN in their order, and of `set_options`
    Activations nonlinearity: any of longreach.kernels.ACTIVATIONS; "prelu" learns its slope below zero, one number
                `slope_l{k}` for each layer and direction, 0.25 at the start (He et al. 2015, arXiv 1502.01852)
    Equals      torch.nn.RNN for "tanh" and "relu": weights from a seed, outputs, gradients, state_dict, dropout
    Jacobian    diag(f') W_hh: vanishes where its largest singular value stays below 1
    """

    twin = nn.RNN
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
        cut: int = 0,
        clip: float = math.inf,
        checkpoint_every: int = 0,
    ):
        if nonlinearity not in kernels.ACTIVATIONS:
            raise ArgumentError(f"nonlinearity: expected one of {', '.join(kernels.ACTIVATIONS)}, got {nonlinearity!r}")
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("RNN_TANH", *shape, device=device, dtype=dtype)
        self.mode, self.nonlinearity = f"RNN_{nonlinearity.upper()}", nonlinearity
        if nonlinearity == "prelu":
            for names in self._all_weights:
                slope = torch.full((1,), PRELU_START, device=device, dtype=dtype)
                setattr(self, _slope(names), nn.Parameter(slope))
        self.set_options(cut=cut, clip=clip, checkpoint_every=checkpoint_every)

    def reset_parameters(self) -> None:
        """Draw all weights anew, as torch does."""
        super().reset_parameters()
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith("slope"):
                nn.init.constant_(parameter, PRELU_START)

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        chosen = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}"
        return super().extra_repr() + chosen

    def _scan(self, names: list[str]) -> Scan:
        slope = getattr(self, _slope(names)) if self.nonlinearity == "prelu" else None
        return self._over(kernels.elman, names, activation=self.nonlinearity, slope=slope)


class GRU(_Layer):
    """r, z = σ(W xₜ + b + W' hₜ₋₁ + b'),  n = tanh(Wₙ xₜ + bₙ + r·(W'ₙ hₜ₋₁ + b'ₙ)),  hₜ = (1-z)·n + z·hₜ₋₁.

    Arguments   those of torch.nn.GRU in their order, and of `set_options`
    Equals      torch.nn.GRU: weights from a seed, outputs, gradients, state_dict, dropout
    Is not      quite Cho et al. 2014 (arXiv 1406.1078), where r acts on h and not on the product with it
    """

    twin = nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
        cut: int = 0,
        clip: float = math.inf,
        checkpoint_every: int = 0,
    ):
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", *shape, device=device, dtype=dtype)
        self.set_options(cut=cut, clip=clip, checkpoint_every=checkpoint_every)

    def _scan(self, names: list[str]) -> Scan:
        return self._over(kernels.gru, names)


class LSTM(_Layer):
    """i, f, o = σ(W xₜ + b + W' hₜ₋₁ + b'),  g = tanh(the same),  cₜ = f·cₜ₋₁ + i·g,  hₜ = o·tanh(cₜ).

    Arguments   those of torch.nn.LSTM in their order, and of `set_options`; the state is (h, c)
    Equals      torch.nn.LSTM: weights from a seed, outputs, gradients, state_dict, dropout
    proj_size   hₜ = W_hr (o·tanh(cₜ)) has no kernel: torch's own operator runs it, or a loop where an option is set
    Source      Hochreiter & Schmidhuber 1997, Neural Computation 9:1735-1780; with f, Gers et al. 2000, 12:2451-2471
    """

    twin = nn.LSTM
    entries = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        cut: int = 0,
        clip: float = math.inf,
        checkpoint_every: int = 0,
    ):
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", *shape, device=device, dtype=dtype)
        self.set_options(cut=cut, clip=clip, checkpoint_every=checkpoint_every)

    def _scan(self, names: list[str]) -> Scan:
        return self._over(projected_lstm if self.proj_size else kernels.lstm, names)


def _slope(names: list[str]) -> str:
    """The name of the slope that belongs to weights of these names."""
    return names[0].replace("weight_ih", "slope")
