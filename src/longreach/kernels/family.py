"""One scan as two operators of torch, longreach::<name> and longreach::<name>_backward.

    on the CPU              the compiled scan, where it was built
    on other devices        the reference, run again in the backward pass
    second and more orders  the reference
    vmap                    one after the other
    autocast                in float32, as torch does for what adds up long sums

    <name>           (tensors, probe, batch_sizes, reverse, resets, settings, cut, clip) -> (results, saved)
    <name>_backward  (errors, tensors, batch_sizes, reverse, resets, settings, cut, clip, h, saved, wanted)
                     -> (for each of the tensors its gradient, norms)

An error is dL/d(result), None where the loss does not depend on it. `saved` is what the compiled backward pass wants;
the reference leaves it without rows. A gradient that is not wanted has no entries: operators cannot give None.

The operators are defined by hand and not with torch.library.custom_op, whose calls cost more, and whose gradient
torch.func does not see: of a small network's training step, a good part is calling.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch._ops import OpOverload
from torch.autograd.function import _SingleLevelFunction

from longreach.kernels import native
from longreach.kernels.arguments import check_batch_sizes
from longreach.kernels.compiled import in_memory

_LIBRARY = torch.library.Library("longreach", "DEF")
_OPTIONAL = ("weight_ih", "bias_ih", "bias_hh", "slope", "peephole", "bias")

Maybe = Tensor | None


class Family:
    """The two operators of one scan.

    tensors   names of what has a gradient: x, weight_ih, a weight on the state, and what else there is
    settings  what the scan takes beside the walk, as in a schema: "float rate"
    results   names of what the scan gives, h first, then the state in which it ends: h_n, where it starts from h0
    saved     widths of what is kept for the backward pass, in multiples of H
    keeps     whether it is kept, by the settings
    """

    def __init__(
        self,
        name: str,
        *,
        tensors: Sequence[str],
        settings: Sequence[str] = (),
        results: Sequence[str],
        saved: Sequence[int],
        keeps: Callable[..., bool] = lambda *settings: True,
        reference: Callable[..., tuple[Tensor, ...]],
        compiled: Callable[..., tuple[Tensor, ...]],
        compiled_backward: Callable[..., tuple[Maybe, ...]],
    ):
        self.tensors, self.results, self.saved, self.keeps = tuple(tensors), len(results), tuple(saved), keeps
        self.start = self.tensors.index(results[1].replace("_n", "0"))
        self.reference, self.compiled, self.compiled_backward = reference, compiled, compiled_backward
        walk = ("Tensor? batch_sizes", "bool reverse", "Tensor? resets", *settings, "int cut", "float clip")
        self.walk = tuple(argument.split()[1] for argument in walk)

        given = [f"Tensor{'?' if tensor in _OPTIONAL else ''} {tensor}" for tensor in tensors]
        errors = [f"Tensor? d{result}" for result in results]
        kept = [f"Tensor saved{n}" for n in range(len(saved))]
        self.forward = _define(name, (*given, "Tensor? probe", *walk), len(results) + len(saved))
        self.backward = _define(
            f"{name}_backward", (*errors, *given, *walk, "Tensor h", *kept, "bool[] wanted"), len(tensors) + 1
        )
        _implement(self.forward, self._run, self._shapes)
        _implement(self.backward, self._run_backward, self._shapes_backward)
        _differentiate(self.forward, _Forward, self)
        _differentiate(self.backward, _Backward, self)

    def __call__(self, *args: Any) -> tuple[Tensor, ...]:
        """The operator; not by way of torch's dispatcher where nobody is there to see it pass."""
        if not _is_alone(args[0], args[2]):
            return self.forward(*args)
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            return _Forward.apply(self, None, *args)  # type: ignore[return-value]
        return self._run(*args, keeps=False)

    def split(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Of the operator's arguments: tensors; probe; the walk."""
        count = len(self.tensors)
        return args[:count], args[count], args[count + 1 :]

    def split_backward(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Of the backward operator's arguments: errors; tensors; the walk; h and saved; wanted."""
        tensors = self.results + len(self.tensors)
        walk = tensors + len(self.walk)
        return args[: self.results], args[self.results : tensors], args[tensors:walk], args[walk:-1], args[-1]

    def run_reference(self, tensors: Sequence[Maybe], probe: Maybe, walk: Sequence[Any]) -> Any:
        """The results, by the reference."""
        names = (*self.tensors, "probe", *self.walk)
        return self.reference(**dict(zip(names, (*tensors, probe, *walk), strict=True)))

    def gradients_by_reference(
        self, errors: Sequence[Maybe], tensors: Sequence[Maybe], walk: Sequence[Any], wanted: Sequence[bool]
    ) -> tuple[Tensor, ...]:
        """What the backward operator gives, itself differentiable."""

        def results(probe: Tensor, *asked: Tensor) -> tuple[Tensor, ...]:
            return self.run_reference(_with(tensors, wanted, asked), probe, walk)

        x: Any = tensors[0]
        probe = x.new_zeros((self.results - 1, x.shape[0]))
        norms, *found = _pulled_back(results, (probe, *_only(tensors, wanted)), errors)
        return *_with([x.new_empty(0)] * len(wanted), wanted, found), norms

    def _run(self, *args: Any, keeps: bool = True) -> tuple[Any, ...]:
        tensors, _, walk = self.split(args)
        batch_sizes, x, h0 = walk[0], args[0], args[self.start]
        if batch_sizes is not None:
            check_batch_sizes(batch_sizes, x.shape[0], h0.shape[0])
        if _is_compiled(x):
            batch_sizes, reverse, resets, *settings = walk[:-2]
            return self.compiled(*tensors, in_memory(batch_sizes, reverse, resets, keeps), *settings)
        with torch.no_grad():
            results = self.run_reference(tensors, None, walk)
        # without a step, what comes out is what went in; but what an operator gives has memory of its own
        return *(result.clone() for result in results), *self._shapes(*args)[self.results :]

    def _shapes(self, *args: Any) -> tuple[Tensor, ...]:
        _, _, walk = self.split(args)
        x, h0 = args[0], args[self.start]
        rows, (batch, hidden) = x.shape[0], h0.shape
        kept = rows if _is_compiled(x) and self.keeps(*walk[3:-2]) else 0
        shapes = [(rows, hidden), *[(batch, hidden)] * (self.results - 1), *((kept, n * hidden) for n in self.saved)]
        return tuple(x.new_empty(shape) for shape in shapes)

    def _run_backward(self, *args: Any) -> tuple[Any, ...]:
        errors, tensors, walk, kept, wanted = self.split_backward(args)
        x = tensors[0]
        if _is_compiled(x):
            *gradients, norms = self.compiled_backward(errors, *tensors, in_memory(*walk[:3]), *walk[3:], *kept, wanted)
            pairs = zip(gradients, wanted, strict=True)
            return *(gradient if want else x.new_empty(0) for gradient, want in pairs), norms
        with _autograd():
            gradients = self.gradients_by_reference(errors, tensors, walk, wanted)
        # what an operator gives has memory of its own: not that of an error, or of another gradient
        return tuple(gradient.clone() for gradient in gradients)

    def _shapes_backward(self, *args: Any) -> tuple[Tensor, ...]:
        _, tensors, _, _, wanted = self.split_backward(args)
        x = args[self.results]
        shapes = [tensor.shape if want else (0,) for tensor, want in zip(tensors, wanted, strict=True)]
        return tuple(x.new_empty(shape) for shape in (*shapes, (self.results - 1, x.shape[0])))


class _Forward(_SingleLevelFunction):
    """The scan and its gradient."""

    @staticmethod
    def forward(ctx: Any, family: Family, below: torch._C.DispatchKeySet | None, *args: Any) -> tuple[Tensor, ...]:
        outputs = family._run(*args) if below is None else family.forward.redispatch(below, *args)
        tensors, _, (batch_sizes, ctx.reverse, resets, *ctx.settings) = family.split(args)
        saved = outputs[family.results :]
        ctx.family = family
        ctx.save_for_backward(*tensors, batch_sizes, resets, outputs[0], *saved)
        ctx.mark_non_differentiable(*saved)
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(ctx: Any, *errors: Maybe) -> tuple[Maybe, ...]:
        family, count = ctx.family, len(ctx.family.tensors)
        saved = ctx.saved_tensors
        tensors, (batch_sizes, resets, *kept) = saved[:count], saved[count:]
        wanted = ctx.needs_input_grad[2 : 2 + count]
        walk = (batch_sizes, ctx.reverse, resets, *ctx.settings)
        direct = _is_alone(kept[0], tensors[2]) and not torch.is_grad_enabled()
        backward = family._run_backward if direct else family.backward
        *gradients, norms = backward(*errors[: family.results], *tensors, *walk, *kept, wanted)
        gradients = (gradient if want else None for gradient, want in zip(gradients, wanted, strict=True))
        probed = norms if ctx.needs_input_grad[2 + count] else None
        return None, None, *gradients, probed, *[None] * len(walk)


class _Backward(_SingleLevelFunction):
    """The gradient and its gradient, through the reference."""

    @staticmethod
    def forward(ctx: Any, family: Family, below: torch._C.DispatchKeySet, *args: Any) -> tuple[Tensor, ...]:
        errors, tensors, (batch_sizes, ctx.reverse, resets, *ctx.settings), _, ctx.wanted = family.split_backward(args)
        ctx.family, ctx.count = family, len(args)
        ctx.save_for_backward(*errors, *tensors, batch_sizes, resets)
        ctx.set_materialize_grads(False)
        return family.backward.redispatch(below, *args)

    @staticmethod
    def backward(ctx: Any, *seconds: Maybe) -> tuple[Maybe, ...]:
        family, (*given, batch_sizes, resets) = ctx.family, ctx.saved_tensors
        walk = (batch_sizes, ctx.reverse, resets, *ctx.settings)
        needed = ctx.needs_input_grad[2 : 2 + len(given)]

        def firsts(*asked: Tensor) -> tuple[Tensor, ...]:
            together = _with(given, needed, asked)
            errors, tensors = together[: family.results], together[family.results :]
            return family.gradients_by_reference(errors, tensors, walk, ctx.wanted)

        found = _pulled_back(firsts, _only(given, needed), seconds)
        gradients = _with([None] * len(given), needed, found)
        return None, None, *gradients, *[None] * (ctx.count - len(given))


def _pulled_back(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], errors: Sequence[Maybe]
) -> Sequence[Tensor]:
    """dL/d(input) from the dL/d(output) of a function; None stands for zeros."""
    outputs, back = torch.func.vjp(function, *inputs)[:2]
    return back(tuple(torch.zeros_like(o) if e is None else e for o, e in zip(outputs, errors, strict=True)))


def _only(values: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    return [value for value, want in zip(values, wanted, strict=True) if want]


def _with(values: Sequence[Any], wanted: Sequence[bool], found: Iterable[Any]) -> list[Any]:
    """`values`, those that are wanted replaced, one after the other, by what was found."""
    replacements = iter(found)
    return [next(replacements) if want else value for value, want in zip(values, wanted, strict=True)]


def _is_compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and native.built()


def _is_alone(x: Tensor, weight: Tensor) -> bool:
    """Whether nothing follows what operators are called: no compiler, transform, mode, subclass or profiler."""
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and type(weight) in (Tensor, torch.nn.Parameter)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.autograd._profiler_enabled()  # pyright: ignore[reportPrivateImportUsage]
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    )


def _autograd() -> torch._C._ForceDispatchKeyGuard:
    """Autograd as outside of operators: inside, a dispatch mode may have switched it off. Autocast stays as it is."""
    key, below = torch._C.DispatchKey, torch._C._dispatch_keyset_full_after
    included = torch._C.DispatchKeySet(key.BackendSelect) | torch._C.DispatchKeySet(key.ADInplaceOrView)
    autocast = below(key.FuncTorchBatched) - below(key.AutocastCPU)  # of all devices: they lie side by side
    return torch._C._ForceDispatchKeyGuard(included, torch._C._dispatch_tls_local_exclude_set() & autocast)


def _define(name: str, arguments: Sequence[str], results: int) -> OpOverload:
    _LIBRARY.define(f"{name}({', '.join(arguments)}) -> ({', '.join(['Tensor'] * results)})")
    return getattr(torch.ops.longreach, name).default


def _implement(op: OpOverload, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    _LIBRARY.impl(op, kernel, "CompositeExplicitAutograd")  # one kernel for all devices
    torch.library.register_fake(op, fake, lib=_LIBRARY)
    torch.library.register_vmap(op, _one_after_the_other(op), lib=_LIBRARY)
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(op, device, torch.float32, lib=_LIBRARY)


def _differentiate(op: OpOverload, function: Any, family: Family) -> None:
    """Register the gradient as torch.library does, except that torch.func's transforms see it too."""

    def kernel(keys: torch._C.DispatchKeySet, *args: Any) -> Any:
        below = keys & torch._C._after_autograd_keyset
        if not (torch.is_grad_enabled() and torch._C._any_requires_grad(*args)):
            return op.redispatch(below, *args)
        transformed = torch._C._are_functorch_transforms_active()
        with enable_single_level_autograd_function() if transformed else nullcontext():
            return function.apply(family, below, *args)

    _LIBRARY.impl(op, kernel, "Autograd", with_keyset=True)


def _one_after_the_other(op: OpOverload) -> Callable[..., Any]:
    def run(info: Any, dims: Sequence[int | None], *args: Any) -> Any:
        def slice_of(n: int) -> list[Any]:
            return [arg.select(dim, n) if isinstance(dim, int) else arg for arg, dim in zip(args, dims, strict=True)]

        each = [op(*slice_of(n)) for n in range(info.batch_size)]
        outputs = tuple(torch.stack(column) for column in zip(*each, strict=True))
        return outputs, (0,) * len(outputs)

    return run
