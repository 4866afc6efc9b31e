"""The policy: what it begins with, what it sees, what it is asked to learn."""

import pytest
import torch

from wildlam.models.policy import PolicyConfig
from wildlam.types import EncoderSpec

SPEC = EncoderSpec("made-up", 1, (2, 2), 6, 32, "frame", "0")


def test_it_begins_with_the_mean_and_learns_what_leads_to_a_goal():
    """Where z is the change of the first token, which one step shows, and more steps only in sum."""
    torch.manual_seed(0)
    policy = PolicyConfig(blocks=1, width=16).build(SPEC, 3)

    def clips(count):
        states = torch.randn(count, 5, 4, 6).cumsum(dim=1)
        return states, (states[:, 1:, 0, :3] - states[:, :-1, 0, :3])

    states, z = clips(64)
    policy.fit_scales(z + 5)
    assert torch.allclose(
        policy.act(states[:, 0], states[:, 1], torch.ones(64)), (z + 5).mean(dim=(0, 1)).expand(64, -1)
    )
    assert policy(states, z + 5).total.item() == pytest.approx(1, abs=0.1)
    policy.fit_scales(z)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(300):
        states, z = clips(64)
        optimizer.zero_grad()
        policy(states, z).total.backward()
        optimizer.step()
    states, z = clips(256)
    with torch.no_grad():
        off = [float(policy.errors(states[:, 0], states[:, k], torch.full((256,), k), z[:, :1]).mean()) for k in (1, 4)]
    assert off[0] < 0.3
    assert off[0] < off[1] < 1


def test_what_makes_no_policy_is_refused():
    with pytest.raises(ValueError, match=r"policy.width must be a multiple of 8, got 12"):
        PolicyConfig(width=12)
    with pytest.raises(ValueError, match=r"policy.blocks must not be negative"):
        PolicyConfig(blocks=-1)
