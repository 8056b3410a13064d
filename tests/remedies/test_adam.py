"""The remedies' own Adam against torch's."""

import torch

from longreach.remedies.adam import Adam


def test_it_steps_as_torchs_and_leaves_the_scripts_gradients_alone():
    torch.manual_seed(0)
    x = torch.randn(9, 4, dtype=torch.float64)
    own, theirs = (torch.linspace(-1, 1, 4, dtype=torch.float64).requires_grad_() for _ in range(2))
    adam, twin = Adam([own], 0.05), torch.optim.Adam([theirs], lr=0.05)
    for _ in range(20):
        adam.step((x @ own - 1).square().mean())
        twin.zero_grad()
        (x @ theirs - 1).square().mean().backward()
        twin.step()
        torch.testing.assert_close(own, theirs)
    assert own.grad is None
