"""The operators against the reference: on compiled scans and without, under every transformation of torch's."""

from functools import partial

import pytest
import torch
from tests.kernels.scans import FAMILIES, GATES, STATES, WALKS, assert_same, fixed, gradient, problem, results
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from longreach import kernels
from longreach.errors import ArgumentError
from longreach.kernels import family, reference

SCANS = {name: getattr(kernels, name) for name in GATES}
# forward mode makes torch import its decompositions, which warn of themselves
TORCHS_OWN = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
ONE_OF_EACH = ["leaky prelu", "gru", "peephole", "cornn", "lem"]


@pytest.fixture(params=["compiled", "by reference"])
def _backend(request, monkeypatch):
    if request.param == "by reference":  # what other devices get
        monkeypatch.setattr(family, "_is_compiled", lambda x: False)


def truth(given):
    return results(getattr(reference, given.family), given)


def call(scan, given):
    """The scan as a function of the tensors that have gradients, in order."""
    names = [name for name, tensor in given.tensors.items() if tensor is not None]
    nothing = dict.fromkeys(given.tensors)

    def run(*tensors):
        return scan(**{**nothing, **dict(zip(names, tensors, strict=True))}, **given.options)

    return run, [given.tensors[name] for name in names]


def loss(run):
    return lambda *tensors: sum((output * fixed(output)).sum() for output in run(*tensors))


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_compiled_scans_agree_with_the_reference(name, walk):
    given = problem(name, **WALKS[walk])
    assert_same(results(SCANS[given.family], given), truth(given))


