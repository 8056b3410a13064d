"""Without its library an integration says so; with longreach alone none of them is loaded."""

import subprocess
import sys

import pytest

import longreach.errors

LIBRARIES = {
    "lightning": ("lightning", "pytorch_lightning"),
    "transformers": ("transformers",),
    "tensorboard": ("PIL",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}


@pytest.mark.parametrize("integration", LIBRARIES)
def test_what_is_missing_is_named(integration, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in LIBRARIES[integration]]:
        monkeypatch.delitem(sys.modules, name)
    for part in (integration, "heatmap"):
        monkeypatch.delitem(sys.modules, f"longreach.integrations.{part}", raising=False)
    for library in LIBRARIES[integration]:
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(longreach.errors.MissingLibrary) as raised:
        __import__(f"longreach.integrations.{integration}")
    assert isinstance(raised.value, ImportError)
    message = str(raised.value)
    assert message.startswith("expected ")
    assert any(f"no module named '{library}" in message for library in LIBRARIES[integration])
    assert message.endswith("install it with: pip install 'longreach[integrations]'")


def test_longreach_loads_none_of_them():
    heavy = {"lightning", "pytorch_lightning", "transformers", "accelerate", "tensorboard", "wandb", "mlflow", "PIL"}
    code = f"import sys, longreach, longreach.integrations; longreach.watch; print(set(sys.modules) & {heavy})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"
