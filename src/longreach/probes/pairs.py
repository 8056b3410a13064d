"""From the tensors of a sampled step to (input, error) pairs for the need test: right-aligned, narrow, plain numpy."""

from dataclasses import dataclass

import torch
from torch import Tensor

from longreach.probes.fused import FusedCall, last_error_step
from longreach.probes.loop import Chain, descends
from longreach.probes.replay import turn_around
from longreach.probes.samples import Pairs
from longreach.probes.trace import ChainVisit, Embedded, FusedVisit

# Wider inputs are seen through their principal directions, errors through those that carry most of their energy.
MOST_FEATURES, MOST_DIRECTIONS = 32, 8
# Errors are told apart by so many vectors of them; more would cost time and change no direction.
MOST_VECTORS = 512


class Narrow:
    """Keeps one set of directions for the inputs, and for the errors one that follows them as they turn.

    While a network trains, its readout turns, and with it the plane in which errors arrive. Each step's leading
    directions are rotated onto those of the step before (orthogonal Procrustes), so that a correlation found at one
    step adds to that of the next instead of cancelling it.
    """

    def __init__(self) -> None:
        self._inputs: Tensor | None = None
        self._errors: Tensor | None = None

    def inputs(self, values: Tensor) -> Tensor:
        """(time, row, feature) on at most MOST_FEATURES directions, those of the first step seen."""
        if values.shape[2] <= MOST_FEATURES:
            return values.float()
        if self._inputs is None or self._inputs.shape[0] != values.shape[2]:
            self._inputs = leading(values.float().flatten(0, 1), MOST_FEATURES, centred=True)
        return values.float() @ self._inputs

    def errors(self, values: Tensor, size: Tensor) -> Tensor:
        """(time, row, unit) errors of norm `size` on few directions, in units of the step's root mean square error."""
        arrived = size > 0
        vectors = values[arrived].double()
        before = self._errors
        if before is None or before.shape[0] != values.shape[2]:
            now = leading(vectors, MOST_DIRECTIONS, centred=False)
        else:
            now = leading(vectors, before.shape[1], centred=False)
            left, _, right = torch.linalg.svd(now.T @ before, full_matrices=False)
            now = now @ left @ right
        self._errors = now
        seen = values.new_zeros(*values.shape[:2], now.shape[1], dtype=torch.float32)
        seen[arrived] = (vectors @ now / vectors.norm(dim=1).square().mean().sqrt()).float()
        return seen


