"""Is this a cell? What ours are held to, for cells of your own.

from longreach.testing import check_cell

def test_echo():
    check_cell(Echo)
"""

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from longreach.nn.cell import Cell, each, entries, rebuilt
from longreach.nn.observing import Seen, observe
from longreach.nn.recurrent import Recurrent

LENGTHS = (3, 6, 1)  # of three sequences that are packed, in no order
STEPS, BATCH = 6, 3


@dataclass(frozen=True)
class Case:
    """A kind of cell, and the sizes to try it at."""

    cell: Callable[..., Cell]
    input_size: int = 2
    hidden_size: int = 4
    twin: Callable[[Cell], Callable[[Tensor], Tensor]] | None = None

    def build(self, input_size: int, hidden_size: int, **options: Any) -> nn.Module:
        """A recurrent network of such cells."""
        return Recurrent(self.cell, input_size, hidden_size, **options)

    def network(self, *, training: bool = False, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
        """A recurrent network, always with the same weights."""
        torch.manual_seed(0)
        return self.build(self.input_size, self.hidden_size, dtype=dtype, **options).train(training)

    def input(self, steps: int = STEPS, batch: int = BATCH) -> Tensor:
        """(T, B, I), always the same."""
        generator = torch.Generator().manual_seed(1)
        drawn = torch.randn(steps, batch, self.input_size, generator=generator, dtype=torch.float64)
        return drawn.requires_grad_()

    def sequences(self) -> list[Tensor]:
        """One for each of LENGTHS, (L, I)."""
        return [self.input(length, 1)[:, 0].detach() for length in LENGTHS]


def check_cell(
    cell: Callable[..., Cell],
    *,
    input_size: int = 2,
    hidden_size: int = 4,
    twin: Callable[[Cell], Callable[[Tensor], Tensor]] | None = None,
) -> None:
    """Hold a cell to OF_CELLS and OF_NETWORKS; raises AssertionError, which says what was expected and what came.

    What the cell itself raises passes through.

    cell   called as cell(input_size, hidden_size, device=, dtype=): a class, or functools.partial with its options
    twin   of a cell gives another way to compute it, (T, B, input) -> (T, B, output) from a state of zeros, with the
           cell's own parameters: both must give the same numbers and gradients
    Cost   seconds; most of them are torch.compile's
    """
    for check in (*OF_CELLS, *OF_NETWORKS):
        check(Case(cell, input_size, hidden_size, twin))


def gives_the_shapes_it_promises(case: Case) -> None:
    """Outputs and states in every layout."""
    network = case.network(num_layers=2, bidirectional=True, batch_first=True)
    inputs = case.input()
    batched, state = network(inputs.transpose(0, 1))
    single, single_state = network(inputs[:, 0])
    packed, packed_state = network(pack_sequence(case.sequences(), enforce_sorted=False))
    width = batched.shape[2]
    _expect(tuple(batched.shape) == (BATCH, STEPS, width), f"expected an output of {(BATCH, STEPS)}", batched)
    _expect(tuple(single.shape) == (STEPS, width), f"without a batch, expected an output of {(STEPS, width)}", single)
    _expect(packed.data.shape == (sum(LENGTHS), width), f"packed, expected rows of {width}", packed.data)
    for entry, one, other in zip(*map(entries, (state, single_state, packed_state)), strict=True):
        _expect(entry.shape[:2] == (4, BATCH), f"expected an entry of the state of {(4, BATCH)} first", entry)
        _expect(other.shape == entry.shape, "packed, expected a state of the same shape", other)
        _expect(one.shape == entry[:, 0].shape, "without a batch, expected a state without one", one)


def keeps_dtype(case: Case) -> None:
    """float32 in, float32 out; parameters as they were asked for."""
    for dtype in (torch.float32, torch.float64):
        network = case.network(dtype=dtype)
        for name, parameter in network.named_parameters():
            _expect(parameter.dtype == dtype, f"built with dtype={dtype}, expected so of {name}", parameter)
        output, _ = network(case.input().detach().to(dtype))
        _expect(output.dtype == dtype, f"expected an output of {dtype}", output)


def gradient_agrees_with_finite_differences(case: Case) -> None:
    """torch.autograd.gradcheck in training, of input and parameters; what is drawn is drawn alike each time."""
    network = case.network(training=True)
    names, parameters = zip(*network.named_parameters(), strict=True)

    def call(x: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(2)
        output, state = torch.func.functional_call(network, dict(zip(names, values, strict=True)), (x,))
        return output, *(entry for entry in entries(state) if entry.requires_grad)

    with _told_as("finite differences"):
        torch.autograd.gradcheck(call, (case.input(4, 2), *parameters), check_undefined_grad=False)


def agrees_with_its_twin(case: Case) -> None:
    """Numbers and gradients of another implementation, where there is one."""
    if case.twin is None:
        return
    network, x = case.network(), case.input()
    cell = _cell(network)
    ours, theirs = network(x)[0], case.twin(cell)(x)
    inputs = [x, *network.parameters()]
    _same("the output of the cell and of its twin", [ours], [theirs])
    _same("the gradients of the cell and of its twin", _gradients(ours, inputs), _gradients(theirs, inputs))


def keeps_the_shape_of_its_state(case: Case) -> None:
    """What a step gives is what a step takes."""
    x, cell = case.input(), _cell(case.network())
    start = cell.start(BATCH, like=x)
    after = cell.begin(1, BATCH, like=x)(cell.project(x[0]), start)
    for old, new in zip(entries(start), entries(after), strict=True):
        _expect(new.shape == old.shape, f"expected an entry of the state of {tuple(old.shape)} after a step", new)
        _expect(new.dtype == old.dtype, f"expected an entry of the state of {old.dtype} after a step", new)
        _expect(old.dim() > 0 and len(old) == BATCH, f"expected entries of [{BATCH}, ...] of the start", old)


def scan_agrees_with_step(case: Case) -> None:
    """Where a cell has a scan: that it is the loop over its step, for all keywords, values and gradients."""
    x, sequences = case.input(), pack_sequence(case.sequences(), enforce_sorted=False)
    resets = torch.rand(STEPS, BATCH, generator=torch.Generator().manual_seed(3)) < 0.3
    several: list[dict[str, Any]] = [{}, {"cut": 2}, {"cut": 3}, {"clip": 0.1}]
    for options in several:
        fused = case.network(bidirectional=True, num_layers=2, **options)
        steps = copy.deepcopy(fused)
        for cell in _cells(steps):
            vars(cell)["fuses"] = lambda **_: False
        for inputs, flags in ((x, None), (x, resets), (sequences, None)):
            results = []
            for network in (fused, steps):
                with observe(network) as seen:
                    output, state = network(inputs, resets=flags)
                data = output.data if isinstance(output, PackedSequence) else output
                outputs = [data, *entries(state)]
                losses = [(_fixed(one) * one).abs().sum() for one in outputs if one.requires_grad]
                torch.stack(losses).sum().backward()
                gradients = [p.grad for p in network.parameters()]
                norms = _norms(seen)[_cell(fused).names[0]]
                results.append([*outputs, norms, *gradients])
                network.zero_grad(set_to_none=True)
            what = f"the scan and the loop over the step, with {options}, resets {flags is not None}"
            _same(what, *results)


def packed_sequences_are_sequences_alone(case: Case) -> None:
    """No padding is seen, in either direction; and states end where their sequences do."""
    network, sequences = case.network(bidirectional=True, num_layers=2), case.sequences()
    output, state = network(pack_sequence(sequences, enforce_sorted=False))
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(output)
    alone = [network(sequence) for sequence in sequences]
    for number, (single, single_state) in enumerate(alone):
        what = f"sequence {number} packed and alone"
        _same(what, [padded[: LENGTHS[number], number]], [single])
        _same(f"the last state of {what}", [entry[:, number] for entry in entries(state)], list(entries(single_state)))
    inputs = list(network.parameters())
    losses = [output.data.square().sum(), sum(single.square().sum() for single, _ in alone)]
    _same("the gradients of sequences packed and alone", *(_gradients(loss, inputs) for loss in losses))


def packed_is_padded_and_masked(case: Case) -> None:
    """Forwards, what lies behind a sequence is not seen either."""
    network, sequences = case.network(), case.sequences()
    packed, _ = torch.nn.utils.rnn.pad_packed_sequence(network(pack_sequence(sequences, enforce_sorted=False))[0])
    whole, _ = network(torch.nn.utils.rnn.pad_sequence(sequences))
    mask = torch.arange(max(LENGTHS))[:, None] < torch.tensor(LENGTHS)
    _same("packed, and padded and masked", [packed], [torch.where(mask[..., None], whole, 0)])


def backwards_is_the_flipped_sequence(case: Case) -> None:
    """The second direction runs from the last step to the first."""
    network, x = case.network(bidirectional=True), case.input()
    backward, forward = copy.deepcopy(_cells(network)[1]), case.network()
    _cells(forward)[0] = backward
    output, state = network(x)
    flipped, flipped_state = forward(x.flip(0))
    width = flipped.shape[2]
    _same("the second direction, and the first of a flipped sequence", [output[..., width:]], [flipped.flip(0)])
    _same("their last states", [e[1] for e in entries(state)], [e[0] for e in entries(flipped_state)])


def rows_do_not_see_each_other(case: Case) -> None:
    """∂output/∂input is exactly 0 between sequences: in training too, unless the cell declares otherwise."""
    network, x = case.network(), case.input()
    network.train(all(getattr(part, "independent_rows", True) for part in network.modules()))
    output, _ = network(x)
    (gradient,) = torch.autograd.grad(output[:, 0].sum(), x)
    _expect(not gradient[:, 1:].any(), "expected no sequence to see another one of the batch", gradient)


def does_not_see_the_future(case: Case) -> None:
    """∂outputₜ/∂xₛ is exactly 0 for s > t."""
    x = case.input()
    output, _ = case.network()(x)
    (gradient,) = torch.autograd.grad(output[2].sum(), x)
    _expect(not gradient[3:].any(), "expected no step to see a later one", gradient)


def sees_the_past(case: Case) -> None:
    """∂outputₜ/∂xₛ is not 0 for all s < t: a cell that forgets at once is none."""
    x = case.input()
    output, _ = case.network()(x)
    (gradient,) = torch.autograd.grad(output[-1].square().sum(), x)
    _expect(bool(gradient[:-1].any()), "expected the last output to depend on earlier inputs", gradient)


def chunks_are_the_whole(case: Case) -> None:
    """The state that a call returns is all that the next one needs."""
    network, x = case.network(num_layers=2, clip=0.1), case.input()
    whole, end = network(x)
    first, state = network(x[:4])
    second, chunked_end = network(x[4:], state)
    chunked = torch.cat((first, second))
    _same("a sequence whole and in chunks", [whole, *entries(end)], [chunked, *entries(chunked_end)])
    inputs = [x, *network.parameters()]
    _same("the gradients of a sequence whole and in chunks", _gradients(whole, inputs), _gradients(chunked, inputs))


def cutting_is_detaching(case: Case) -> None:
    """cut=k is what detaching the state at every k-th step gives."""
    network, plain, x = case.network(cut=2), case.network(), case.input()
    whole, _ = network(x)
    chunks, state = [], None
    for chunk in x.split(2):
        output, state = plain(chunk, state)
        chunks.append(output)
        state = each(lambda entry: entry.detach(), state)
    cut, detached = (
        _gradients(whole, [x, *network.parameters()]),
        _gradients(torch.cat(chunks), [x, *plain.parameters()]),
    )
    _same("the gradients with cut=2 and of detached states", cut, detached)


def resets_are_separate_sequences(case: Case) -> None:
    """A step that is reset is the first of a sequence: values and gradients."""
    network, x = case.network(num_layers=2), case.input()
    resets = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    resets[0], resets[3] = True, True
    whole, end = network(x, each(torch.ones_like, network(x)[1]), resets=resets)
    first, _ = network(x[:3])
    second, second_end = network(x[3:])
    apart = torch.cat((first, second))
    _same("a sequence with resets, and separate sequences", [whole, *entries(end)], [apart, *entries(second_end)])
    inputs = [x, *network.parameters()]
    _same("the gradients with resets and of separate sequences", _gradients(whole, inputs), _gradients(apart, inputs))


def clipping_binds_what_a_step_sends_back(case: Case) -> None:
    """clip=c scales, at every border, what comes through one step, and not what the loss adds."""
    x = case.input()
    for clip in (1e9, 0.05):
        network = case.network(clip=clip)
        output, _ = network(x)
        _, naive = _unrolled(_cell(network), x, clip=clip)
        inputs = [x, *network.parameters()]
        _same(
            f"the gradients with clip={clip} and clipped by hand", _gradients(output, inputs), _gradients(naive, inputs)
        )


def norms_are_those_of_retained_gradients(case: Case) -> None:
    """What longreach.observe tells is ‖∂L/∂sₜ‖ as torch itself has it."""
    network, x = case.network(), case.input()
    with observe(network) as seen:
        output, _ = network(x)
    output.square().sum().backward()
    norms = _norms(seen)
    cell = _cell(network)
    states, naive = _unrolled(cell, x)
    naive.square().sum().backward()
    for number, name in enumerate(cell.names):
        expected = [entries(state)[number].grad for state in states]
        found = [norms[name][0, t] for t, grad in enumerate(expected) if grad is not None]
        by_hand = [grad.abs().reshape(len(grad), -1).square().sum(1).sqrt() for grad in expected if grad is not None]
        _same(f"the norms of the gradients of {name}, and retained gradients", found, by_hand)


def recomputes_what_it_did_not_keep(case: Case) -> None:
    """checkpoint_every changes no number, in training too: what was drawn is seen again."""
    x, results = case.input(), []
    for every in (0, 2):
        network = case.network(training=True, num_layers=2, bidirectional=True, checkpoint_every=every)
        torch.manual_seed(4)
        output, _ = network(x)
        results.append([output, *_gradients(output, [x, *network.parameters()]), *network.buffers()])
    _same("with and without checkpoint_every", *results)


def survives_copies(case: Case) -> None:
    """deepcopy, pickle, and a state_dict loaded by another instance."""
    network, x = case.network(num_layers=2), case.input()
    loaded = case.build(case.input_size, case.hidden_size, num_layers=2, dtype=torch.float64).eval()
    loaded.load_state_dict(network.state_dict())
    with _told_as("deepcopy and pickle"):
        copied, pickled = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    others = {"a deep copy": copied, "a pickled copy": pickled, "another one with the same state_dict": loaded}
    for name, other in others.items():
        _same(f"a network and {name}", [network(x)[0]], [other(x)[0]], exactly=True)


def takes_odd_sizes(case: Case) -> None:
    """No step, no sequence, one step of one sequence: outputs, states and gradients."""
    network = case.network(bidirectional=True)
    for steps, batch in ((0, 2), (2, 0), (0, 0), (1, 1)):
        x = case.input(steps, batch)
        output, state = network(x)
        _expect(output.shape[:2] == (steps, batch), f"expected outputs of {steps} steps, {batch} sequences", output)
        if not steps:
            for entry in entries(state):
                _expect(not entry.any(), "after no step, expected the state to be the start", entry)
        if output.requires_grad:
            output.sum().backward()
    single = case.build(1, 1, dtype=torch.float64).eval()
    output, _ = single(torch.ones(3, 2, 1, dtype=torch.float64))
    _expect(output.shape[:2] == (3, 2) and bool(output.isfinite().all()), "expected numbers at sizes of 1", output)


def takes_strided_input(case: Case) -> None:
    """Numbers do not depend on how a tensor lies in memory."""
    network, x = case.network(), case.input().detach()
    strided = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    every_other = torch.stack((x, x), dim=3)[..., 0]
    _, state = network(x)
    transposed = each(lambda entry: entry.transpose(0, -1).contiguous().transpose(0, -1), state)
    for other in (strided, every_other):
        _same("contiguous and strided input", [network(x, state)[0]], [network(other, transposed)[0]])


def lets_nan_flow(case: Case) -> None:
    """NaN shows at its step and later on, in its own sequence and no other."""
    network, x = case.network(), case.input().detach()
    x[2, 0] = torch.nan
    output, _ = network(x)
    _expect(bool(output[2, 0].isnan().any()), "expected NaN at its step", output[2, 0])
    _expect(bool(output[3:, 0].isnan().any()), "expected NaN at later steps", output[3:, 0])
    _expect(bool(output[:2].isfinite().all()), "expected no NaN before its step", output[:2])
    _expect(bool(output[:, 1:].isfinite().all()), "expected no NaN in other sequences", output[:, 1:])


def compiles_whole(case: Case) -> None:
    """torch.compile(fullgraph=True), values and gradients."""
    network, x = case.network(), case.input(3, 2)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    inputs, results = [x, *network.parameters()], []
    for call in (network, compiled):
        with _told_as("torch.compile(fullgraph=True)"), warnings.catch_warnings():
            # of torch's own doing, where it traces an autograd.Function
            warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
            output, state = call(x)
        results.append([output, *entries(state), *_gradients(output, inputs)])
    _same("a network and its compiled form", *results)


@contextmanager
def _told_as(what: str) -> Iterator[None]:
    """What others raise, as what a check raises."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what}: expected no error, got {type(error).__name__}: {error}") from error


def _norms(seen: Seen) -> dict[str, Tensor]:
    with _told_as("the norms that longreach.observe tells"):
        return next(iter(seen.values())).rows


def _cells(network: nn.Module) -> nn.ModuleList:
    return cast(Recurrent, network).cells


def _cell(network: nn.Module) -> Cell:
    return cast(Cell, _cells(network)[0])


def _unrolled(cell: Cell, x: Tensor, *, clip: float = torch.inf) -> tuple[list[Any], Tensor]:
    """The states of every step, their gradients retained, and the outputs: by nothing but the step."""
    steps, batch, _ = x.shape
    step = cell.begin(steps, batch, like=x)
    state, states = cell.start(batch, like=x), []
    for row in cell.project(x.flatten(0, 1)).split(batch):
        state = step(row, _clipped(state, clip))
        if not cell.fuses():
            state = each(lambda entry: entry * 1, state)  # as handed on: without what goes on within the step
        for entry in entries(state):
            if entry.requires_grad:
                entry.retain_grad()
        states.append(state)
    return states, torch.stack([cell.output(state) for state in states])


def _clipped(state: Any, clip: float) -> Any:
    """A state whose gradient, all entries of a row together, is scaled to norm <= clip by a hook."""
    parts = entries(state)
    if clip == torch.inf or not any(part.requires_grad for part in parts):
        return state
    joined = torch.cat([part.reshape(len(part), -1) for part in parts], dim=1)
    joined.register_hook(lambda grad: grad * (clip / torch.linalg.vector_norm(grad, dim=1, keepdim=True)).clamp(max=1))
    cut = joined.split([part[0].numel() for part in parts], dim=1)
    return rebuilt(state, tuple(piece.reshape(part.shape) for piece, part in zip(cut, parts, strict=True)))


def _fixed(like: Tensor) -> Tensor:
    """Numbers to weigh outputs with, so that no two gradients are alike."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)


def _gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of a weighted sum of the output; zeros for what it does not depend on."""
    loss = (output * _fixed(output)).sum()
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, found, strict=True)]


def _same(what: str, got: Sequence[Tensor], expected: Sequence[Tensor], *, exactly: bool = False) -> None:
    """float64 up to rounding, relative to the largest number of each tensor."""
    for number, (one, other) in enumerate(zip(got, expected, strict=True)):
        _expect(one.shape == other.shape, f"{what} ({number}): expected shape {tuple(other.shape)}", one)
        scale = float(other.detach().abs().max()) if other.numel() else 0.0
        error = float((one.detach() - other.detach()).abs().max()) if one.numel() else 0.0
        allowed = 0.0 if exactly else 1e-10 * max(scale, 1e-3)
        assert error <= allowed, f"{what} ({number}): expected the same, got a difference of {error:.1e} at {scale:.1e}"


def _expect(holds: bool, what: str, got: Tensor) -> None:
    assert holds, f"{what}, got {tuple(got.shape)} {got.dtype}: {got}"


# of anything that is called as torch.nn.LSTM is, with our options
OF_NETWORKS: tuple[Callable[[Case], None], ...] = (
    gives_the_shapes_it_promises,
    keeps_dtype,
    gradient_agrees_with_finite_differences,
    packed_sequences_are_sequences_alone,
    packed_is_padded_and_masked,
    rows_do_not_see_each_other,
    does_not_see_the_future,
    sees_the_past,
    chunks_are_the_whole,
    cutting_is_detaching,
    resets_are_separate_sequences,
    recomputes_what_it_did_not_keep,
    survives_copies,
    takes_odd_sizes,
    takes_strided_input,
    lets_nan_flow,
    compiles_whole,
)

# of networks whose step is known
OF_CELLS: tuple[Callable[[Case], None], ...] = (
    agrees_with_its_twin,
    keeps_the_shape_of_its_state,
    scan_agrees_with_step,
    backwards_is_the_flipped_sequence,
    clipping_binds_what_a_step_sends_back,
    norms_are_those_of_retained_gradients,
)
