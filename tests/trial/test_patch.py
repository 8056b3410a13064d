"""The patch that makes a remedy permanent."""

import ast
import subprocess

import pytest

from longreach.remedies import named
from longreach.trial.patch import patch_for

BOTH = [named("identity-init"), named("clip-norm")]


def write(folder, text):
    """The script, and the number of the line on which it makes its optimizer."""
    file = folder / "train.py"
    file.write_text(text)
    return file, 1 + next(number for number, line in enumerate(text.splitlines()) if "Adam(" in line)


PLAIN = '''"""Train."""
import torch
from torch import nn

model = nn.RNN(2, 3)
optimizer = torch.optim.Adam(model.parameters())
'''


def test_two_lines_and_the_import(tmp_path):
    file, line = write(tmp_path, PLAIN)
    patch = patch_for(file, line, BOTH, shown="train.py")
    assert patch.diff == (
        "--- train.py\n"
        "+++ train.py\n"
        "@@ -1,6 +1,9 @@\n"
        ' """Train."""\n'
        " import torch\n"
        " from torch import nn\n"
        "+from longreach import remedies\n"
        " \n"
        " model = nn.RNN(2, 3)\n"
        "+remedies.identity_init(model)\n"
        " optimizer = torch.optim.Adam(model.parameters())\n"
        "+remedies.clip_norm(optimizer)\n"
    )
    assert patch.lines == 2
    assert patch.source is not None
    ast.parse(patch.source)


@pytest.mark.parametrize(
    ("statement", "before", "after"),
    [
        (
            "self.opt = Adam(self.net.parameters(), 1e-3)",
            "remedies.identity_init(self.net)",
            "remedies.clip_norm(self.opt)",
        ),
        ("opt: Adam = Adam(m.named_parameters())", "remedies.identity_init(m)", "remedies.clip_norm(opt)"),
        (
            "opt = Adam([p for p in m.parameters() if p.requires_grad])",
            "remedies.identity_init(m)",
            "remedies.clip_norm(opt)",
        ),
        (
            "opt = Adam([{'params': m.rnn.parameters()}, {'params': m.head.parameters(), 'lr': 1}])",
            "remedies.identity_init(m)",
            "remedies.clip_norm(opt)",
        ),
        (
            "opts['a'] = Adam(\n        m.parameters(),\n        lr=1e-3,\n    )",
            "remedies.identity_init(m)",
            "remedies.clip_norm(opts['a'])",
        ),
    ],
)
def test_finds_model_and_optimizer(tmp_path, statement, before, after):
    file, line = write(
        tmp_path, f"from torch.optim import Adam\ndef make(self, m, opts):\n    {statement}\n    return 1\n"
    )
    patch = patch_for(file, line, BOTH)
    assert patch.source is not None
    assert patch.source == (
        "from torch.optim import Adam\nfrom longreach import remedies\ndef make(self, m, opts):\n"
        f"    {before}\n    {statement}\n    {after}\n    return 1\n"
    )


def test_parts_without_a_common_model_are_treated_one_by_one(tmp_path):
    file, line = write(tmp_path, "opt = Adam([*encoder.parameters(), *decoder.parameters()])\n")
    assert patch_for(file, line, BOTH).before == ("remedies.identity_init(encoder)", "remedies.identity_init(decoder)")


@pytest.mark.parametrize(
    "text",
    [
        "def make(params):\n    return Adam(params)\n",  # neither model nor variable
        "opt = Adam(weights)\n",  # no model
        "if True: opt = Adam(\n",  # not Python
    ],
)
def test_lines_to_paste_where_the_place_is_not_found(tmp_path, text):
    file, line = write(tmp_path, text)
    patch = patch_for(file, line, BOTH)
    assert patch.diff is None
    assert patch.before == ("remedies.identity_init(model)",)
    assert patch.after == ("remedies.clip_norm(optimizer)",)


def test_a_file_that_is_gone_has_lines_to_paste(tmp_path):
    assert patch_for(tmp_path / "gone.py", 1, BOTH).diff is None


def test_a_name_that_is_taken_is_left_alone(tmp_path):
    file, line = write(tmp_path, "remedies = 3\nopt = Adam(m.parameters())\n")
    patch = patch_for(file, line, BOTH)
    assert patch.before == ("longreach.remedies.identity_init(m)",)
    assert patch.source is not None
    assert patch.source.startswith("import longreach\n")


def test_line_endings_and_a_missing_last_newline_survive(tmp_path):
    file = tmp_path / "train.py"
    file.write_bytes(b"import x\r\nopt = Adam(m.parameters())")
    patch = patch_for(file, 2, BOTH, shown="train.py")
    assert patch.diff is not None
    (tmp_path / "change").write_bytes(patch.diff.encode())
    subprocess.run(["patch", "--binary", "-p0", "-i", "change"], cwd=tmp_path, check=True)
    assert file.read_bytes() == (
        b"import x\r\nfrom longreach import remedies\r\nremedies.identity_init(m)\r\nopt = Adam(m.parameters())\r\n"
        b"remedies.clip_norm(opt)\r\n"
    )