@pytest.mark.parametrize("walk", ["dense", "all"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_reference_stands_in_on_other_devices(name, walk, monkeypatch):
    monkeypatch.setattr(family, "_is_compiled", lambda x: False)
    given = problem(name, **WALKS[walk])
    assert_same(results(SCANS[given.family], given), truth(given))


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize(
    "shape",
    [
        {"bias": False},
        {"projected": True},
        {"projected": True, "bias": False},
        {"hidden": 1, "inputs": 1},
        {"batch": 1, "steps": 1},
        {"steps": 0},
        {"batch": 0},
        {"lengths": [], "batch": 0, "reverse": True},
        {"probed": False},
        {"steps": 40, "batch": 7, "hidden": 37, "inputs": 11},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["tanh", *ONE_OF_EACH])
def test_every_shape_agrees_with_the_reference(name, shape):
    given = problem(name, **shape)
    assert_same(results(SCANS[given.family], given), truth(given))


@pytest.mark.parametrize("name", ["tanh", "leaky prelu", "gru", "peephole"])
def test_one_of_the_two_biases_is_enough(name):
    for missing in ("bias_ih", "bias_hh"):
        given = problem(name)
        given.tensors[missing] = None
        assert_same(results(SCANS[given.family], given), truth(given))


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_gradients_are_made_for_what_asks_for_them_alone(name):
    given = problem(name)
    whole = truth(given)
    run, tensors = call(SCANS[given.family], given)
    names = [name for name, tensor in given.tensors.items() if tensor is not None]
    for number, wanted in enumerate(names):
        leaves = [tensor.clone() for tensor in tensors]
        leaves[number].requires_grad_()
        loss(run)(*leaves).backward()
        torch.testing.assert_close(gradient(leaves[number]), whole[f"gradient of {wanted}"])
        assert sum(leaf.grad is not None for leaf in leaves) == 1


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_loss_of_one_result_alone(name):
    given = problem(name)
    for n in range(1 + len(STATES[given.family])):

        def one(scan, n=n, **arguments):
            return (scan(**arguments)[n],)

        got = results(partial(one, SCANS[given.family]), given)
        assert_same(got, results(partial(one, getattr(reference, given.family)), given))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_tensors_need_not_lie_in_order(name):
    given = problem(name, **WALKS["all"])
    expected = truth(given)
    for key, tensor in given.tensors.items():
        if tensor is not None and key != "slope":
            given.tensors[key] = torch.stack((tensor, tensor), dim=-1)[..., 0]
    given.options["resets"] = torch.stack((given.options["resets"],) * 2, dim=1)[:, 0]
    given.options["batch_sizes"] = torch.stack((given.options["batch_sizes"],) * 2, dim=1)[:, 0]
    run, tensors = call(SCANS[given.family], given)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    assert not any(leaf.is_contiguous() for leaf in leaves[:4])
    outputs = run(*leaves)
    torch.testing.assert_close([*outputs], [expected[f"output {n}"] for n in range(len(outputs))])
    gradients = torch.autograd.grad(loss(run)(*leaves), leaves)
    names = [name for name, tensor in given.tensors.items() if tensor is not None]
    assert_same(
        {f"gradient of {name}": value for name, value in zip(names, gradients, strict=True)},
        {name: value for name, value in expected.items() if name.startswith("gradient")},
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_halves_are_computed_in_float32_and_rounded_once(name, dtype):
    given = problem(name, dtype=dtype)
    got, wide = results(SCANS[given.family], given), results(SCANS[given.family], given.to(torch.float32))
    for key in (key for key in got if key.startswith("output")):
        assert torch.equal(got[key], wide[key].to(dtype)), key


def test_norms_of_halves_do_not_underflow_with_them():
    steps, gain = 9, 1e-3
    probe = torch.zeros(1, steps, requires_grad=True)
    x, weight, h0 = torch.zeros(steps, 2), gain * torch.eye(2), torch.zeros(1, 2)
    half = [tensor.half() for tensor in (x, weight, h0)]
    h, _ = kernels.elman(half[0], None, half[1], None, None, half[2], activation="identity", probe=probe)
    h[-1, 0].backward()
    torch.testing.assert_close(probe.grad[0], half[1][0, 0].float() ** torch.arange(steps - 1.0, -1, -1))


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_nan_flows_along_its_own_sequence_alone(name):
    given = problem(name, steps=5, batch=2)
    given.tensors["x"][4] = float("nan")  # step 2 of sequence 0
    h, *_ = SCANS[given.family](**given.tensors, **given.options)
    assert torch.equal(h.view(5, 2, -1).isnan().any(2).nonzero(), torch.tensor([[2, 0], [3, 0], [4, 0]]))


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("walk", ["dense", "all"])
@pytest.mark.parametrize("name", ["tanh", *ONE_OF_EACH])
def test_torch_finds_nothing_wrong_with_the_operators(name, walk):
    """torch.library.opcheck: schema, aliases, fake tensors, registration of autograd, tracing."""
    given = problem(name, **WALKS[walk])
    op = getattr(torch.ops.longreach, given.family).default
    defaults = {"activation": "tanh", "decay": 0.0, "rate": 1.0, "reverse": False, "cut": 0, "clip": float("inf")}
    known = {**defaults, **given.tensors, **given.options}
    tensors = {key: tensor.requires_grad_() for key, tensor in given.tensors.items() if tensor is not None}
    known |= tensors
    names = [argument.name for argument in op._schema.arguments]
    torch.library.opcheck(op, [known.get(name) for name in names])

    outputs = op(*[known.get(name) for name in names])
    results = 1 + len(STATES[given.family])
    backward = getattr(torch.ops.longreach, f"{given.family}_backward").default
    h, *saved = (output.detach() for output in (outputs[0], *outputs[results:]))
    errors = [fixed(output) for output in outputs[:results]]
    rest = [argument.name for argument in backward._schema.arguments[results:]]
    kept = {"h": h, **{f"saved{n}": tensor for n, tensor in enumerate(saved)}}
    own = rest[: rest.index("batch_sizes")]
    known |= kept | {"wanted": [known.get(name) is not None for name in own]}
    known |= {name: tensor.detach() for name, tensor in tensors.items()}  # torch does not trace double backward
    torch.library.opcheck(backward, [*errors, *(known.get(name) for name in rest)])


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_gradients_of_first_and_second_order_agree_with_finite_differences(name):
    run, tensors = call(*scan_and(problem(name, steps=2, batch=2, inputs=1, hidden=2, probed=False, reverse=True)))
    leaves = [tensor.requires_grad_() for tensor in tensors]
    torch.autograd.gradcheck(run, leaves)
    torch.autograd.gradgradcheck(run, leaves)


def scan_and(given):
    return SCANS[given.family], given


def test_gradients_of_third_order():
    given = problem("tanh", steps=3, batch=1, inputs=1, hidden=2, probed=False)
    thirds = []
    for scan in (kernels.elman, reference.elman):
        run, tensors = call(scan, given)
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        value = loss(run)(*leaves)
        for _ in range(2):
            value = sum(g.square().sum() for g in torch.autograd.grad(value, leaves, create_graph=True))
        thirds.append(torch.autograd.grad(value, leaves))
    torch.testing.assert_close(*thirds)


def test_norms_have_gradients_too():
    given = problem("lstm", steps=4, batch=2)
    penalties = []
    for scan in (kernels.lstm, reference.lstm):
        run, tensors = call(scan, given)
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        norms = torch.autograd.grad(loss(run)(*leaves), leaves[-1], create_graph=True)[0]
        penalties.append(torch.autograd.grad(norms.log().square().sum(), leaves[:-1]))
    torch.testing.assert_close(*penalties)


WEIGHT_HH = 2
TRANSFORMS = {
    "grad": lambda f: torch.func.grad(f, argnums=(0, 1, 2, 3, 4, 5)),
    "jvp": lambda f: lambda *tensors: torch.func.jvp(f, tensors, tuple(fixed(tensor) for tensor in tensors)),
    "forward over backward": lambda f: torch.func.hessian(f, argnums=WEIGHT_HH),
    "backward over backward": lambda f: torch.func.jacrev(torch.func.jacrev(f, argnums=WEIGHT_HH), argnums=WEIGHT_HH),
}


@TORCHS_OWN
@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_transforms_of_torch_func(name, transform):
    given = problem(name, steps=4, batch=2, hidden=3, probed=False)
    values = []
    for scan in (SCANS[given.family], getattr(reference, given.family)):
        run, tensors = call(scan, given)
        values.append(TRANSFORMS[transform](loss(run))(*tensors))
    torch.testing.assert_close(*values)


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("shared", [False, True], ids=["ensemble", "gradients per sample"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_vmap_of_values_and_of_gradients(name, shared):
    given = problem(name, steps=4, batch=2, probed=False)
    run, tensors = call(SCANS[given.family], given)
    dims = tuple(None if shared and n > 0 else 1 for n in range(len(tensors)))
    many = [t if dim is None else torch.stack([t, 2 * t, -t], dim) for t, dim in zip(tensors, dims, strict=True)]
    for function in (run, torch.func.grad(loss(run), argnums=tuple(range(len(tensors))))):
        each = [
            function(*(t if dim is None else t.select(dim, n) for t, dim in zip(many, dims, strict=True)))
            for n in range(3)
        ]
        expected = tuple(torch.stack(column) for column in zip(*each, strict=True))
        torch.testing.assert_close(torch.vmap(function, in_dims=dims)(*many), expected)


@TORCHS_OWN
def test_forward_mode_without_torch_func():
    given = problem("gru", steps=4, batch=2, probed=False)
    run, tensors = call(kernels.gru, given)
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(tensor, fixed(tensor)) for tensor in tensors]
        tangents = [forward_ad.unpack_dual(output).tangent for output in run(*duals)]
    expected = torch.func.jvp(call(reference.gru, given)[0], tuple(tensors), tuple(fixed(t) for t in tensors))[1]
    torch.testing.assert_close(tuple(tangents), expected)


@TORCHS_OWN
@pytest.mark.parametrize("options", [{"probed": True}, {"probed": False, "clip": 1.0}], ids=str)
def test_forward_mode_refuses_what_acts_on_gradients_sent_back(options):
    given = problem("lstm", steps=4, batch=2, **options)
    run, tensors = call(kernels.lstm, given)
    with pytest.raises(ArgumentError, match="forward-mode derivatives: expected clip=inf and probe=None"):
        torch.func.jvp(run, tuple(tensors), tuple(fixed(tensor) for tensor in tensors))


def test_autocast_does_not_make_a_scan_narrower():
    given = problem("lstm", dtype=torch.float32)
    expected = results(kernels.lstm, given)
    with torch.autocast("cpu", torch.bfloat16):
        got = results(kernels.lstm, given)
    assert_same(got, expected, rtol=0, atol=0)


@pytest.mark.usefixtures("_backend")
def test_modes_that_look_at_every_operator_see_the_scans_as_one():
    seen = []

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    given = problem("gru", steps=4, batch=2)
    with Look():
        got = results(kernels.gru, given)
    assert_same(got, truth(given))
    assert [name for name in seen if "longreach" in name] == ["longreach.gru.default", "longreach.gru_backward.default"]
    assert not any("sigmoid" in name for name in seen)


def test_inference_mode():
    given = problem("gru")
    run, tensors = call(kernels.gru, given)
    with torch.inference_mode():
        got = run(*tensors)
    torch.testing.assert_close(got, call(reference.gru, given)[0](*tensors))


def test_a_result_changed_in_place_is_noticed_before_it_spoils_the_gradient():
    given = problem("lstm")
    run, tensors = call(kernels.lstm, given)
    h, *_ = run(*(tensor.requires_grad_() for tensor in tensors))
    error = h.sum()
    with torch.no_grad():
        h.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        error.backward()


def test_checkpointing_runs_the_scan_twice_and_gives_the_same():
    given = problem("gru", **WALKS["packed cut"])

    def checkpointed(**arguments):
        return torch.utils.checkpoint.checkpoint(kernels.gru, use_reentrant=False, **arguments)

    assert_same(results(checkpointed, given), results(kernels.gru, given), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_compiles_without_a_graph_break(name, backend):
    torch.compiler.reset()
    walks = ["dense", "all"] if backend == "aot_eager" else ["all"]
    for walk in walks:
        given = problem(name, **WALKS[walk])

        def network(scan, x, **arguments):
            h, *end = scan(x.tanh(), **arguments)
            return h.sin(), *end

        compiled = torch.compile(partial(network, SCANS[given.family]), fullgraph=True, backend=backend)
        assert_same(results(compiled, given), results(partial(network, getattr(reference, given.family)), given))


def test_compiles_once_for_all_lengths():
    torch.compiler.reset()
    compiled = torch.compile(kernels.gru, fullgraph=True, backend="aot_eager", dynamic=True)
    for steps in (5, 6, 9):
        given = problem("gru", steps=steps)
        with torch.compiler.set_stance("fail_on_recompile" if steps > 5 else "default"):
            assert_same(results(compiled, given), truth(given))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_export_keeps_the_operator_whole(name):
    given = problem(name, probed=False)

    class Network(torch.nn.Module):
        def forward(self, tensors):
            return SCANS[given.family](**tensors, **given.options)

    program = torch.export.export(Network(), (given.tensors,))
    operators = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert f"longreach.{given.family}.default" in operators
    torch.testing.assert_close(program.module()(given.tensors), Network()(given.tensors))
