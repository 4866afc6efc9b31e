"""Policies from videos without actions: trained, resumed, loaded, refused; what they do and plan."""

import json
import shutil

import pytest
import torch

from wildlam import cli
from wildlam.config import read_as
from wildlam.episodes.action_spaces import PLANAR
from wildlam.errors import WildlamError
from wildlam.models.policy import PolicyConfig
from wildlam.runs.folder import Run
from wildlam.workflows.policy import (
    DecodedPolicy,
    PolicyTrainingConfig,
    RealPolicy,
    load_policy,
    policy_results,
    train_policy,
)

from .controllers import TRAINING, loaded, weights

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def settings():
    return PolicyTrainingConfig(policy=PolicyConfig(blocks=1, width=16), training=TRAINING)


def test_a_policy_is_a_run_of_its_own(run, settings):
    folder = train_policy(run, settings)
    assert folder == run / "policy"
    assert Run(folder).facts["command"] == "wildlam.train_policy(...) from Python"
    assert read_as(PolicyTrainingConfig, folder / "config.yaml") == settings
    assert [row["step"] for row in Run(folder).metrics()] == [1, 2]
    encoder, model = loaded(run)
    states = torch.zeros(2, *model.state_shape)
    policy, space = load_policy(folder, encoder, model)
    assert space is None
    assert policy.act(states, states, torch.ones(2)).shape == (2, model.bottleneck.dim)
    found = json.loads((folder / "results.json").read_text())
    assert set(found["z error"]) == {"any number", "1 step", *(f"{k} steps" for k in range(2, 9))}
    assert "3 steps" in policy_results(folder)
    train_policy(run, settings)  # once more does no harm
    with pytest.raises(WildlamError, match=r"holds a policy with policy\.width 16, not 8"):
        train_policy(run, settings, policy=PolicyConfig(blocks=1, width=8))


@pytest.mark.slow
def test_an_interrupted_training_ends_as_a_whole_one(run, settings, tmp_path):
    whole, cut = (train_policy(run, settings, tmp_path / name) for name in ("whole", "cut"))
    for step in (cut / "checkpoints").glob("step_*2"):
        shutil.rmtree(step)
    (cut / "results.json").unlink()
    with pytest.raises(WildlamError, match="was interrupted: give the same `wildlam policy train` again"):
        load_policy(cut, *loaded(run))
    train_policy(run, settings, cut)
    for name, weight in weights(whole).items():
        assert torch.equal(weights(cut)[name], weight), name


def test_it_is_of_the_weights_that_it_was_trained_for(run, settings):
    folder = train_policy(run, settings)
    encoder, model = loaded(run)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(WildlamError, match="holds a policy of another run, or of this one before more training"):
        load_policy(folder, encoder, model)
    with pytest.raises(WildlamError, match=r"run has no policy; train one with `wildlam policy train`"):
        load_policy(run, encoder, model)


def test_a_plan_goes_on_from_what_the_model_predicts():
    """Where z is what is missing of the way, in equal steps, and the model adds it."""

    class Policy:
        latent_mean = torch.zeros(1)

        def act(self, states, goals, steps):
            return (goals - states).flatten(1) / steps[:, None]

    class Model:
        def rollout(self, context, z):
            assert torch.equal(context[:, 0], start)  # always from what is known
            return (context[:, None] + z.cumsum(dim=2)[..., None]).view(len(z), 1, -1, 1, 1)

    start, goal = torch.zeros(2, 1, 1), torch.tensor([4.0, 8.0]).view(2, 1, 1)
    acting = DecodedPolicy(Policy(), Model(), lambda z, states: 10 * z)
    assert acting.act(torch.stack([start, goal], dim=1), 4)[:, 0].tolist() == [10, 20]
    assert acting.plan(start, goal, 4, 3)[..., 0].tolist() == [[10, 10, 10], [20, 20, 20]]
    assert acting.plan(start, goal, 2, 3)[..., 0].tolist() == [[20, 20, 0], [40, 40, 0]]  # then it is there


def test_words(capsys):
    assert cli.main(["policy"]) == 2
    assert "say `wildlam policy train RUN` or" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["policy", "--help"])
    assert "wildlam policy train|play RUN" in capsys.readouterr().out


def test_a_policy_of_real_actions_learns_what_few_labels_tell(run, settings, config, tmp_path):
    folder = train_policy(run, settings, tmp_path / "real", labelled=config.data, clips=4)
    policy, space = load_policy(folder, *loaded(run))
    assert space == PLANAR
    states = torch.zeros(2, 4, 448)
    assert policy.act(states, states, torch.ones(2)).shape == (2, 3)
    found = json.loads((folder / "results.json").read_text())
    assert found["pseudo-labels"]["clips"] == 4
    assert set(found["pseudo-labels"]["r squared"]) == set(PLANAR.action_names)
    assert "4 labelled clips tell the actions; R² where they did not teach: forward" in policy_results(folder)
    assert "error of the pseudo-label over that" in policy_results(folder)
    train_policy(run, settings, folder, labelled=config.data, clips=4)  # once more does no harm
    with pytest.raises(WildlamError, match="holds a policy with clips 4, not 5"):
        train_policy(run, settings, folder, labelled=config.data, clips=5)
    with pytest.raises(WildlamError, match="holds 9 training clips of 8 states, 10 are needed"):
        train_policy(run, settings, tmp_path / "more", labelled=config.data, clips=10)
    with pytest.raises(ValueError, match="clips are of labelled videos; give labelled, too"):
        PolicyTrainingConfig(clips=4)


def test_a_plan_of_real_actions_goes_on_from_what_is_predicted():
    class Policy:
        latent_mean = torch.zeros(1)

        def act(self, states, goals, steps):
            return (goals - states).flatten(1) / steps[:, None]

    class Dynamics:
        def rollout(self, context, past, actions):
            assert torch.equal(context[:, 0], start)
            assert past.shape == (2, 0, 1)
            return (context[:, None] + actions.cumsum(dim=2)[..., None]).view(2, 1, -1, 1, 1)

    start, goal = torch.zeros(2, 1, 1), torch.tensor([4.0, 8.0]).view(2, 1, 1)
    real = RealPolicy(Policy(), Dynamics())
    assert real.act(torch.stack([start, goal], dim=1), 4)[:, 0].tolist() == [1, 2]
    assert real.plan(start, goal, 4, 3)[..., 0].tolist() == [[1, 1, 1], [2, 2, 2]]
    assert real.plan(start, goal, 2, 3)[..., 0].tolist() == [[2, 2, 0], [4, 4, 0]]
