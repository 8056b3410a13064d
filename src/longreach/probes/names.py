"""What the modules of a run are called."""

import sys
from collections.abc import Iterable
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor, nn

# Modules that hold a model and stand in its place.
WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
# Of longreach.remedies: what a remedy put in a layer's place goes by that layer's name.
STAND_INS = ("Substitute", "StepSubstitute")


class Names:
    """Dotted names of modules, as `model.named_modules()` gives them; once given, a name stays.

    Modules of a second model, and a recurrent layer that is itself the model, are named after the variable that holds
    the model in the main script, or else after its class.

    compiled  whether torch.compile was given anything
    Holds     no module alive: a script may give its models up
    """

    def __init__(self, model: nn.Module | None = None):
        self._roots: list[str] = []
        self._known: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self._compiled: WeakSet[nn.Module] = WeakSet()
        self.compiled = False
        if model is not None:
            self.learn([model])

    def learn(self, roots: Iterable[nn.Module]) -> None:
        """Modules that were called from outside of any other module."""
        for root in roots:
            inner = getattr(root, "_orig_mod", None)
            if isinstance(inner, nn.Module):
                self.learn_compiled(inner)
            elif (model := unwrapped(root)) not in self._known:
                self._add(model)

    def learn_compiled(self, code: object) -> None:
        """What torch.compile was given: a model, a method of one, or a function."""
        self.compiled = True
        model = getattr(code, "__self__", code)
        if isinstance(model, nn.Module):
            self._compiled.add(model)
            self.learn([model])

    def _add(self, root: nn.Module) -> None:
        name = _called(root, self._roots)
        prefix = f"{name}." if self._roots else ""
        self._roots.append(name)
        for path, part in root.named_modules():
            self._known.setdefault(part, prefix + path if path else name)
            if type(part).__name__ in STAND_INS:
                self._known.setdefault(part.get_submodule("inner"), self._known[part])

    def of(self, module: nn.Module) -> str:
        """The name of a module; of one never met, the name of its class."""
        return self._known.get(module) or type(module).__name__

    def owner_of(self, parameter: object) -> tuple[str | None, str | None]:
        """(name of the module, name within it) that a parameter belongs to."""
        for module in self._known:
            for name, own in module.named_parameters(recurse=False):
                if own is parameter:
                    return self.of(module), name
        return None, None

    def owners(self) -> dict[Tensor, tuple[str, str]]:
        """Of every parameter met so far, the name of its module and its name within that; of shared ones the first."""
        found: dict[Tensor, tuple[str, str]] = {}
        for module in self._known:
            for name, own in module.named_parameters(recurse=False):
                found.setdefault(own, (self.of(module), name))
        return found

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of all modules met so far."""
        return [own for module in self._known for own in module.parameters(recurse=False)]

    def visible(self) -> list[nn.Module]:
        """Of compiled models torch's recurrent modules, which run outside of compiled code, and the embeddings beside.

        Layers of longreach.nn are part of the graph, which a hook would break.
        """
        outside = (nn.RNN, nn.GRU, nn.LSTM)
        found = []
        for model in self._compiled:
            parts = [part for part in model.modules() if isinstance(part, (*outside, nn.Embedding))]
            if any(isinstance(part, outside) for part in parts):
                found += parts
        return found


def unwrapped(root: nn.Module) -> nn.Module:
    """The model itself, where it was handed to something that trains it in several places at once."""
    inner = getattr(root, "module", None)
    return unwrapped(inner) if type(root).__name__ in WRAPPERS and isinstance(inner, nn.Module) else root


def _called(root: nn.Module, taken: list[str]) -> str:
    """The variable of the main script that holds a model, or the name of its class; numbered where taken."""
    variables = vars(sys.modules["__main__"]).items() if "__main__" in sys.modules else ()
    held = [name for name, value in list(variables) if value is root and not name.startswith("_")]
    name = held[0] if held else type(root).__name__.lower()
    numbered = (f"{name}{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in numbered if other not in taken)
