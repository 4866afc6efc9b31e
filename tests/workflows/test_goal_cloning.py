"""What a small network of few clips does, from start and goal."""

import json

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.workflows.goal_cloning import fit_goal_cloning
from wildlam.workflows.motions import motions_of
from wildlam.workflows.plan import plan

from .test_goal_regression import clips


def test_what_states_show_is_done():
    train, held_out = clips(96, 0), clips(32, 1, steps=3)
    plans = fit_goal_cloning(motions_of(train, 3))(held_out)
    assert plans.shape == held_out.actions.shape
    torch.testing.assert_close(plans[:, 0], plans[:, 2])
    off = (plans.sum(dim=1) - held_out.actions.sum(dim=1)).square().mean()
    assert off < 0.25 * held_out.actions.sum(dim=1).square().mean()
    again = fit_goal_cloning(motions_of(train, 3))(held_out)
    torch.testing.assert_close(again, plans)
    assert not torch.equal(fit_goal_cloning(motions_of(train, 3), seed=1)(held_out), plans)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("protocol", ["droid", "recon"])
def test_controls_stand_in_the_table(driven, config, protocol):
    few = {"episodes": 2, "samples": 16, "iterations": 2} if protocol == "droid" else {"episodes": 2}
    with pytest.raises(WildlamError, match="unlabelled is for a guide or for controls"):
        plan(run=driven, protocol=protocol, data=config.data, unlabelled=config.data)
    common = {"data": config.data, "unlabelled": config.data, "controls": True, "clips": 4}
    made = plan(run=driven, protocol=protocol, **common, **few)
    assert {"regression", "cloning", "cloning with pseudo-labels", "latent"} < made.rows.keys()
    assert json.loads((made.folder / "plans.json").read_text())["unlabelled"] == str(config.data)
    assert "goal-conditioned behaviour cloning" in (made.folder / "report.html").read_text()
    assert json.loads((made.folder / "plans.json").read_text())["controls"]