def leading(vectors: Tensor, most: int, *, centred: bool) -> Tensor:
    """The directions that carry 99 % of the energy of some vectors, at most `most`, as columns."""
    stride = max(1, len(vectors) // MOST_VECTORS)
    some = vectors[::stride]
    some = some - some.mean(dim=0) if centred else some
    _, values, directions = torch.linalg.svd(some.double(), full_matrices=False)
    energy = values.square().cumsum(0)
    count = int((energy < 0.99 * energy[-1]).sum()) + 1 if not centred else most
    return directions[: min(most, count)].T.to(vectors.dtype)


@dataclass(frozen=True)
class Driven:
    """What drove a layer and the errors that came back to it, as they were: (time, row, ·), each row from step 0 on."""

    inputs: Tensor
    errors: Tensor
    lengths: Tensor
    tokens: bool

    def paired(self, narrow: Narrow, step: int) -> Pairs | None:
        """Ready to be stored; None where no error arrived."""
        return paired(self.inputs, self.errors, self.lengths, self.tokens, narrow, step)


def of_fused(visit: FusedVisit, embedded: list[Embedded]) -> dict[str, Driven]:
    """What drove a fused layer, and its direct errors, per direction, each in its own running time."""
    call = visit.call(torch.arange(visit.inputs.shape[1]))
    directions = 2 if call.module.bidirectional else 1
    error = _errors(visit, call, directions)
    width = error.shape[2] // directions
    ids = _ids_of(visit, embedded)
    found = {}
    for side, direction in enumerate(("forward", "reverse")[:directions]):
        own = error[:, :, side * width : (side + 1) * width]
        drive = call.inputs if ids is None else ids
        if direction == "reverse":
            own, drive = turn_around(own, call.lengths), turn_around(drive, call.lengths)
        found[direction] = Driven(drive, own, call.lengths, ids is not None)
    return found


def _errors(visit: FusedVisit, call: FusedCall, directions: int) -> Tensor:
    """The direct errors at the output, and, at the last step, at the last state of the top layer.

    Where both are read, of states of another shape than the output (a complex one) those at the output.
    """
    rows, time = torch.arange(call.inputs.shape[1]), len(call.inputs)
    last = [part[-directions:].float().flatten(2) for part in call.last_error]
    first = [part for part in last[:1] if part.shape[2] == visit.width]
    if call.error is None and not first and last:
        first = [torch.cat(last, dim=2)]
    width = first[0].shape[2] if first else visit.width
    shape = (time, len(rows), directions * width)
    error = torch.zeros(shape, device=call.inputs.device) if call.error is None else call.error.float()
    for side, ended in enumerate(first[0] if first else ()):
        at = call.lengths - 1 if side == 0 else torch.zeros_like(rows)
        error[at, rows, side * width : (side + 1) * width] += ended
    return error


def paired(drive: Tensor, error: Tensor, lengths: Tensor, tokens: bool, narrow: Narrow, step: int) -> Pairs | None:
    """(time, row, ·) tensors cut after each row's last error and pushed to the right."""
    size = error.norm(dim=2)
    kept = ((size.amax(dim=0) > 0) & size.isfinite().all(dim=0)).cpu()
    if not kept.any():
        return None
    if not kept.all():
        drive, error, size, lengths = (part[:, kept.to(part.device)] for part in (drive, error, size, lengths[None]))
        lengths = lengths[0]
    ends = last_error_step(size, lengths)
    whole = tokens or not drive.is_floating_point()
    return Pairs(
        step=step,
        inputs=_right_aligned(drive if whole else narrow.inputs(drive), ends).cpu().numpy(),
        errors=_right_aligned(narrow.errors(error, size), ends).cpu().numpy(),
        lengths=(ends + 1).cpu().numpy(),
        tokens=whole,
    )


def _right_aligned(values: Tensor, ends: Tensor) -> Tensor:
    """(time, row, ·) to (row, time, ·) with every row's step `ends` at the right edge, zeros before its start."""
    longest = int(ends.max()) + 1
    if longest == values.shape[0] and int(ends.min()) + 1 == longest:
        return values.transpose(0, 1).contiguous()
    source = ends.to(values.device)[None] - (longest - 1) + torch.arange(longest, device=values.device)[:, None]
    taken = values.gather(0, source.clamp(min=0)[:, :, None].expand(-1, -1, values.shape[2]))
    return torch.where(source[:, :, None] >= 0, taken, 0).transpose(0, 1)


def _ids_of(visit: FusedVisit, embedded: list[Embedded]) -> Tensor | None:
    """Token ids behind the input of a fused layer, as (time, row, 1); None where it did not come from a lookup."""
    time, _, _ = visit.inputs.shape
    for lookup in reversed(embedded):
        ids = lookup.ids
        if not _comes_from(visit.source, lookup.vectors):
            continue
        if ids.dim() == 1:
            return ids[:, None, None] if len(ids) == time else None
        if ids.dim() != 2:
            return None
        rows_first = visit.module.batch_first if visit.packed is None else ids.shape[0] == visit.packed.batch_sizes[0]
        ids = ids.T if rows_first else ids
        return ids[:time, visit.rows.to(ids.device)][:, :, None] if ids.shape[0] >= time else None
    return None


def _comes_from(tensor: Tensor, origin: Tensor) -> bool:
    same_memory = tensor.untyped_storage().data_ptr() == origin.untyped_storage().data_ptr()
    return same_memory or descends(tensor, [origin])


def of_chain(visit: ChainVisit, embedded: list[Embedded], most_rows: int) -> Driven | None:
    """What drove a loop over cells, and its errors; None where none arrived or where what drove it cannot be seen.

    What comes back to a state in a loop is the whole gradient. At the last step of a row whose loss is read it is the
    direct error alone, because nothing comes back from later steps; only that step is used.
    """
    chain = visit.chain
    rows = torch.arange(chain.rows)[: max(1, most_rows)]
    drive = drives(visit, embedded, rows)
    if drive is None or not visit.errors:
        return None
    times = len(drive[0])
    first = next(iter(visit.errors.values()))
    total = torch.stack(
        [_rows_of(visit.errors.get(time, torch.zeros_like(first)), chain, rows) for time in range(times)]
    )
    lengths = torch.full((total.shape[1],), times)
    ends = last_error_step(total.norm(dim=2), lengths).to(total.device)
    at_end = torch.arange(times, device=total.device)[:, None] == ends[None]
    return Driven(drive[0], torch.where(at_end[:, :, None], total, 0), lengths, drive[1])


def drives(visit: ChainVisit, embedded: list[Embedded], rows: Tensor) -> tuple[Tensor, bool] | None:
    """What drove the calls of a loop, as ((time, row, feature), are token ids).

    The cell's own arguments where it has any besides its state; else what the module around the loop was given, if
    that has an axis as long as the loop.
    """
    chain = visit.chain
    known = len(chain.all_states)
    steps = [_drive_of_call(leaves, chain, embedded) for leaves in chain.drives[:known]]
    found = [step for step in steps if step is not None]
    if len(found) == len(steps) and len({(step.shape, step.dtype) for step in found}) == 1:
        stacked = torch.stack(found)
        return stacked[:, rows.to(stacked.device)], not stacked.is_floating_point()
    for _, leaves in reversed(visit.around):
        for leaf in leaves:
            whole = _whole_drive(leaf, len(chain.drives), chain.rows)
            if whole is not None:
                return whole[:known, rows.to(whole.device)], not leaf.is_floating_point()
    return None


def _drive_of_call(leaves: list[Tensor], chain: Chain, embedded: list[Embedded]) -> Tensor | None:
    """(row, feature) that drove one call: token ids if it was a looked-up vector, else its numbers side by side."""
    columns = []
    for leaf in leaves:
        lookup = next(
            (e for e in reversed(embedded) if e.ids.numel() == chain.rows and _comes_from(leaf, e.vectors)), None
        )
        if lookup is not None:
            return lookup.ids.reshape(-1, 1)
        row_dim = next((dim for dim in range(min(leaf.dim(), 2)) if leaf.shape[dim] == chain.rows), None)
        if chain.row_dim is None:
            columns.append(leaf.detach().reshape(1, -1))
        elif row_dim is not None:
            columns.append(leaf.detach().movedim(row_dim, 0).flatten(1))
    if not columns:
        return None
    whole = [column for column in columns if not column.is_floating_point() and column.shape[1] == 1]
    real = [column.float() for column in columns if column.is_floating_point()]
    return torch.cat(real, dim=1) if real else (whole[0] if whole else None)


def _whole_drive(leaf: Tensor, times: int, rows: int) -> Tensor | None:
    """A tensor given to the module around the loop, as (time, row, feature), if its shape can be that."""
    if leaf.dim() < 2:
        return None
    if leaf.shape[0] == rows and leaf.shape[1] == times:
        leaf = leaf.transpose(0, 1)
    elif not (leaf.shape[0] == times and leaf.shape[1] == rows):
        return None
    return leaf.detach().flatten(2) if leaf.dim() > 2 else leaf.detach()[:, :, None]


def _rows_of(gradient: Tensor, chain: Chain, rows: Tensor) -> Tensor:
    """(row, entry) of a gradient that came back to a state."""
    if chain.row_dim is None:
        return gradient.reshape(1, -1)
    return gradient.movedim(chain.row_dim, 0).flatten(1)[rows.to(gradient.device)]
