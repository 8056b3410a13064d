"""What the report says in words: remedies in half a sentence, and text from elsewhere made safe to print."""

import unicodedata

from rich.cells import cell_len

REMEDIES = {
    "batch-norm": "keep what each layer gives at one size, over the batch",
    "clip-auto": "limit each update to what is usual in this run",
    "clip-norm": "limit the size of each update",
    "clip-state-gradient": "limit the gradient at every step of its way back",
    "dilated": "let each step go on from the state several steps back",
    "elu": "use an activation that is never quite flat",
    "fast-dropout": "drop units by the mean and variance that this gives",
    "flossing": "tune the start until gradients neither fade nor grow",
    "flush-denormals": "let the processor treat such tiny numbers as 0",
    "forget-bias": "start with open forget gates, so that memory is kept",
    "gru": "use GRU cells, whose gates can pass a gradient on whole",
    "guard": "skip updates that would break the run",
    "identity-init": "start by copying the state from step to step",
    "layer-norm": "keep the states in bounds at every step",
    "layerwise-pretraining": "train one layer after the other on its input first",
    "leaky-integration": "let each unit move only a small part of the way",
    "leaky-relu": "use an activation that lets a little through below 0",
    "linear-recurrent": "use layers that are linear in time, made to remember",
    "lstm": "use LSTM cells, whose memory passes a gradient on whole",
    "nesterov": "train with momentum that looks ahead",
    "orthogonal": "keep the weights such that a gradient keeps its size",
    "orthogonal-init": "start with weights that keep a gradient's size",
    "prelu": "use an activation that learns its slope below 0",
    "relu": "use ReLU, whose slope is 1 where it is not 0",
    "residual": "add each layer's input to what it gives, a straight way",
    "rmsprop": "scale each weight's steps to its usual gradient",
    "scaled-init": "start every layer at the scale of the first batch",
    "selu": "use an activation that keeps its units' size by itself",
    "skip": "add connections that jump over many steps at once",
    "sparsity": "add a penalty that lets idle units fall silent",
    "truncated-bptt": "send gradients back by windows of steps that overlap",
    "vanishing-regulariser": "add a penalty on gradients that change their size",
    "variational-dropout": "drop the same units at every step of a sequence",
    "wider": "compute the recurrence in a wider number type",
    "zoneout": "let units keep their old value now and then",
}

HEADINGS = {"non-finite": "NaN or infinity"}  # where a finding's name does not read as words


def heading(name: str) -> str:
    """A finding's name as words: vanishing in time."""
    return HEADINGS.get(name, name.replace("-", " "))


def safe(text: object, longest: int = 500) -> str:
    """Text from elsewhere on one line, without a character that could steer a terminal: escapes are shown, not sent."""
    return "".join(_shown(char) for char in unicodedata.normalize("NFC", str(text))[:longest])


def safe_lines(text: object) -> str:
    """The same of text whose line ends are meant; of whatever length."""
    return "\n".join(safe(line, len(line)) for line in str(text).split("\n"))


def _shown(char: str) -> str:
    if char.isprintable() and cell_len(char):  # of no width: marks that pile up on the character before them
        return char
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")
