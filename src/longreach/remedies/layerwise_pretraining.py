"""Pre-training of one layer after the other, each on what the layer below gives.

Plain layers as auto-encoders (Bengio, Lamblin, Popovici & Larochelle 2007, NIPS 19, section 3): each is to keep what it
needs to give its input back. Stacks of recurrent layers as predictors (Schmidhuber 1992, Neural Computation 4:234-242):
each is to know its next input. In neither does a gradient have to come through another layer.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from longreach import nn as ours
from longreach.errors import ArgumentError, NotApplicable
from longreach.remedies.adam import Adam
from longreach.remedies.anatomy import activation_of, kind_of
from longreach.remedies.apart import apart
from longreach.remedies.blocks import Block, blocks
from longreach.remedies.first_forward import take_off
from longreach.remedies.kept import torch_layers, weights_of
from longreach.remedies.remedy import Remedy, applied, remember, remember_weights, wholly

M = TypeVar("M", bound=nn.Module)

Call = tuple[list[Any], dict[str, Any]]

RATE = 0.01  # Adam's
ROWS = 64  # of an update, for plain layers
SEQUENCES, STEPS = 16, 50  # of an update, for recurrent ones


@wholly
def layerwise_pretraining(module: M, *, batches: int = 10, updates: int = 200) -> M:
    """Before training, make each layer know its input: the lowest first, on the batches that the script trains with.

    The inputs of the first `batches` training passes are kept while the script trains as ever; before the last of these
    passes is computed, the layers are pre-trained, and the script goes on with fine-tuning. Plain layers are
    auto-encoders with an activation module behind; recurrent stacks, of one direction, predict their next input. What
    is to come out is measured in its own deviations, so that small differences count.

    Promises   a linear map reads a plain layer's input back from its output, as far as its units suffice, though no
               gradient had to pass through more than one layer: what the lowest knows arrives at the top
    Changes    the weights of these layers, once. The optimizer's own averages are left as they are
    Twice      is the same as once
    Undo       the weights from before it; before its time has come, it is called off
    Price      once, for each layer: `updates` steps forward and back of 64 rows, or 16 sequences of 50 steps, and the
               kept batches through the model. Until then they lie in memory
    Is not     for a model that is never called as a whole, but by its parts: its inputs are not seen. What the inputs
               have in plenty is learned, whether the targets need it or not
    Raises     NotApplicable where there are neither two blocks nor a recurrent stack; ArgumentError for counts below 1
    """
    if batches < 1 or updates < 1:
        raise ArgumentError(f"batches, updates: expected whole numbers above 0, got {batches} and {updates}")
    if "layerwise-pretraining" in applied(module):
        return module
    learners = learners_of(module)
    if not learners:
        raise NotApplicable(
            "layerwise-pretraining: expected two linear maps with activation modules behind them, or a recurrent stack "
            "of one direction, got neither; there is no depth to be pre-trained"
        )
    for learner in learners:
        remember_weights(_layer(learner), "layerwise-pretraining")
    collecting = _Collecting(batches, updates)
    module.register_forward_pre_hook(collecting, with_kwargs=True)
    remember(module, "layerwise-pretraining", take_off, collecting)
    return module


def learners_of(module: nn.Module) -> list[Block | nn.RNNBase]:
    """What can be pre-trained, in the order in which it is called."""
    plain = [block for block in blocks(module) if block.layer.weight.requires_grad]
    stacks = [layer for layer in torch_layers(module) if isinstance(layer, nn.RNNBase)]
    stacks = [layer for layer in stacks if layer.num_layers > 1 and not layer.bidirectional]
    order = {id(part): place for place, part in enumerate(module.modules())}
    found: list[Block | nn.RNNBase] = [*(plain if len(plain) > 1 else []), *stacks]
    return sorted(found, key=lambda learner: order[id(_layer(learner))])


def _layer(learner: Block | nn.RNNBase) -> nn.Module:
    return learner.layer if isinstance(learner, Block) else learner


class _Collecting:
    """A pre-hook that keeps what the model is called with until there is enough, then has its layers learn.

    It is found among the module's hooks by itself, so that a copy of the module has its own.
    """

    def __init__(self, batches: int, updates: int):
        self._batches, self._updates = batches, updates
        self._calls: list[Call] = []

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """As torch calls a pre-hook."""
        if not (module.training and torch.is_grad_enabled()):
            return
        # the script may fill its buffers anew
        own, named = [_kept(value) for value in arguments], {key: _kept(value) for key, value in keywords.items()}
        self._calls.append((own, named))
        if len(self._calls) == self._batches:
            calls, self._calls = self._calls, []
            take_off(module, self)
            with apart("layerwise-pretraining"):
                for learner in learners_of(module):
                    _learn(learner, _inputs(module, _layer(learner), calls), self._updates)


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


@torch.no_grad()
def _inputs(module: nn.Module, layer: nn.Module, calls: list[Call]) -> list[Any]:
    """What a layer is given in these calls, under the weights that the model has now.

    In evaluation, where nothing is drawn and nothing averaged.
    """
    training = {part: part.training for part in module.modules()}
    found: list[Any] = []

    def see(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        found.append(arguments[0] if arguments else keywords["input"])

    hook = layer.register_forward_pre_hook(see, with_kwargs=True)
    try:
        module.eval()
        for own, named in calls:
            module(*own, **named)
    finally:
        hook.remove()
        for part, mode in training.items():
            part.training = mode
    return found


def _learn(learner: Block | nn.RNNBase, inputs: list[Any], updates: int) -> None:
    device = next(_layer(learner).parameters()).device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        if isinstance(learner, Block):
            auto_encode(learner, inputs, updates)
        else:
            predict(learner, inputs, updates)


def auto_encode(block: Block, inputs: list[Tensor], updates: int) -> None:
    """Have a block keep what a linear map needs to give its inputs back, each of them in its own deviations."""
    layer = block.layer
    if isinstance(layer, nn.Linear):
        inputs = [given.reshape(-1, layer.in_features) for given in inputs]
    x = torch.cat([given for given in inputs if given.shape[1:] == inputs[0].shape[1:]]).to(layer.weight.dtype)
    target = _in_deviations(x, (0, *range(2, x.dim())))
    decoder = layer.weight.detach().clone().requires_grad_()
    offset = torch.zeros_like(target[0].reshape(len(target[0]), -1)[:, 0]).requires_grad_()
    offset_like = (-1, *[1] * (x.dim() - 2))
    own = [weight for weight in layer.parameters(recurse=False) if weight.requires_grad]
    adam = Adam([*own, decoder, offset], RATE)
    for _ in range(updates):
        rows = torch.randint(len(x), (ROWS,)).to(x.device)
        given_back = _transposed(layer, decoder, block.compute(x[rows]), x[rows].shape) + offset.reshape(offset_like)
        adam.step((given_back - target[rows]).square().mean())


def _transposed(layer: Any, weight: Tensor, h: Tensor, shape: torch.Size) -> Tensor:
    """What the transposed map of a layer makes of its outputs, with another weight in the layer's place."""
    if isinstance(layer, nn.Linear):
        return h @ weight
    padding: Any = layer.padding
    if isinstance(padding, str):
        sizes = zip(layer.dilation, layer.kernel_size, strict=True)
        padding = [dilation * (size - 1) // 2 if padding == "same" else 0 for dilation, size in sizes]
    back = {3: conv1d_input, 4: conv2d_input, 5: conv3d_input}[weight.dim()]
    return back(shape, weight, h, layer.stride, padding, layer.dilation, layer.groups)


def predict(layer: nn.RNNBase, inputs: list[Any], updates: int) -> None:
    """Have each layer of a stack know its next input, as far as a linear map can tell it from h."""
    sequences = [_steps_first(layer, given) for given in inputs]
    sequences = [steps for steps in sequences if len(steps) > 1]
    for own in weights_of(layer) if sequences else ():
        single = _single(layer, own, sequences[0].shape[2])
        _predict_next(single, sequences, updates)
        with torch.no_grad():
            for weight, learned in zip(own, weights_of(single)[0], strict=True):
                if weight is not None and learned is not None:
                    weight.copy_(learned)
            sequences = [single(steps)[0] for steps in sequences]


def _predict_next(single: nn.RNNBase, sequences: list[Tensor], updates: int) -> None:
    width = single.input_size
    out = sequences[0].new_zeros(width, single.hidden_size + 1).requires_grad_()
    targets = [_in_deviations(steps, (0, 1)) for steps in sequences]
    adam = Adam([*single.parameters(), out], RATE)
    for update in range(updates):
        steps, target = sequences[update % len(sequences)], targets[update % len(sequences)]
        begin = int(torch.randint(max(1, len(steps) - STEPS), ()))
        rows = torch.randperm(steps.shape[1])[:SEQUENCES].to(steps.device)
        h = single(steps[begin : begin + STEPS, rows])[0][:-1]
        foretold = nn.functional.linear(h, out[:, :-1], out[:, -1])
        adam.step((foretold - target[begin : begin + STEPS, rows][1:]).square().mean())


def _single(layer: nn.RNNBase, own: tuple[Tensor | None, ...], width: int) -> nn.RNNBase:
    """One layer of a stack by itself, with copies of its weights."""
    place: dict[str, Any] = {"device": layer.weight_ih_l0.device, "dtype": layer.weight_ih_l0.dtype}
    options = {"bias": bool(layer.bias), **place}
    kind = kind_of(layer)
    if kind == "rnn":
        single = ours.RNN(width, layer.hidden_size, nonlinearity=activation_of(layer), **options)
    else:
        single = {"gru": ours.GRU, "lstm": ours.LSTM}[kind](width, layer.hidden_size, **options)
    with torch.no_grad():
        for weight, given in zip(weights_of(single)[0], own, strict=True):
            if weight is not None and given is not None:
                weight.copy_(given)
    return single


def _steps_first(layer: nn.RNNBase, given: Any) -> Tensor:
    """(time, sequence, unit), as far as the shortest sequence goes."""
    if isinstance(given, PackedSequence):
        padded, lengths = pad_packed_sequence(given)
        return padded[: int(lengths.min())]
    if given.dim() == 2:
        return given[:, None]
    return given.transpose(0, 1) if layer.batch_first else given


def _in_deviations(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """Less the mean, in units of the deviation; what never changes is 0."""
    deviation, mean = torch.std_mean(x, over, correction=0, keepdim=True)
    return torch.where(deviation > 0, (x - mean) / deviation, 0.0)


REMEDY = Remedy(
    "layerwise-pretraining",
    layerwise_pretraining,
    "module",
    preserves=False,
    answers=("vanishing-in-depth", "vanishing-in-time"),
    cost="some seconds once, then nothing",
    source="Bengio, Lamblin, Popovici & Larochelle 2007, NIPS 19; Schmidhuber 1992, Neural Computation 4:234-242",
)
