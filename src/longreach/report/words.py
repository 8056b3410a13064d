"""What the report says in words: remedies in half a sentence, and text from elsewhere made safe to print."""

import unicodedata

from rich.cells import cell_len

REMEDIES = {
    "batch-norm": "keep what each layer gives at one size, over the batch",
    "clip-auto": "limit each update to what is usual in this run",
    "clip-norm": "limit the size of each update",
    "clip-state-gradient": "limit the gradient at every step of its way back",
    "dilated": "stack layers that read every second, fourth, ... step",
    "elu": "use an activation that is never quite flat",
    "flush-denormals": "let the processor treat such tiny numbers as 0",
    "forget-bias": "start with open forget gates, so that memory is kept",
    "gru": "use GRU cells, whose gates can pass a gradient on whole",
    "identity-init": "start by copying the state from step to step",
    "layer-norm": "keep the states in bounds at every step",
    "leaky-relu": "use an activation that lets a little through below 0",
    "linear-recurrent": "use layers that are linear in time, made to remember",
    "lstm": "use LSTM cells, whose memory passes a gradient on whole",
    "nesterov": "train with momentum that looks ahead",
    "orthogonal-init": "start with weights that keep a gradient's size",
    "relu": "use ReLU, whose slope is 1 where it is not 0",
    "residual": "add each layer's input to what it gives, a straight way",
    "rmsprop": "scale each weight's steps to its usual gradient",
    "selu": "use an activation that keeps its units' size by itself",
    "skip": "add connections that jump over many steps at once",
    "truncated-bptt": "send gradients back a fixed number of steps only",
}

HEADINGS = {"non-finite": "NaN or infinity"}  # where a finding's name does not read as words


def heading(name: str) -> str:
    """A finding's name as words: vanishing in time."""
    return HEADINGS.get(name, name.replace("-", " "))


def safe(text: object, longest: int = 500) -> str:
    """Text from elsewhere on one line, without a character that could steer a terminal: escapes are shown, not sent."""
    return "".join(_shown(char) for char in unicodedata.normalize("NFC", str(text))[:longest])


def _shown(char: str) -> str:
    if char.isprintable() and cell_len(char):  # of no width: marks that pile up on the character before them
        return char
    return " " if char.isspace() else char.encode("unicode_escape").decode("ascii")
